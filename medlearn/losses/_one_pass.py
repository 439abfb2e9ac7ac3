r"""Every sum that overlap losses and cross-entropy need, in one pass over the voxels, and its gradient in closed form."""
from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medlearn.losses._inputs import accumulating, check_numbers

CPU_BLOCK, GPU_BLOCK = 1 << 16, 1 << 22     # voxels at a time: what stays in a cache; short sums also lose no digits
LANES = 1024                                # partial sums a class on a GPU, where all voxels would queue for one address
FAR = 1e-37                                 # below it a float32 probability has lost its digits


def soft_sums(logits: Tensor, labels: Tensor, *, ignore_index: int | None = None, squared: bool = False,
              cross_entropy: bool = False, weight: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""tp $= \sum_v p_k y_k$, fp $= \sum_v p_k - $ tp, fn $= \sum_v y_k - $ tp; and $-\sum_v w_y \ln p_y$ over the batch.

    Shapes: three times `(B, K)`, and a scalar, which is 0 unless `cross_entropy` asks for it. `squared` has $p_k^2$ in fp.
    """
    if logits.ndim == 2:
        logits, labels = logits[..., None], labels[:, None]
    logits, labels = logits.flatten(2), labels.flatten(1)
    if torch.compiler.is_compiling():
        return _written_out(logits, labels, ignore_index, squared, cross_entropy, weight)
    sums = _SoftSums.apply(logits, labels, ignore_index, squared, cross_entropy, weight)
    check_numbers(logits, clue=sums[1])
    return sums


class _SoftSums(torch.autograd.Function):
    r"""The softmax is computed once and kept, with the true class's share of it; the gradient is written in its place.

    Let $g_k$ be what a voxel's probabilities receive from above: $a = \partial / \partial \mathrm{fp}_k$ for every class
    (times $2 p_k$ if squared), and $b_k = \partial/\partial \mathrm{tp}_k - \partial/\partial \mathrm{fp}_k -
    \partial/\partial \mathrm{fn}_k$ besides for the true one. With $c$ for the cross-entropy, the logits receive

    $$ dz_k = p_k (g_k - s) + c\,w_y (p_k - y_k), \qquad s = \sum_j p_j g_j = \sum_j p_j a_j + p_y b_y . $$

    So every class gets $p_k (a_k - s + c\,w_y)$, and the true class $p_y b_y - c\,w_y$ on top: no one-hot tensor. An
    ignored voxel has $p = 0$ and $w = 0$, and nothing of it remains.
    """

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, squared, cross_entropy, weight):
        p = logits.softmax(1, dtype=accumulating(logits.dtype))
        images, classes, voxels = p.shape
        true_p = p.new_empty(images, voxels)
        lanes, wide = (1 if p.device.type == "cpu" else LANES), _widest(p)
        tp, true = torch.zeros(2, images, classes * lanes, dtype=wide, device=p.device)
        predicted = torch.zeros(images, classes, dtype=wide, device=p.device)
        surprise, one = torch.tensor([0.0, 1.0], dtype=wide, device=p.device)
        for i, v in _blocks(p):
            q = p[i, :, v]
            y, valid = _true_class(labels[i, v], ignore_index)
            p_y = true_p[i, v]
            torch.gather(q, 1, y[:, None], out=p_y[:, None])
            if cross_entropy:
                log_p = _log(p_y, logits[i, :, v], y)
                log_p = log_p if weight is None else log_p * weight.take(y)
                surprise -= (log_p if valid is None else torch.where(valid, log_p, 0)).sum()
            if valid is not None:
                q.masked_fill_(~valid[:, None], 0)
                p_y.masked_fill_(~valid, 0)
            place = _lane(y, lanes)
            tp[i].scatter_add_(1, place, p_y.to(wide))
            true[i].scatter_add_(1, place, one.expand_as(y) if valid is None else valid.to(wide))
            predicted[i] += (q.square() if squared else q).sum(2)
        tp, true = (sums.view(images, classes, lanes).sum(2) for sums in (tp, true))
        fp = predicted - tp if squared else (predicted - tp).clamp_min(0)       # rounding may leave -1e-7 of it
        ctx.save_for_backward(p, true_p, labels, weight)
        ctx.ignore_index, ctx.squared, ctx.dtype = ignore_index, squared, logits.dtype
        ctx.set_materialize_grads(False)
        return tuple(out.to(p.dtype) for out in (tp, fp, true - tp, surprise))

    @staticmethod
    @once_differentiable
    def backward(ctx, d_tp, d_fp, d_fn, c):
        p, true_p, labels, weight = ctx.saved_tensors
        dz = p.clone() if _graph_is_kept() else p
        d_tp, a, d_fn = (p.new_zeros(p.shape[:2]) if d is None else d for d in (d_tp, d_fp, d_fn))
        b, c = d_tp - a - d_fn, p.new_zeros(()) if c is None else c
        with torch.autocast(p.device.type, enabled=False):      # it would halve the product below
            for i, v in _blocks(p):
                q = dz[i, :, v]
                y, valid = _true_class(labels[i, v], ctx.ignore_index)
                on_top = b[i].gather(1, y).mul_(true_p[i, v])
                slope = 2 * a[i, :, None] * q if ctx.squared else a[i, :, None]
                pull = c if weight is None else c * weight.take(y)
                pull = pull if valid is None else pull * valid
                rest = (pull - on_top).sub_((q * slope).sum(1) if ctx.squared else (a[i, None] @ q)[:, 0])
                q.mul_(slope + rest[:, None]).scatter_add_(1, y[:, None], on_top.sub_(pull)[:, None])
        return dz.to(ctx.dtype), None, None, None, None, None


def _written_out(logits, labels, ignore_index, squared, cross_entropy, weight):
    """The same as the formulas stand, for `torch.compile`, which fuses the comparison with the labels into the sums."""
    log_p = logits.log_softmax(1, dtype=accumulating(logits.dtype))
    p = log_p.exp()
    hit = labels[:, None] == torch.arange(p.shape[1], device=p.device)[:, None]
    if ignore_index is not None:
        valid = (labels != ignore_index)[:, None]
        p, hit = torch.where(valid, p, 0), hit & valid
    surprise = p.new_zeros(())
    if cross_entropy:
        surprise = torch.where(hit, -log_p if weight is None else -log_p * weight[:, None], 0).sum()
    tp = torch.where(hit, p, 0).sum(2)
    return tp, (p.square() if squared else p).sum(2) - tp, hit.sum(2) - tp, surprise


def _blocks(p: Tensor) -> Iterator[tuple[slice, slice]]:
    """Images and voxels, a cache-full at a time: a part of a large image, or several small ones."""
    images, _, voxels = p.shape
    size = CPU_BLOCK if p.device.type == "cpu" else GPU_BLOCK
    together = max(1, size // max(1, voxels))
    for i in range(0, images, together):
        for v in range(0, voxels, size):
            yield slice(i, i + together), slice(v, v + size)


def _true_class(labels: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor | None]:
    """A class for every voxel to point at, and which of the voxels count (None: all)."""
    if ignore_index is None:
        return labels, None
    valid = labels != ignore_index
    return labels.masked_fill(~valid, 0), valid


def _lane(y: Tensor, lanes: int) -> Tensor:
    """Where a voxel is added: its true class, and within that in turn one of the lanes."""
    return y if lanes == 1 else y * lanes + torch.arange(y.shape[1], device=y.device) % lanes


def _log(p_y: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    r"""$\ln p_y$; where $p_y$ is too small for a float, $z_y - \ln \sum_k e^{z_k}$ from the logits themselves."""
    log_p = p_y.log()
    if p_y.numel() and p_y.amin() < FAR:
        image, voxel = (p_y < FAR).nonzero(as_tuple=True)
        z = logits[image, :, voxel].to(p_y.dtype)
        log_p[image, voxel] = z.gather(1, y[image, voxel][:, None])[:, 0] - z.logsumexp(1)
    return log_p


def _graph_is_kept() -> bool:
    """Whether this backward pass may come again (`retain_graph=True`), so that the softmax must survive it."""
    asked = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)     # torch 2.5 and later
    return asked is None or asked()


def _widest(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64
