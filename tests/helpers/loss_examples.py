"""Logits, labels and comparisons that the tests of all losses share."""
import inspect
from functools import partial

import torch
from torch.nn import functional as F

from medlearn import losses

OF_SHAPES = ("boundary_loss", "cldice_loss")        # where a voxel lies matters: they have tests of their own
LOSSES = {name.removesuffix("_loss"): getattr(losses, name) for name in losses.__all__
          if name.endswith("_loss") and name not in OF_SHAPES}
LOSSES |= {"cross_entropy": losses.cross_entropy, "focal": partial(losses.focal_loss, gamma=2)}


def takes(name, option):
    """Whether this loss has such an option: `weight` of the classes, `smooth`, `batch`, `include_background`."""
    return option in inspect.signature(LOSSES[name]).parameters


def example(seed, shape=(2, 3, 5, 4), dtype=torch.float64, scale=2.0):
    g = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)
    return logits.requires_grad_(), torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=g)


def one_hot(labels, classes):
    return F.one_hot(labels, classes).movedim(-1, 1)


def gradient(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


def same(ours, theirs, logits, tolerance=1e-10):
    """Equal in value and in gradient."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient(ours, logits), gradient(theirs, logits), rtol=tolerance, atol=tolerance)
