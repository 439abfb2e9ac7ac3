r"""Hard example mining: the cross-entropy of the voxels that are answered worst, and of no others (chapter 4)."""
from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.base.validation import Number, check_number
from medlearn.losses._answers import Truth, check_truth, counted_truth
from medlearn.losses.entropy import cross_entropy


def top_k_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, share: Number = 0.1, ignore_index: int | None = None,
               where: Bool[Tensor, "b k *s"] | None = None) -> Float[Tensor, ""]:
    r"""$\frac{1}{k} \sum_{v \in H} -\ln p_{y_v}$, where H are the k voxels of the batch with the largest cross-entropy.

    Shapes, regions, and what is left out by `ignore_index` and `where`: as in `cross_entropy`; a scalar.
    Units: nats. Computed in float32 or better, under autocast too.
    `share` is the part of the n voxels that count which is kept, above 0 up to 1: k is n times it, rounded up. With 1
    it is `cross_entropy`. Which voxels are hardest is found anew in each batch and has no gradient; of two that are
    equally hard, either may be kept. For regions it is the answers that are sorted, not the voxels.
    It equals nnU-Net's `TopKLoss`, which rounds k down and keeps ignored voxels among the easy ones.
    The mean over no voxel is 0 with gradient 0.
    Errors: as `cross_entropy`; ValueError for a share that is not above 0 and at most 1.
    Source: online hard example mining, Shrivastava et al. 2016, arXiv:1604.03540; of voxels, Wu et al. 2016,
    arXiv:1605.06885. Chapter 4.

    >>> logits, labels = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log(), torch.tensor([0, 0])
    >>> top_k_loss(logits, labels, share=0.5)           # the harder of the two: -ln 0.2
    tensor(1.6094)
    """
    check_truth(logits, labels, ignore_index=ignore_index, where=where)
    share = check_number("share", share, above=0, most=1)
    loss = cross_entropy(logits, labels, ignore_index=ignore_index, where=where, reduction="none").flatten()
    _, valid = counted_truth(labels, ignore_index, where)
    hardest = loss.topk(math.ceil(share * loss.numel())).values         # what does not count is 0, and comes last
    if valid is None:
        return hardest.sum() / max(1, len(hardest))
    # how many count is not known before: so that nothing waits for the number, the rest is set to 0
    kept = (share * valid.sum()).ceil()
    return torch.where(torch.arange(len(hardest), device=loss.device) < kept, hardest, 0).sum() / kept.clamp_min(1)
