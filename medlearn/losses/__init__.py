"""What a network is asked to make small: logits and labels to a number (chapters 2, 4 and 7)."""
from medlearn.base.labelled import trusted_values
from medlearn.losses.borders import border_weights
from medlearn.losses.boundary import boundary_loss, signed_distance_mm
from medlearn.losses.cldice import cldice_loss, soft_skeleton
from medlearn.losses.entropy import cross_entropy
from medlearn.losses.focal import focal_loss
from medlearn.losses.modules import (BoundaryLoss, ClDiceLoss, CrossEntropyLoss, DiceCELoss, DiceLoss, FocalLoss,
                                     FocalTverskyLoss, GeneralizedDiceLoss, JaccardLoss, TopKLoss, TverskyLoss)
from medlearn.losses.overlap import (OverlapCounts, dice_ce_loss, dice_loss, focal_tversky_loss, generalized_dice_loss,
                                     jaccard_loss, overlap_counts, tversky_loss)
from medlearn.losses.top_k import top_k_loss

__all__ = ["BoundaryLoss", "ClDiceLoss", "CrossEntropyLoss", "DiceCELoss", "DiceLoss", "FocalLoss", "FocalTverskyLoss",
           "GeneralizedDiceLoss", "JaccardLoss", "OverlapCounts", "TopKLoss", "TverskyLoss", "border_weights",
           "boundary_loss", "cldice_loss", "cross_entropy", "dice_ce_loss", "dice_loss", "focal_loss",
           "focal_tversky_loss", "generalized_dice_loss", "jaccard_loss", "overlap_counts", "signed_distance_mm",
           "soft_skeleton", "top_k_loss", "trusted_values", "tversky_loss"]
