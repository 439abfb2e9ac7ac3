"""What CUDA refuses: tensors on two devices, operations without a kernel, and a few more."""
from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path

import torch

from helpers.rehearsal import GPU
from helpers.rehearsal.rounding import PRODUCTS
from helpers.rehearsal.tensors import OnCuda

COPIES = {"aten::copy_", "aten::copy", "aten::_to_copy"}
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}


def refuse(func, args, tensors):
    """Raises what TensorIterator, the dispatcher or the kernel would; all in torch's words, or near them."""
    if os.getpid() != GPU.process:
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess.")
    name = func._schema.name
    base = name.removeprefix("aten::").rstrip("_")
    _refuse_two_devices(func, name, base, args, tensors)
    if (base if func._overloadname == "default" else f"{base}.{func._overloadname}") in _without_kernel():
        raise NotImplementedError(f"Could not run '{name}' with arguments from the 'CUDA' backend.")
    if base in PRODUCTS and not any(x.is_floating_point() or x.is_complex() for x in tensors):
        raise RuntimeError(f"\"{base}_cuda\" not implemented for '{tensors[0].dtype}'")
    if base.startswith("_fft") and tensors[0].dtype in (torch.bfloat16, torch.float16):
        raise RuntimeError("cuFFT: no bfloat16, and float16 only of sizes that are powers of two")
    if base == "_pin_memory":
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")


def refuse_foreign_generator(func, args, kwargs):
    """Numbers are drawn where their generator is."""
    generator = next((x for x in (*args, *kwargs.values()) if isinstance(x, torch._C.Generator)), None)
    if generator is None or func is torch.device:
        return
    first = next((x for x in args if isinstance(x, torch.Tensor)), None)
    here = torch.device(kwargs.get("device") or ("cpu" if first is None else first.device)).type
    if here != generator.device.type:
        raise RuntimeError(f"Expected a '{here}' device type for generator but found '{generator.device.type}'")


def _refuse_two_devices(func, name, base, args, tensors):
    """All on one, but for copies, indices on the CPU, and single numbers on the CPU in pointwise operations."""
    looked_at = [] if name in COPIES else tensors
    if name in INDEXED:
        if not isinstance(args[0], OnCuda) and any(isinstance(index, OnCuda) for index in args[1]):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        looked_at = [args[0], *(x for x in args[2:3] if x.ndim)]
    elif torch.Tag.pointwise in func.tags or base in ("fill", "masked_fill"):
        written = [x for a, x in zip(func._schema.arguments, args) if a.alias_info and a.alias_info.is_write]
        looked_at = [x for x in tensors if x.ndim or x.is_cuda or any(x is y for y in written)]
    devices = sorted({str(x.device) for x in looked_at})
    if len(devices) > 1:
        raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, "
                           f"{' and '.join(devices)}! (in {func})")


@functools.cache
def _without_kernel():
    """Operations that torch has for the CPU and not for CUDA, by its own list."""
    import yaml

    folder = Path(importlib.util.find_spec("torchgen").origin).parent
    rows = yaml.load((folder / "packaged/ATen/native/native_functions.yaml").read_text(), yaml.CSafeLoader)
    name, delegate = (lambda row: row["func"].split("(")[0]), (lambda row: row.get("structured_delegate"))
    lacking = {name(row) for row in rows if row.get("dispatch") and not delegate(row)
               and not any("CUDA" in keys or "Composite" in keys for keys in row["dispatch"])}
    return lacking | {name(row) for row in rows if delegate(row) in lacking}
