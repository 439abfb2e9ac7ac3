"""Names that torch keeps to itself, and why each is used: the one place to look when a new torch breaks something.

Tried with torch 2.11 and 2.13. `tests/base/test_private.py` says which name is gone.
"""
from __future__ import annotations

import os

import torch
from torch import Generator
from torch.utils._python_dispatch import TorchDispatchMode      # to see each operation: no other way is documented
from torch.utils._pytree import tree_leaves, tree_map           # tensors inside an operation's arguments
from torch.utils.weak import WeakTensorKeyDictionary            # notes about tensors, which do not keep them alive

__all__ = ["TorchDispatchMode", "WeakTensorKeyDictionary", "graph_is_kept", "mps_generator", "onednn_has_bfloat16",
           "processor_has_bfloat16", "tree_leaves", "tree_map"]

IMITATED = ("AVX512_CORE", "AVX512_CORE_VNNI")      # what oneDNN may use where torch says yes to bfloat16, wrongly


def processor_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16: torch has no public question for it."""
    return any(getattr(torch.cpu, test, bool)() for test in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def onednn_has_bfloat16() -> bool:
    """Whether oneDNN multiplies in it: ONEDNN_MAX_CPU_ISA may forbid that, and it is then imitated, slower than float32."""
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "").strip().upper()
    return allowed not in IMITATED and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def graph_is_kept() -> bool:
    """Whether this backward pass may come again (`retain_graph=True`), so that what it needs must survive it."""
    asked = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)     # torch 2.5 and later
    return asked is None or asked()


def mps_generator() -> Generator:
    """The generator that Apple's GPU draws from."""
    return torch.mps._get_default_mps_generator()
