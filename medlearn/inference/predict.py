r"""The answer of a network, of several, or of one with dropout, to a whole scan, on the scan's own grid."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from medlearn.base.grid import Spacing
from medlearn.base.modes import in_evaluation
from medlearn.base.validation import Number, check_whole, kind_of
from medlearn.data import (Volume, read_channels, read_volume, resample, resample_labels, respaced_grid, standardise,
                           to_ras, write_volume)
from medlearn.inference.windows import Answers, Place, blended_planes
from medlearn.uncertainty import Ensemble, class_entropy, mc_dropout

PATCH = 96                      # voxels along each axis


@dataclass(frozen=True, eq=False)
class Prediction:
    r"""What was said of a scan, as volumes on its grid.

    Shapes: `labels (*S)` in the smallest unsigned type; `probabilities (K, *S)` float32, where they were asked for;
    `aleatoric` and `epistemic (*S)` float32, where several members answered. Units: labels 0..K-1; probabilities 0..1;
    entropies in nats, whose sum is the whole uncertainty, as in `class_entropy`.

    >>> from medlearn.base.grid import Grid
    >>> Prediction(Volume(np.zeros((2, 2, 2), np.uint8), Grid((2, 2, 2), np.eye(4)))).maps
    {}
    """

    labels: Volume
    probabilities: Volume | None = None
    aleatoric: Volume | None = None
    epistemic: Volume | None = None

    @property
    def maps(self) -> dict[str, Volume]:
        """What there is beside the labels, by name."""
        named = {name: getattr(self, name) for name in ("probabilities", "aleatoric", "epistemic")}
        return {name: map_ for name, map_ in named.items() if map_ is not None}


def predict_volume(net: nn.Module, volume: Volume, *, patch: int | Sequence[int] = PATCH, overlap: Number = 0.5,
                   batch: int = 1, flips: Sequence[int] = (), passes: int | None = None,
                   generator: Generator | None = None, probabilities: bool = False,
                   regions: Sequence[int] | None = None, dtype: torch.dtype = torch.float32) -> Prediction:
    r"""$\arg\max_k$ of the blended logits of windows, of a volume of any size, decided plane by plane.

    Shapes: `volume (*S)` or `(C, *S)`; `net` takes windows `(B, C, *P)` and gives logits `(B, K, *P)`, two classes or
    more, or one region or more; `patch` is P, one number or one for each axis, and should be that of the training. It
    runs where its weights are, in evaluation, in `batch` windows at a time; no more than `patch` planes of logits are
    held, in `dtype`, unless `probabilities` are asked for. `overlap` and `dtype`: as in `blended_planes`. Units: the volume as the network was
    trained on it, standardised for one.
    `flips` are axes of space: the logits are the mean over all ways to mirror the window along some of them. Not an
    axis from left to right, where classes have a side.
    Several answers give `aleatoric` and `epistemic` maps, and the labels are those of the mean probabilities: an
    `Ensemble`, or `passes` of `mc_dropout` with a `generator`. Each member needs a ring of its own.
    `regions` is for a network of regions that overlap, a sigmoid each: the number that each is written as, in their
    order. Then a voxel has the number of the last one that is more likely there than not, or 0; the probabilities are
    each region's own, and the uncertainty is the sum of theirs.
    A volume without a voxel gives labels without one.
    Errors: TypeError and ValueError for arguments that do not go together, as `blended_planes` and `mc_dropout`.
    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.

    >>> from medlearn.base.grid import Grid
    >>> from medlearn.nets import UNet
    >>> volume = Volume(np.random.rand(20, 12, 8), Grid.from_spacing((20, 12, 8), (1.0, 1.0, 2.0)))
    >>> predict_volume(UNet(1, 3, dim=3, widths=(2, 4)), volume, patch=(8, 8, 4)).labels.array.shape
    (20, 12, 8)
    """
    if not isinstance(volume, Volume):
        raise TypeError(f"volume: expected a Volume, an array with its grid, got {kind_of(volume)}")
    answers = _answers(net, _axes(flips, volume.grid.dim), passes, generator)
    each = [patch] * volume.grid.dim if isinstance(patch, int) else patch
    device = next((weight.device for weight in net.parameters()), torch.device("cpu"))
    image = torch.from_numpy(np.require(volume.array, np.float32, ["C", "W"]))      # a copy only where it must be one
    taken = _Taken(volume.grid.shape, probabilities, regions)
    with torch.no_grad(), in_evaluation(net):
        for place, logits in blended_planes(answers, image if volume.has_channels else image[None], patch=each,
                                            overlap=overlap, batch=batch, dtype=dtype, device=device):
            taken.add(place, logits)
    return taken.on(volume)


def predict_file(net: nn.Module, source: str | Path | Sequence[str | Path], *, target: str | Path,
                 spacing_mm: Spacing | None = None, prepare: Callable[[Tensor], Tensor] = standardise,
                 channels: bool = False, **options: Any) -> None:
    r"""Reads a scan, predicts it, and writes the labels on its own grid: what a folder, or a cluster, is a loop over.

    `source` is a file or a DICOM folder, as `read_volume` takes it with `channels`, or a row of files, one a channel,
    as `read_channels` does; `target` a NIfTI file, written whole or not at all, in the (first) source's orientation.
    Maps that were asked for stand beside it, as `NAME.epistemic.nii.gz` does; the labels come last, so where they are
    the rest is too. The `net` sees the scan in RAS, at `spacing_mm` where given, after `prepare`, which takes and gives
    `(1, C, *S)`. `options` are those of `predict_volume`.
    Shapes, units: as `predict_volume`. Errors: as `read_volume`, `write_volume` and `predict_volume`.

    >>> from tempfile import TemporaryDirectory
    >>> from medlearn.base.grid import Grid
    >>> from medlearn.nets import UNet
    >>> scan = Volume(np.random.rand(9, 9, 9), Grid((9, 9, 9), np.diag([-1.0, 1.0, 2.0, 1.0])))
    >>> with TemporaryDirectory() as folder:
    ...     write_volume(f"{folder}/scan.nii.gz", scan)
    ...     net = UNet(1, 3, dim=3, widths=(2, 4))
    ...     predict_file(net, f"{folder}/scan.nii.gz", target=f"{folder}/labels.nii.gz", patch=8)
    ...     read_volume(f"{folder}/labels.nii.gz").grid.orientation
    'LAS'
    """
    scan = read_volume(source, channels=channels) if isinstance(source, (str, Path)) else read_channels(source)
    seen = to_ras(scan)
    if spacing_mm is not None:
        seen = resample(seen, respaced_grid(seen.grid, spacing_mm))
    image = prepare(seen.tensor()[None])[0]
    said = predict_volume(net, Volume(image.numpy(), seen.grid), **options)
    target = Path(target)
    stem = target.name.removesuffix(".gz").removesuffix(".nii")
    home = to_ras(scan).grid
    for name, map_ in said.maps.items():
        map_ = map_ if spacing_mm is None else resample(map_, home)
        write_volume(target.with_name(f"{stem}.{name}.nii.gz"), map_, like=scan)
    write_volume(target, said.labels if spacing_mm is None else resample_labels(said.labels, home), like=scan)


class _Taken:
    """Planes of logits as they come, decided at once; the maps begin with the first."""

    def __init__(self, shape: tuple[int, ...], probabilities: bool, regions: Sequence[int] | None):
        self.shape, self.with_probabilities = shape, probabilities
        self.regions = None if regions is None else [check_whole("regions", number, least=1) for number in regions]
        self.labels = np.zeros(shape, np.uint16 if max(self.regions or [0]) > 255 else np.uint8)
        self.maps: dict[str, np.ndarray] = {}

    def add(self, place: Place, logits: Float[Tensor, "m k *plane"]) -> None:
        members, classes = logits.shape[:2]
        self._check(classes)
        if classes > 256 and self.labels.dtype == np.uint8:
            self.labels = self.labels.astype(np.uint16)
        answer = logits[0]
        if members > 1 or self.with_probabilities:
            p = logits.softmax(dim=1) if self.regions is None else logits.sigmoid()
            answer = p.mean(0)
            if self.with_probabilities:
                self._map("probabilities", (classes, *self.shape))[(slice(None), *place)] = answer.cpu()
            if members > 1:
                # a region is a question of its own, of two classes
                parts = class_entropy(p[:, None] if self.regions is None else torch.stack([1 - p, p], dim=2))
                self._map("aleatoric", self.shape)[place] = parts.aleatoric.sum(0).cpu()
                self._map("epistemic", self.shape)[place] = parts.epistemic.sum(0).cpu()
            answer = answer if self.regions is None else answer - 0.5
        self.labels[place] = self._labels(answer).cpu()

    def _labels(self, answer: Tensor) -> Tensor:
        """The largest of the classes; or the last of the regions that are above 0."""
        if self.regions is None:
            return answer.max(0).indices                    # on a CPU twice as fast as argmax
        labels = torch.zeros(answer.shape[1:], dtype=torch.int64, device=answer.device)
        for number, there in zip(self.regions, answer > 0):
            labels[there] = number
        return labels

    def _check(self, answers: int) -> None:
        if self.regions is None and answers < 2:
            raise ValueError("logits: expected two classes or more, or regions= for a network of regions, got one")
        if self.regions is not None and answers != len(self.regions):
            raise ValueError(f"regions: expected a number for each of {answers} logits, got {self.regions}")

    def on(self, volume: Volume) -> Prediction:
        return Prediction(volume.with_array(self.labels), **{name: volume.with_array(map_)
                                                             for name, map_ in self.maps.items()})

    def _map(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in self.maps:
            self.maps[name] = np.zeros(shape, np.float32)
        return self.maps[name]


class _FlipAveraged(nn.Module):
    """The mean of a network's logits over all ways to mirror an image along some of these axes."""

    def __init__(self, net: nn.Module, axes: Sequence[int]):
        super().__init__()
        self.net = net
        own = [2 + axis for axis in axes]
        self.ways = list(chain.from_iterable(combinations(own, n) for n in range(len(own) + 1)))

    def forward(self, image: Tensor) -> Tensor:
        total = self.net(image)
        for way in self.ways[1:]:
            total = total + self.net(image.flip(way)).flip(way)
        return total / len(self.ways)


def _answers(net: nn.Module, axes: list[int], passes: int | None, generator: Generator | None) -> Answers:
    """What each member says of windows, one after another."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected an nn.Module, got {kind_of(net)}")
    if passes is None:
        members = list(net.members) if isinstance(net, Ensemble) else [net]
        mirrored = [_FlipAveraged(member, axes) if axes else member for member in members]
        return lambda windows: (member(windows) for member in mirrored)
    if isinstance(net, Ensemble) or generator is None:
        raise ValueError("passes: expected one network and a generator=, "
                         f"got {type(net).__name__} and {'a' if generator else 'no'} generator")
    check_whole("passes", passes, least=2)
    one = _FlipAveraged(net, axes)
    return lambda windows: mc_dropout(one, windows, passes=passes, generator=generator)


def _axes(flips: Sequence[int], dim: int) -> list[int]:
    if isinstance(flips, (str, int)) or len(set(flips)) < len(flips):
        raise ValueError(f"flips: expected different axes of space, got {flips!r}")
    return [check_whole("flips", axis, most=dim - 1) for axis in flips]
