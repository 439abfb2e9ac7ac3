"""The tensor and the generator that say they are on cuda:0."""
from __future__ import annotations

import torch

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


class OnCuda(torch.Tensor):
    """A tensor that says it is on cuda:0, with the CPU tensor that holds its numbers."""

    @staticmethod
    def __new__(cls, inside):
        inside = inside.detach().resolve_conj().resolve_neg()
        new = torch.Tensor._make_wrapper_subclass(
            cls, inside.size(), strides=inside.stride(), storage_offset=inside.storage_offset(), dtype=inside.dtype,
            layout=inside.layout, device=CUDA)
        new.inside = inside
        return new

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        from helpers.rehearsal.operations import run

        return run(func, args, kwargs or {})

    # what torch does in C++ without asking the dispatcher

    def numpy(self, *, force=False):
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
                            "host memory first.")
        return self.detach().cpu().numpy()

    def tolist(self):
        return self.detach().cpu().tolist()

    def data_ptr(self):
        return self.inside.data_ptr()

    def untyped_storage(self):
        return self.inside.untyped_storage()

    def __format__(self, form):
        return self.item().__format__(form) if self.ndim == 0 else object.__format__(self, form)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = self.detach().clone().requires_grad_(self.requires_grad)
            memo[id(self)]._is_param = getattr(self, "_is_param", False)
        return memo[id(self)]


class _EveryGenerator(type(torch.Generator)):
    def __instancecheck__(cls, value):
        return isinstance(value, torch._C.Generator)


class Generator(torch.Generator, metaclass=_EveryGenerator):
    """A generator that says where it draws."""

    def __new__(cls, device="cpu"):
        new = super().__new__(cls, device="cpu")
        new.there = CUDA if torch.device(device).type == "cuda" else torch.device(device)
        return new

    device = property(lambda self: self.there)
