r"""The sums of overlap losses and cross-entropy on a GPU: the logits are read twice, the gradient is written once.

No softmax, one-hot tensor or mask of the logits' size is made. A program takes a tile, all classes of some voxels, and
computes their softmax in its registers: once for the sums, and once more for the gradient, which needs the sums first.
Reading again is cheaper on a GPU than keeping. Needs Triton, which comes with PyTorch for GPUs on Linux.
"""
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from medlearn.base.labelled import has_values
from medlearn.base.precision import accumulating
from medlearn.losses._answers import counted_truth
from medlearn.losses._one_pass import written_out_gradient

TILE, TILES = 1024, 16          # numbers in a tile, which fit registers; tiles that one program adds up
WIDEST = 256                    # classes: with more of them a tile no longer fits


@triton.jit
def _softmax_of_tile(z_at, y_at, image, v, k, voxels, classes, by_image, by_class, by_voxel, ignore: tl.constexpr):
    """p, whether it is the true class, and ln p of that one; what is ignored or not there is never read, and 0."""
    valid = v < voxels
    y = tl.load(y_at + image * voxels + v, mask=valid, other=0)
    if ignore is not None:
        valid = valid & (y != ignore)
    at = z_at + image * by_image + k[:, None].to(tl.int64) * by_class + v[None, :] * by_voxel
    z = tl.load(at, mask=(k < classes)[:, None] & valid[None, :], other=0)
    if z.dtype != tl.float64:
        z = z.to(tl.float32)
    z = tl.where((k < classes)[:, None], z, float("-inf"))
    top = tl.max(z, 0)
    e = tl.exp(z - top[None, :])
    total = tl.sum(e, 0)
    p = tl.where(valid[None, :], e / total[None, :], 0.0)
    hit = (k[:, None] == y[None, :]) & valid[None, :]
    log_p = tl.sum(tl.where(hit, z, 0.0), 0) - top - tl.log(total)      # right where p is too small for a float
    return p, hit, log_p


@triton.jit
def _sums_kernel(z_at, y_at, out_at, images, voxels, classes, by_image, by_class, by_voxel, parts, tiles,
                 ignore: tl.constexpr, squared: tl.constexpr, wide: tl.constexpr, block: tl.constexpr):
    """Of a part of an image, for each class: the sums of p_y, p (or p^2), y and ln p_y, without atomic additions."""
    program = tl.program_id(0).to(tl.int64)
    image, part = program // parts, program % parts
    k = tl.arange(0, wide)
    tp = tl.zeros([wide], out_at.dtype.element_ty)
    predicted, true, log_sum = tp, tp, tp
    for tile in range(tiles):
        v = (part * tiles + tile) * block + tl.arange(0, block)
        p, hit, log_p = _softmax_of_tile(z_at, y_at, image, v, k, voxels, classes, by_image, by_class, by_voxel, ignore)
        tp += tl.sum(tl.where(hit, p, 0.0), 1)
        predicted += tl.sum(p * p if squared else p, 1)
        true += tl.sum(hit.to(p.dtype), 1)
        log_sum += tl.sum(tl.where(hit, log_p[None, :], 0.0), 1)
    size = images * parts * classes
    here = out_at + program * classes + k
    tl.store(here, tp, mask=k < classes)
    tl.store(here + size, predicted, mask=k < classes)
    tl.store(here + 2 * size, true, mask=k < classes)
    tl.store(here + 3 * size, log_sum, mask=k < classes)


@triton.jit
def _gradient_kernel(z_at, y_at, dz_at, a_at, b_at, c_at, w_at, voxels, classes, by_image, by_class, by_voxel,
                     d_by_image, d_by_class, d_by_voxel, parts, ignore: tl.constexpr, squared: tl.constexpr,
                     wide: tl.constexpr, block: tl.constexpr):
    r"""$dz = p (g - \sum_j p_j g_j) + c\,w_y (p - y)$, as `written_out_gradient` has it."""
    program = tl.program_id(0).to(tl.int64)
    image, part = program // parts, program % parts
    k, v = tl.arange(0, wide), part * block + tl.arange(0, block)
    p, hit, _ = _softmax_of_tile(z_at, y_at, image, v, k, voxels, classes, by_image, by_class, by_voxel, ignore)
    a = tl.load(a_at + image * classes + k, mask=k < classes, other=0)[:, None]
    b = tl.load(b_at + image * classes + k, mask=k < classes, other=0)[:, None]
    pull = tl.load(c_at + image)
    if w_at is not None:
        w = tl.load(w_at + k, mask=k < classes, other=0)[:, None]
        pull = pull * tl.sum(tl.where(hit, w, 0.0), 0)[None, :]
    g = (2 * p * a if squared else a) + tl.where(hit, b, 0.0)
    dz = p * (g - tl.sum(p * g, 0)[None, :]) + pull * (p - hit.to(p.dtype))
    at = dz_at + image * d_by_image + k[:, None].to(tl.int64) * d_by_class + v[None, :] * d_by_voxel
    tl.store(at, dz.to(dz_at.dtype.element_ty), mask=(k < classes)[:, None] & (v < voxels)[None, :])


class FusedSums(torch.autograd.Function):
    """tp, fp, fn `(B, K)` and the surprise `(B,)` of logits `(B, K, N)` and labels `(B, N)`, as `BlockSums` has them.

    What is kept for the gradient are the logits themselves. A gradient that is to be differentiated once more is
    written in PyTorch's operations, as there.
    """

    @staticmethod
    def forward(logits, labels, ignore_index, squared, cross_entropy, weight):
        (images, classes, voxels), labels = logits.shape, labels.contiguous()
        wide, block = _tile(classes)
        tiles = min(TILES, triton.cdiv(voxels, block))
        parts = triton.cdiv(voxels, block * max(1, tiles))
        sums = logits.new_zeros(4, images, parts, classes, dtype=accumulating(logits.dtype))
        with torch.cuda.device_of(logits):
            if sums.numel():
                _sums_kernel[images * parts,](logits, labels, sums, images, voxels, classes, *logits.stride(), parts,
                                              tiles, ignore_index, squared, wide, block)
        tp, predicted, true, log_sum = sums.sum(2, dtype=torch.float64)
        fp = predicted - tp if squared else (predicted - tp).clamp_min(0)       # rounding may make it -1e-7
        surprise = -(log_sum if weight is None else log_sum * weight).sum(1)
        surprise = surprise if cross_entropy else torch.zeros_like(surprise)
        return tuple(out.to(sums.dtype) for out in (tp, fp, true - tp, surprise))

    @staticmethod
    def setup_context(ctx, inputs, output):
        logits, labels, ctx.ignore_index, ctx.squared, _, weight = inputs
        ctx.save_for_backward(logits, labels, weight)

    @staticmethod
    def backward(ctx, d_tp, a, d_fn, c):
        logits, labels, weight = ctx.saved_tensors
        b = d_tp - a - d_fn
        if torch.is_grad_enabled() or not has_values(b, c):
            y, valid = counted_truth(labels, ctx.ignore_index)
            p = (logits if valid is None else logits.masked_fill(~valid[:, None], 0)).softmax(1, dtype=b.dtype)
            p = p if valid is None else p * valid[:, None]
            dz = written_out_gradient(p, labels, a, b, c, None, ctx.ignore_index, ctx.squared, weight)
            dz = dz.to(logits.dtype)
        else:
            dz = _gradient(logits, labels, a, b, c, weight, ignore_index=ctx.ignore_index, squared=ctx.squared)
        return dz, None, None, None, None, None


def _gradient(logits: Tensor, labels: Tensor, a: Tensor, b: Tensor, c: Tensor, weight: Tensor | None, *,
              ignore_index: int | None, squared: bool) -> Tensor:
    (images, classes, voxels), dz = logits.shape, torch.empty_like(logits)      # channels-last stays so
    a, b, c, labels = (x.contiguous() for x in (a, b, c, labels))               # an expanded gradient has no strides
    wide, block = _tile(classes)
    parts = triton.cdiv(voxels, block)
    with torch.cuda.device_of(logits):
        if dz.numel():
            _gradient_kernel[images * parts,](logits, labels, dz, a, b, c, weight, voxels, classes, *logits.stride(),
                                              *dz.stride(), parts, ignore_index, squared, wide, block)
    return dz


def _tile(classes: int) -> tuple[int, int]:
    """Its classes, a power of two as Triton wants it, and its voxels."""
    wide = triton.next_power_of_2(classes)
    return wide, max(16, TILE // wide)
