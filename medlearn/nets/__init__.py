"""Networks: one trunk with three answers (chapter 1)."""
from medlearn.nets.blocks import ConvBlock
from medlearn.nets.instances import (InstanceTargets, TaskAnswers, TaskNet, TasksLoss, answers_to_instances,
                                     group_instances, instance_targets, semantic_target, tasks_loss)

__all__ = [
    "ConvBlock", "InstanceTargets", "TaskAnswers", "TaskNet", "TasksLoss", "answers_to_instances", "group_instances",
    "instance_targets", "semantic_target", "tasks_loss",
]
