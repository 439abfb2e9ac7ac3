r"""A window that slides over a volume: overlapping answers are blended, and a plane that is complete leaves at once."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, product
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.validation import (Number, check_choice, check_finite, check_float, check_number, check_same,
                                      check_tensor, check_whole, kind_of)

SIGMA = 1 / 8                   # of the Gaussian, in windows
LEAST_WEIGHT = 1e-3             # so that a corner which only one window reaches has an answer
Answers = Callable[[Tensor], Iterable[Tensor]]
Box = tuple[slice, ...]
Place = tuple[int | slice, ...]
Item = TypeVar("Item")


def window_starts(size: int, patch: int, *, overlap: Number = 0.5) -> list[int]:
    r"""Where along an axis windows begin: every $\lfloor p (1 - o) \rfloor$ voxels; the last one ends with the axis.

    Shapes: `size` voxels along the axis, windows of `patch`; `overlap` o is the share of a window that the next one
    sees again, below 1. Units: voxels. A size up to the patch's has one window, at 0.
    Errors: TypeError and ValueError for numbers that cannot be. Source: as MONAI's sliding window.

    >>> window_starts(10, 4, overlap=0.5), window_starts(3, 4)
    ([0, 2, 4, 6], [0])
    """
    size, patch = check_whole("size", size), check_whole("patch", patch, least=1)
    overlap = check_number("overlap", overlap, least=0, below=1)
    last = max(size - patch, 0)
    return [*range(0, last, max(1, int(patch * (1 - overlap)))), last]


def gaussian_window(patch: Sequence[int]) -> Float[Tensor, "*p"]:
    r"""$w(v) = \max(e^{-|v - m|^2 / 2\sigma^2},\ 10^{-3})$, $\sigma$ an eighth of the window: its middle counts most.

    A network knows least about what lies at a window's border, since it does not see beyond it.
    Shapes: `patch` has the window's voxels along each axis. Units: none, 0..1. Errors: ValueError for a window without
    a voxel. Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, here with MONAI's numbers.

    >>> [round(w, 3) for w in gaussian_window((5,)).tolist()]
    [0.006, 0.278, 1.0, 0.278, 0.006]
    """
    weight = torch.ones(())
    for axis, n in enumerate(patch):
        n = check_whole(f"patch[{axis}]", n, least=1)
        offset = torch.arange(n) - (n - 1) / 2
        weight = weight[..., None] * torch.exp(-(offset / (SIGMA * n)).square() / 2)
    return weight.clamp_min(LEAST_WEIGHT)


def blended_planes(answers: Answers, image: Float[Tensor, "c *s"], *, patch: Sequence[int], overlap: Number = 0.5,
                   batch: int = 1, dtype: torch.dtype = torch.float32, device: torch.device | None = None
                   ) -> Iterator[tuple[Place, Float[Tensor, "m k *plane"]]]:
    r"""$\sum_w g_w f(x_w) / \sum_w g_w$ over all windows w, plane by plane, each as soon as it is complete.

    The sums stand in a ring of as many planes as a window is deep, so that memory does not grow with the volume's
    length. It runs along the axis on which the ring is smallest.
    Shapes: `image (C, *S)`; `answers` takes windows `(B, C, *P)` and gives logits `(B, K, *P)` once for each of M
    members. Each pair is a place, an index into `*S`, and the logits of its plane `(M, K, *plane)` in float32. `patch`
    is `*P`, one number for each axis, and `overlap` as in `window_starts`; an image that is smaller is put in the
    middle of zeros. `batch` windows at most are answered together, on the `device`, where the ring lies too.
    Units: as the logits. `dtype` is that of the sums: torch.float16 halves the ring, and rounds logits to about a
    thousandth; thousands are more than it holds, which is refused. An image without a voxel has none in its planes.
    Errors: TypeError and ValueError for arguments that do not go together, logits of another shape than the windows',
    another number of members from window to window, NaN or infinite logits.
    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.

    >>> def answers(windows):
    ...     yield torch.cat([windows, 1 - windows], dim=1)
    >>> image = torch.linspace(0, 1, 8).expand(1, 5, 8)
    >>> planes = list(blended_planes(answers, image, patch=(4, 4)))
    >>> len(planes), all(torch.allclose(logits[0, 0], image[(0, *place)]) for place, logits in planes)
    (8, True)
    """
    patch = _check(image, patch)
    check_choice("dtype", dtype, (torch.float32, torch.float16))
    batch = check_whole("batch", batch, least=1)
    size, device = image.shape[1:], device or image.device
    image, before = _padded(image, patch)
    axis = min(range(len(patch)), key=lambda a: patch[a] / image.shape[1 + a])
    along, *across = _axis_first([window_starts(n, p, overlap=overlap) for n, p in zip(image.shape[1:], patch)], axis)
    kept, *inner = _axis_first([slice(b, b + n) for b, n in zip(before, size)], axis)
    ring = _Ring(axis, gaussian_window(patch).movedim(axis, 0).to(device), along, list(product(*across)), dtype)
    image, everywhere = image.movedim(1 + axis, 1), [slice(None)] * len(inner)
    for start, after in pairwise([*along, image.shape[1]]):
        for first in range(0, len(ring.boxes), batch):
            boxes = ring.boxes[first:first + batch]
            windows = torch.stack([image[(slice(None), slice(start, start + patch[axis]), *box)] for box in boxes])
            ring.add(answers, windows.movedim(2, 2 + axis).to(device), start, boxes)
        for at in range(start, after):
            logits = ring.take(at)
            if kept.start <= at < kept.stop:
                place: Place = (*everywhere[:axis], at - kept.start, *everywhere[axis:])
                yield place, check_finite("logits", logits[(slice(None), slice(None), *inner)])


class _Ring:
    """The weighted sums of each member's logits, `(deep, K, *plane)`; plane `at` stands at `at % deep`."""

    def __init__(self, axis: int, weight: Tensor, along: list[int], corners: list[tuple[int, ...]], dtype: torch.dtype):
        self.axis, self.weight, self.along, self.dtype = axis, weight, along, dtype
        self.boxes: list[Box] = [tuple(slice(a, a + n) for a, n in zip(corner, weight.shape[1:])) for corner in corners]
        self.plane = [box.stop for box in self.boxes[-1]]           # the last one ends where the plane does
        self.sums: list[Tensor] = []

    def add(self, answers: Answers, windows: Tensor, start: int, boxes: list[Box]) -> None:
        """Adds what the members answer to windows that begin at plane `start`, in these boxes of a plane."""
        deep, members = len(self.weight), 0
        turn = start % deep
        parts = ((slice(turn, None), slice(None, deep - turn)), (slice(None, turn), slice(deep - turn, None)))
        weight = self.weight[:, None].to(self.dtype)
        for logits in answers(windows):
            sums = self._sums_of(members, logits, windows)
            for box, window in zip(boxes, logits):
                window = window.to(self.dtype).movedim(1 + self.axis, 0)
                for planes, part in parts:
                    sums[(planes, slice(None), *box)].addcmul_(window[part], weight[part])
            members += 1
            del logits, window                          # or the next answer would come while this one is still held
        if not members == len(self.sums) > 0:
            raise ValueError(f"answers: expected {len(self.sums) or 'at least one'} for each window, got {members}")

    def take(self, at: int) -> Tensor:
        """The logits `(M, K, *plane)` of a plane that is complete; its place in the ring is free again."""
        depths = [at - start for start in self.along if start <= at < start + len(self.weight)]
        here, total = self.weight[depths].sum(0), self.weight.new_zeros(self.plane)
        for box in self.boxes:
            total[box] += here
        logits = torch.stack([sums[at % len(sums)].float() for sums in self.sums]) / total
        for sums in self.sums:
            sums[at % len(sums)].zero_()
        return logits

    def _sums_of(self, member: int, logits: Tensor, windows: Tensor) -> Tensor:
        """Those of a member, once its logits are such; with the first window they begin."""
        if not isinstance(logits, Tensor):
            raise TypeError(f"answers: expected logits, one tensor, got {kind_of(logits)}")
        check_tensor("logits", logits, dtype="float")
        if logits.ndim != windows.ndim or logits.shape[1] < 1:
            raise ValueError(f"logits: expected ({len(windows)}, K, *{tuple(windows.shape[2:])}), K at least 1, got "
                             f"shape {tuple(logits.shape)}")
        classes = self.sums[0].shape[1] if self.sums else logits.shape[1]
        check_same("logits", logits, like=windows[:, :1].expand(-1, classes, *windows.shape[2:]), whose="the windows")
        if member == len(self.sums):
            self.sums.append(windows.new_zeros((len(self.weight), classes, *self.plane), dtype=self.dtype))
        return self.sums[member]


def _check(image: Tensor, patch: Sequence[int]) -> tuple[int, ...]:
    check_float("image", image, shape="(C, *S)")
    if isinstance(patch, (str, int)) or len(patch) != image.ndim - 1:
        raise ValueError(f"patch: expected {image.ndim - 1} numbers, one for each axis of the image, got {patch!r}")
    return tuple(check_whole(f"patch[{axis}]", n, least=1) for axis, n in enumerate(patch))


def _padded(image: Tensor, patch: tuple[int, ...]) -> tuple[Tensor, list[int]]:
    """The image in the middle of zeros where it is smaller than a window, and where it begins there."""
    missing = [max(p - n, 0) for p, n in zip(patch, image.shape[1:])]
    before = [n // 2 for n in missing]
    if any(missing):
        image = F.pad(image, [n for b, m in zip(before[::-1], missing[::-1]) for n in (b, m - b)])
    return image, before


def _axis_first(row: Sequence[Item], axis: int) -> list[Item]:
    return [row[axis], *row[:axis], *row[axis + 1:]]
