r"""A few slices of one person's torso CT, with organs whose outlines a program made: what two practice pages start from."""
from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

KEPT = Path(__file__).with_name("torso.npz")        # written by tools/practice_torso.py
ORGANS = ("none", "left kidney", "right kidney", "adrenal glands", "liver", "spleen", "spine")
MM = 3.0


@lru_cache(maxsize=1)
def torso() -> tuple[Tensor, Tensor, Tensor]:
    """Hounsfield units (Z, X, Y), organs by their numbers in `ORGANS`, both by height, and the affine of the whole."""
    with np.load(KEPT) as file:
        hu = torch.from_numpy(file["hu"].astype(np.float32)).movedim(2, 0).contiguous()
        return hu, torch.from_numpy(file["organs"].astype(np.int64)).movedim(2, 0).contiguous(), \
            torch.from_numpy(file["affine"])
