r"""Less memory for more time: what a block computed is forgotten, and computed again when its gradient is asked for."""
from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def run_in_turn(blocks: Iterable[Callable[[Tensor], Tensor]], x: Tensor, checkpointing: bool) -> Tensor:
    r"""$f_n(\cdots f_1(x))$; with `checkpointing` only the values between the blocks are kept for the way back.

    The answer and the gradients are the same; the backward pass computes each block once more. Without a gradient to
    come there is nothing to keep, and nothing changes. Blocks that count how often they ran (batch norm) count double.
    Source: Chen et al. 2016, arXiv:1604.06174. Chapter 10.
    """
    for block in blocks:
        x = checkpoint(block, x, use_reentrant=False) if checkpointing and torch.is_grad_enabled() else block(x)
    return x
