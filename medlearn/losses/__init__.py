"""What a network is asked to make small: logits and labels to a number (chapters 2, 3 and 5)."""
from medlearn.base.labelled import trusted_values
from medlearn.losses.borders import border_weights
from medlearn.losses.entropy import cross_entropy
from medlearn.losses.focal import focal_loss
from medlearn.losses.modules import (CrossEntropyLoss, DiceCELoss, DiceLoss, FocalLoss, FocalTverskyLoss,
                                     GeneralizedDiceLoss, JaccardLoss, TverskyLoss)
from medlearn.losses.overlap import (OverlapCounts, dice_ce_loss, dice_loss, focal_tversky_loss, generalized_dice_loss,
                                     jaccard_loss, overlap_counts, tversky_loss)

__all__ = ["CrossEntropyLoss", "DiceCELoss", "DiceLoss", "FocalLoss", "FocalTverskyLoss", "GeneralizedDiceLoss",
           "JaccardLoss", "OverlapCounts", "TverskyLoss", "border_weights", "cross_entropy", "dice_ce_loss",
           "dice_loss", "focal_loss", "focal_tversky_loss", "generalized_dice_loss", "jaccard_loss", "overlap_counts",
           "trusted_values", "tversky_loss"]
