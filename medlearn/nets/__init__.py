"""Networks: three answers (chapter 1), reach (6), the U-Net (7), UNet++ (8), attention (9), the TransUNet (10)."""
from medlearn.nets.attention import MapAttention, SelfAttention, attention_rollout, merge_heads, to_map, to_tokens
from medlearn.nets.blocks import ConvBlock, DoubleConv, Dropout, ResidualBlock, double, halve
from medlearn.nets.context import ASPP, ContextModule, hdc_distance, leaves_holes
from medlearn.nets.folding import folded
from medlearn.nets.grouping import answers_to_instances, group_instances
from medlearn.nets.joint_loss import TasksLoss, tasks_loss
from medlearn.nets.reach import (ReceptiveField, analytic_receptive_field, coverage, effective_kernel,
                                 receptive_field)
from medlearn.nets.targets import InstanceTargets, instance_targets, semantic_target
from medlearn.nets.tasknet import TaskAnswers, TaskNet
from medlearn.nets.transunet import TransUNet, TransUNetSize
from medlearn.nets.unet import UNet
from medlearn.nets.unet2015 import UNet2015
from medlearn.nets.unetpp import UNetPlusPlus, nested_graph
from medlearn.nets.vit import TransformerBlock, ViTSegmenter

__all__ = [
    "ASPP", "ContextModule", "ConvBlock", "DoubleConv", "Dropout", "InstanceTargets", "MapAttention", "ReceptiveField",
    "ResidualBlock", "SelfAttention", "TaskAnswers", "TaskNet", "TasksLoss", "TransUNet", "TransUNetSize",
    "TransformerBlock", "UNet", "UNet2015", "UNetPlusPlus", "ViTSegmenter", "analytic_receptive_field",
    "answers_to_instances", "attention_rollout", "coverage", "double", "effective_kernel", "folded", "group_instances",
    "halve", "hdc_distance", "instance_targets", "leaves_holes", "merge_heads", "nested_graph", "receptive_field",
    "semantic_target", "tasks_loss", "to_map", "to_tokens",
]
