"""Where a GPU rounds otherwise than a CPU: products in float16 and TF32, and the order of its sums."""
from __future__ import annotations

import itertools
import zlib

import torch

from helpers.rehearsal import GPU

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "mv", "dot", "addmv", "convolution", "convolution_backward"}
# what it sums or approximates in another way
INEXACT = PRODUCTS | set("""sum mean var std var_mean prod cumsum logsumexp _softmax _log_softmax linalg_vector_norm
    norm native_batch_norm native_layer_norm native_group_norm exp log log1p expm1 sin cos tanh sigmoid erf pow lgamma
    digamma softplus gelu atan2 hypot rsqrt _fft_r2c _fft_c2c _fft_c2r grid_sampler_2d grid_sampler_3d
    upsample_bilinear2d upsample_trilinear3d""".split())
# what it adds in the order in which its threads come, another one at each call
ATOMIC = set("""scatter_add index_add index_put bincount scatter_reduce embedding_dense_backward cumsum
    grid_sampler_2d_backward grid_sampler_3d_backward upsample_bilinear2d_backward upsample_trilinear3d_backward
    max_pool3d_with_indices_backward convolution_backward""".split())
_CALLS = itertools.count(1)


def in_float16(base, tensors):
    """Tensor cores multiply float16 in float32, and round the sum."""
    floats = [x for x in tensors if x.is_floating_point()]
    return base in PRODUCTS and bool(floats) and all(x.dtype == torch.float16 for x in floats)


def in_tf32(base):
    """cuDNN's convolutions, from Ampere on."""
    return base.startswith("convolution") and GPU.capability >= (8, 0) and torch.backends.cudnn.allow_tf32


def tf32(x):
    """Rounded to 10 bits of mantissa."""
    return x.clone().view(torch.int32).add_(0x1000).bitwise_and_(~0x1FFF).view(torch.float32)


def is_inexact(base, args):
    square = base == "pow" and isinstance(args[1], (int, float)) and args[1] == 2   # one product, everywhere the same
    return base in INEXACT and not square


def adds_in_any_order(base, args, flat):
    """Of the atomic ones a maximum does not depend on the order, nor does a plain write."""
    return base in ATOMIC and not any(x in ("amin", "amax") for x in flat if isinstance(x, str)) and (
        base != "index_put" or any(x is True for x in args[3:]))


def jitter(x, func, tensors, anew):
    """Moves the last bit, as another order of the sums does; what is whole was exact and stays."""
    if not isinstance(x, torch.Tensor) or x.dtype not in (torch.float32, torch.float64) or not x.numel():
        return
    call = next(_CALLS) if anew else 0
    salt = zlib.crc32(repr((str(func), [tuple(t.shape) for t in tensors], call)).encode())
    bits = x.view(torch.int32 if x.dtype == torch.float32 else torch.int64)
    step = (bits.long() * 40503 + salt) // 977 % 3 - 1
    bits += torch.where(x.isfinite() & (x != x.round()), step, 0).to(bits.dtype)
