r"""Dropout kept on: one network that answers many times, each time without some of its values (chapter 15)."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from medlearn.base.modes import in_evaluation
from medlearn.base.random import check_generator, seeded
from medlearn.base.validation import check_tensor, check_whole, kind_of
from medlearn.uncertainty._recording import Leaving, Recording

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def mc_dropout(net: nn.Module, image: Float[Tensor, "b c *s"], *, passes: int = 20,
               generator: Generator) -> Iterator[Float[Tensor, "b k *s"]]:
    r"""$f_{\theta, z_t}(x)$, $z_t \sim \mathrm{Bernoulli}(1 - p)$, $t = 1 \dots T$: dropout on, the rest as it answers.

    Shapes: `image (B, C, *S)`, as the network takes it, to the logits of each of T = `passes` passes, one after
    another, so that no more than one need be held::

        answer = RunningProbabilities()
        for logits in mc_dropout(net, image, generator=torch.Generator().manual_seed(0)):
            answer.add(logits.softmax(dim=1))

    Each answer is that of `net(image)` for the same masks. But the first pass notes which operations draw a mask or
    come behind one, and the later ones do those alone: what no mask reaches runs once, in any network. So the cost is
    that of what stands behind the first active dropout: little in a U-Net with dropout in its last stages, and with
    dropout at the input there is nothing to save. Where the split is not safe, every pass is a whole one: where a mask
    decides which operations follow, its numbers leave torch (`.tolist()`, `.numpy()`), or the network changes tensors
    of its own.
    Active are torch's dropout layers with 0 < p < 1; nothing else of the network is put in training mode, and its modes
    are left as they were. `folded(net)` works too, and under autocast the precision is that of the first pass.
    The generator draws a seed for each pass; torch's own generators are left as they were.
    Without gradients. An empty batch gives empty answers.
    Errors: ValueError for a network without active dropout, or whose answer none reaches, and for less than one pass;
    TypeError for anything but a network, image, or generator, and for a network whose answer is no tensor.
    Source: Gal and Ghahramani 2016, arXiv:1506.02142. Chapter 15.

    >>> net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.Dropout(0.5), nn.Conv2d(32, 2, 1))
    >>> first, second = mc_dropout(net, torch.ones(1, 1, 8, 8), passes=2, generator=torch.Generator())
    >>> first.shape, torch.equal(first, second)
    (torch.Size([1, 2, 6, 6]), False)
    """
    _check(net, image, passes, generator)
    seeds = torch.randint(2**63 - 1, (passes,), generator=generator, device=generator.device).tolist()
    with Recording() as recording, _leaving_watched(net, recording):
        first = _whole_pass(net, image, seeds[0])
    again = recording.again(first)
    if again is None and not recording.obstacle:
        raise ValueError("net: expected a dropout that changes the answer, got layers of it that do not. "
                         "In evaluation torch's fused transformer layers leave theirs out")
    answer = partial(_part_of_a_pass, again, image.device) if again else partial(_whole_pass, net, image)
    return _answers(first, seeds[1:], answer)


def _leaving_watched(net: nn.Module, recording: Recording) -> AbstractContextManager:
    """Watched by a mode in which torch would not take its fused transformer layers, so not where there are any."""
    fused = any(isinstance(layer, (nn.MultiheadAttention, nn.TransformerEncoderLayer)) for layer in net.modules())
    return nullcontext() if fused else Leaving(recording)


def _answers(first: Tensor, seeds: list[int], answer: Callable[[int], Tensor]) -> Iterator[Tensor]:
    yield first
    del first
    for seed in seeds:
        yield answer(seed)


@torch.no_grad()
def _whole_pass(net: nn.Module, image: Tensor, seed: int) -> Tensor:
    with _only_dropout_on(net), seeded(seed, image.device):
        logits = net(image)
    if not isinstance(logits, Tensor):
        raise TypeError(f"net: expected logits, one tensor, as its answer in evaluation, got {kind_of(logits)}")
    return logits


@torch.no_grad()
def _part_of_a_pass(again: Callable[[], Tensor], device: torch.device, seed: int) -> Tensor:
    with seeded(seed, device), torch.autocast(device.type, enabled=False):     # what it casts is noted as well
        return again()


@contextmanager
def _only_dropout_on(net: nn.Module) -> Iterator[None]:
    with in_evaluation(net):
        for layer in active_dropouts(net):
            layer.training = True
        yield


def active_dropouts(net: nn.Module) -> list[nn.Module]:
    """The layers that leave something out at random: not those with a p of 0 or 1."""
    return [layer for layer in net.modules() if isinstance(layer, DROPOUTS) and 0 < layer.p < 1]


def _check(net: nn.Module, image: Tensor, passes: int, generator: Generator) -> None:
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected an nn.Module, got {type(net).__name__}")
    check_tensor("image", image, dtype="float")
    check_generator(generator)
    check_whole("passes", passes, least=1)
    if not active_dropouts(net):
        raise ValueError("net: expected a dropout layer with 0 < p < 1, got a network without one. "
                         "Train it with dropout, as in UNet(dropout=0.3), or take an Ensemble")
