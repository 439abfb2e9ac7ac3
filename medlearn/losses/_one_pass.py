r"""All sums of overlap losses and cross-entropy, in one pass over the voxels, and their gradient in closed form."""
from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from warnings import warn

import torch
from torch import Tensor

from medlearn.base.labelled import has_values
from medlearn.base.precision import accumulating
from medlearn.base.private import graph_is_kept
from medlearn.losses._answers import are_regions, counted_truth, one_hot, probabilities, surprises
from medlearn.losses._inputs import check_numbers, counted_logits

CPU_BLOCK, GPU_BLOCK = 1 << 16, 1 << 22     # voxels at a time: they fit a cache, and short sums lose no digits
LANES = 1024                                # partial sums a class on a GPU: additions to one place wait in line
FAR = 1e-37                                 # below it a float32 probability has lost its digits


def soft_sums(logits: Tensor, labels: Tensor, *, ignore_index: int | None = None, where: Tensor | None = None,
              squared: bool = False, cross_entropy: bool = False,
              weight: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""tp $= \sum_v p_k y_k$, fp $= \sum_v p_k - $ tp, fn $= \sum_v y_k - $ tp; and $-\sum_v w_y \ln p_y$ of them all.

    Shapes: three times `(B, K)`, and a scalar, which is 0 unless `cross_entropy` asks for it. `squared`: $p_k^2$ in fp.
    """
    if logits.ndim == 2:
        logits, labels, where = logits[..., None], labels[..., None], None if where is None else where[..., None]
    logits, labels = logits.flatten(2), labels.flatten(2 if are_regions(labels) else 1)
    if are_regions(labels) or torch.compiler.is_compiling():
        where = None if where is None else where.flatten(2)
        return _written_out(logits, labels, ignore_index, where, squared, cross_entropy, weight)
    if weight is not None and weight.requires_grad and torch.is_grad_enabled():
        raise ValueError("weight: expected numbers without a gradient, as weight.detach() is, got requires_grad=True")
    logits, labels = _plain(logits), _plain(labels)
    kernel = _kernel(logits.device) if has_values(logits, labels) else None
    sums = kernel.FusedSums if kernel and logits.shape[1] <= kernel.WIDEST else BlockSums
    tp, fp, fn, surprise, *_ = sums.apply(logits, labels, ignore_index, squared, cross_entropy, weight)
    check_numbers(logits, clue=fp)
    return tp, fp, fn, surprise.sum()


@cache
def _kernel(device: torch.device) -> ModuleType | None:
    """The fused kernel for this GPU; None without Triton, and where it does not run, which is tried once."""
    if device.type != "cuda" or find_spec("triton") is None:
        return None
    logits, labels = torch.zeros(1, 2, 1, device=device), torch.zeros(1, 1, dtype=torch.int64, device=device)
    try:
        from medlearn.losses import _fused

        tp, *_ = _fused.FusedSums.apply(logits, labels, None, False, False, None)
        torch.testing.assert_close(tp.cpu(), torch.tensor([[0.5, 0.0]]))
        return _fused
    except Exception as error:                              # too old a card, or no C compiler for Triton's launcher
        warn(f"The fused kernel of the losses does not run on {device}, slower operations take its place: {error}",
             stacklevel=2)
        return None


class BlockSums(torch.autograd.Function):
    r"""The softmax is computed once and kept, with the true class's share of it; the gradient is written in its place.

    Let $g_k$ be what a voxel's probabilities receive from above: $a = \partial / \partial \mathrm{fp}_k$ for every
    class (times $2 p_k$ if squared), and $b_k = \partial/\partial \mathrm{tp}_k - \partial/\partial \mathrm{fp}_k -
    \partial/\partial \mathrm{fn}_k$ besides for the true one. With $c$ for the cross-entropy, the logits receive

    $$ dz_k = p_k (g_k - s) + c\,w_y (p_k - y_k), \qquad s = \sum_j p_j g_j = \sum_j p_j a_j + p_y b_y . $$

    So every class gets $p_k (a_k - s + c\,w_y)$, and the true class $p_y b_y - c\,w_y$ on top: no one-hot tensor. An
    ignored voxel has $p = 0$ and $w = 0$, and nothing of it remains.

    The softmax is an output too, though no caller uses it: the gradient is a function of it, so autograd can
    differentiate the gradient once more only if it knows how the softmax depends on the logits.
    """

    @staticmethod
    def forward(logits, labels, ignore_index, squared, cross_entropy, weight):
        p = logits.softmax(1, dtype=accumulating(logits.dtype))
        images, classes, voxels = p.shape
        true_p = p.new_empty(images, voxels)
        lanes, wide = (1 if p.device.type == "cpu" else LANES), _widest(p)
        tp, true = torch.zeros(2, images, classes * lanes, dtype=wide, device=p.device)
        predicted = torch.zeros(images, classes, dtype=wide, device=p.device)
        surprise, one = torch.zeros(images, dtype=wide, device=p.device), torch.ones((), dtype=wide, device=p.device)
        for i, v in _blocks(p):
            q = p[i, :, v]
            y, valid = counted_truth(labels[i, v], ignore_index)
            p_y = true_p[i, v]
            torch.gather(q, 1, y[:, None], out=p_y[:, None])
            if cross_entropy:
                if valid is not None:
                    p_y.masked_fill_(~valid, 1)         # ln 1 = 0; a NaN would hide other voxels from `_log`
                log_p = _log(p_y, logits[i, :, v], y)
                surprise[i] -= (log_p if weight is None else log_p * weight.take(y)).sum(1)
            if valid is not None:
                q.masked_fill_(~valid[:, None], 0)
                p_y.masked_fill_(~valid, 0)
            place = _lane(y, lanes)
            tp[i].scatter_add_(1, place, p_y.to(wide))
            true[i].scatter_add_(1, place, one.expand_as(y) if valid is None else valid.to(wide))
            predicted[i] += (q.square() if squared else q).sum(2)
        tp, true = (sums.view(images, classes, lanes).sum(2) for sums in (tp, true))
        fp = predicted - tp if squared else (predicted - tp).clamp_min(0)       # rounding may make it -1e-7
        return *(out.to(p.dtype) for out in (tp, fp, true - tp, surprise)), p, true_p

    @staticmethod
    def setup_context(ctx, inputs, output):
        logits, labels, ctx.ignore_index, ctx.squared, _, weight = inputs
        *_, p, true_p = output
        ctx.dtype = logits.dtype
        ctx.mark_non_differentiable(true_p)
        ctx.save_for_backward(p, true_p, labels, weight)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, d_tp, d_fp, d_fn, c, d_p, _):
        p, true_p, labels, weight = ctx.saved_tensors
        d_tp, a, d_fn = (p.new_zeros(p.shape[:2]) if d is None else d for d in (d_tp, d_fp, d_fn))
        b, c = d_tp - a - d_fn, p.new_zeros(p.shape[:1]) if c is None else c
        if torch.is_grad_enabled() or d_p is not None or not has_values(b, c):
            dz = written_out_gradient(p, labels, a, b, c, d_p, ctx.ignore_index, ctx.squared, weight)
            return dz.to(ctx.dtype), None, None, None, None, None
        dz = (p.clone() if graph_is_kept() else p).detach()     # p is an output, with a graph of its own
        with torch.autocast(p.device.type, enabled=False):      # it would halve the product below
            for i, v in _blocks(p):
                q = dz[i, :, v]
                y, valid = counted_truth(labels[i, v], ctx.ignore_index)
                on_top = b[i].gather(1, y).mul_(true_p[i, v])
                slope = 2 * a[i, :, None] * q if ctx.squared else a[i, :, None]
                pull = c[i, None] if weight is None else c[i, None] * weight.take(y)
                pull = pull if valid is None else pull * valid
                rest = (pull - on_top).sub_((q * slope).sum(1) if ctx.squared else (a[i, None] @ q)[:, 0])
                q.mul_(slope + rest[:, None]).scatter_add_(1, y[:, None], on_top.sub_(pull)[:, None])
        return dz.to(ctx.dtype), None, None, None, None, None

    @staticmethod
    def vmap(info, in_dims, logits, labels, ignore_index, squared, cross_entropy, weight):
        """Samples are images: one batch of all of them."""
        if in_dims[-1] is not None:
            raise ValueError("weight: expected the same numbers for all that torch.func.vmap runs over")
        logits, labels = (x.expand(info.batch_size, *x.shape) if axis is None else x.movedim(axis, 0)
                          for x, axis in zip((logits, labels), in_dims))
        out = BlockSums.apply(logits.flatten(0, 1), labels.flatten(0, 1), ignore_index, squared, cross_entropy, weight)
        return tuple(x.unflatten(0, logits.shape[:2]) for x in out), (0,) * len(out)


def written_out_gradient(p, labels, a, b, c, d_p, ignore_index, squared, weight):
    """The gradient by its formula in plain PyTorch, which can itself be differentiated; `d_p` comes from doing so."""
    y, valid = counted_truth(labels, ignore_index)
    hit = one_hot(y, p.shape[1]).to(p.dtype)
    hit = hit if valid is None else hit * valid[:, None]
    g = (2 * p if squared else 1) * a[..., None] + hit * b[..., None]
    g = g if d_p is None else g + d_p
    pull = c[:, None, None] if weight is None else (c[:, None] * weight[y])[:, None]
    return p * (g - (p * g).sum(1, keepdim=True)) + pull * (p - hit)


def _written_out(logits, labels, ignore_index, where, squared, cross_entropy, weight):
    """The same in plain PyTorch, for regions, and for `torch.compile`, which fuses all of it into the sums."""
    logits = counted_logits(logits, labels, ignore_index, where)
    if are_regions(labels):
        p, hit = probabilities(logits, labels, where=where)
        surprise = surprises(logits, labels, valid=where, weight=weight) if cross_entropy else p.new_zeros(())
    else:                                       # a second softmax, or a lookup, would not be fused
        log_p = logits.log_softmax(1, dtype=accumulating(logits.dtype))
        y, valid = counted_truth(labels, ignore_index)
        p, hit = log_p.exp(), one_hot(y, logits.shape[1])
        if valid is not None:
            p, hit = torch.where(valid[:, None], p, 0), hit & valid[:, None]
        weighted = log_p if weight is None else log_p * weight[:, None]
        surprise = -torch.where(hit, weighted, 0) if cross_entropy else p.new_zeros(())
    tp = torch.where(hit, p, 0).sum(2)
    fp = p.square().sum(2) - tp if squared else torch.where(hit, 0, p).sum(2)
    return tp, fp, hit.sum(2) - tp, surprise.sum()


def _blocks(p: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of images and voxels that fit a cache: a part of a large image, or several small ones."""
    images, _, voxels = p.shape
    size = CPU_BLOCK if p.device.type == "cpu" else GPU_BLOCK
    together = max(1, size // max(1, voxels))
    for i in range(0, images, together):
        for v in range(0, voxels, size):
            yield slice(i, i + together), slice(v, v + size)


def _lane(y: Tensor, lanes: int) -> Tensor:
    """The partial sum to which each voxel is added: of its true class, the lanes take turns."""
    return y if lanes == 1 else y * lanes + torch.arange(y.shape[1], device=y.device) % lanes


def _log(p_y: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    r"""$\ln p_y$; where $p_y$ is too small for a float, $z_y - \ln \sum_k e^{z_k}$ from the logits themselves."""
    log_p = p_y.log()
    if p_y.numel() and p_y.amin() < FAR:
        image, voxel = (p_y < FAR).nonzero(as_tuple=True)
        z = logits[image, :, voxel].to(p_y.dtype)
        log_p[image, voxel] = z.gather(1, y[image, voxel][:, None])[:, 0] - z.logsumexp(1)
    return log_p


def _plain(x: Tensor) -> Tensor:
    """A plain tensor of the same data: a subclass such as MONAI's MetaTensor runs its own code at every step."""
    return x if type(x) is Tensor else x.as_subclass(Tensor)


def _widest(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64
