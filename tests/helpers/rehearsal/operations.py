"""One operation on the rehearsed GPU: refused, or done on the CPU tensors inside, and its answer put on the GPU."""
from __future__ import annotations

import contextlib

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from helpers.rehearsal import GPU, rounding
from helpers.rehearsal.refusals import refuse, refuse_foreign_generator
from helpers.rehearsal.tensors import CPU, CUDA, OnCuda


class Operations(TorchDispatchMode):
    """Sees every operation, also those that make a tensor on the GPU from nothing."""

    @classmethod
    def _should_skip_dynamo(cls):                           # else torch loads its compiler first
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class Functions(TorchFunctionMode):
    """Sees what is gone inside an operation: which generator it was, and lists that hold numbers on the GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.cuda:
            return args[0].to(CUDA)
        if func is torch.Tensor.pin_memory and not args[0].is_cuda:
            return args[0].clone()
        if func is torch.Tensor.new_tensor:
            func, args, kwargs = torch.tensor, args[1:], {"dtype": args[0].dtype, "device": args[0].device} | kwargs
        if func in (torch.tensor, torch.as_tensor) and isinstance(args[0], (list, tuple)):
            args = (tree_map(lambda x: x.item() if isinstance(x, OnCuda) else x, args[0]), *args[1:])
        refuse_foreign_generator(func, args, kwargs)
        return func(*args, **kwargs)


def run(func, args, kwargs):
    flat, spec = tree_flatten((args, kwargs))
    tensors = [x for x in flat if isinstance(x, torch.Tensor)]
    asked = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
    if asked != "cuda" and not any(isinstance(x, OnCuda) for x in tensors):
        return func(*args, **kwargs)
    refuse(func, args, tensors)

    base = func._schema.name.removeprefix("aten::").rstrip("_")
    half, tf32 = rounding.in_float16(base, tensors), rounding.in_tf32(base)
    args_inside, kwargs_inside = tree_unflatten([_inside(x, half, tf32) for x in flat], spec)
    if base in ("_softmax", "_log_softmax") and args[2]:    # float32 from float16 in one go is CUDA's alone
        args_inside = [args_inside[0].float(), args_inside[1], False]
    back = base in ("_softmax_backward_data", "_log_softmax_backward_data")
    if back:                                                # and so is the way back
        args_inside = [*args_inside[:3], args_inside[0].dtype]
    with _numbers_of_the_gpu(func, flat):
        out = func(*args_inside, **kwargs_inside)
    out = out.to(args[3]) if back else out
    if base == "copy" and func._schema.is_mutable and not isinstance(args[0], OnCuda):
        return args[0]
    anew = rounding.adds_in_any_order(base, args, flat)
    if GPU.jitter and (anew or rounding.is_inexact(base, args)):
        for x in tree_flatten(out)[0]:
            rounding.jitter(x, func, tensors, anew)

    out = tree_map(lambda x: _outside(x, half) if asked in (None, "cuda") else x, out)
    if any(a.alias_info for a in func._schema.arguments):
        out = return_and_correct_aliasing(func, args, kwargs, out)
        if any(isinstance(x, OnCuda) and x.shape != x.inside.shape for x in tensors):
            raise NotImplementedError(f"the rehearsal cannot follow {func}, which resizes a tensor")
    return out


def _inside(x, half, tf32):
    if isinstance(x, torch.device) and x.type == "cuda":
        return CPU
    if not isinstance(x, OnCuda):
        return x
    if half and x.dtype == torch.float16:
        return x.inside.float()
    return rounding.tf32(x.inside) if tf32 and x.dtype == torch.float32 else x.inside


def _outside(x, half):
    if not isinstance(x, torch.Tensor) or x.device != CPU:
        return x
    return OnCuda(x.half() if half and x.dtype == torch.float32 else x)


@contextlib.contextmanager
def _numbers_of_the_gpu(func, flat):
    """What is drawn there without a generator comes from the GPU's own one, never from the CPU's."""
    if torch.Tag.nondeterministic_seeded not in func.tags or any(isinstance(x, torch._C.Generator) for x in flat):
        yield
        return
    here, there = torch.default_generator, torch.cuda.default_generators[0]
    before = here.get_state()
    here.set_state(there.get_state())
    try:
        yield
    finally:
        there.set_state(here.get_state())
        here.set_state(before)
