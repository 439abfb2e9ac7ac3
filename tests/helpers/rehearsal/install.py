"""From here on there is a GPU in this process."""
from __future__ import annotations

import os
import types

from helpers.rehearsal import GPU, guard

_library = guard.load_before_torch()

import torch  # noqa: E402

from helpers.rehearsal.operations import Functions, Operations  # noqa: E402
from helpers.rehearsal.tensors import Generator, OnCuda  # noqa: E402

NAME, MEMORY = "Rehearsed GPU", int(15.8e9)


def install(capability: tuple[int, int] = (7, 5), jitter: bool = False) -> None:
    """Not undone: for a process of its own."""
    GPU.capability, GPU.jitter, GPU.process = tuple(capability), jitter, os.getpid()
    _library.register_guard()
    torch._C._set_only_lift_cpu_tensors(True)           # torch.tensor(..., device="cuda") then shows its copy
    torch.utils.swap_tensors, torch.nn.Module._apply = _swap, _apply
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else torch.enable_grad()   # no OnCuda can be in it
    for kernel in ("flash", "mem_efficient", "cudnn"):
        getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(False)     # a torch with CUDA would look for the card
    torch.autograd.set_multithreading_enabled(False)    # backward in this thread, where the modes are
    torch.Generator, torch.cuda.default_generators, torch.cuda._initialized = Generator, (Generator("cuda"),), True
    for attribute, answer in _answers().items():        # a function of its own for each, or torch's compiler complains
        for module in (torch.cuda, torch.cuda.random):
            if module is torch.cuda or hasattr(module, attribute):
                setattr(module, attribute, lambda *_, answer=answer, **__: answer)
    Functions().__enter__()
    Operations().__enter__()


def _answers():
    """What torch.cuda says of the one GPU."""
    major, minor = GPU.capability
    properties = types.SimpleNamespace(name=NAME, total_memory=MEMORY, major=major, minor=minor,
                                       multi_processor_count=40)
    return dict(is_available=True, is_initialized=True, device_count=1, current_device=0, get_device_name=NAME,
                get_device_capability=GPU.capability, get_device_properties=properties, synchronize=None,
                _lazy_init=None, init=None, empty_cache=None, set_device=None, reset_peak_memory_stats=None,
                memory_allocated=0, max_memory_allocated=0, memory_reserved=0, max_memory_reserved=0,
                _exchange_device=0, _maybe_exchange_device=0, ipc_collect=None, is_current_stream_capturing=False,
                mem_get_info=(MEMORY, MEMORY))


def _apply(net, fn, recurse=True, apply=torch.nn.Module._apply):
    """On its way to or from the GPU a module's parameters stay the objects they were, as with CUDA."""
    moves = isinstance(fn(torch.empty(0)), OnCuda) or any(isinstance(p, OnCuda) for p in net.parameters())
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(moves)
    try:
        return apply(net, fn, recurse)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def _swap(a, b):
    """torch.utils.swap_tensors, but not refused for a weight that an earlier graph still knows."""
    a.__class__, b.__class__ = b.__class__, a.__class__
    kept = dict(a.__dict__)
    a.__dict__.clear()
    a.__dict__.update(b.__dict__)
    b.__dict__.clear()
    b.__dict__.update(kept)
    torch._C._swap_tensor_impl(a, b)
