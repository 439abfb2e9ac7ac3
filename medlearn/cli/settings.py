r"""All that a training from the command line is told, in one frozen dataclass, and the network that follows from it."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from medlearn.base.validation import check_number, check_whole
from medlearn.data import (BiasField, Flip, Intensity, LabelRegion, LowDose, RicianNoise, Speckle, Warp, hu_window,
                           region_masks, standardise)
from medlearn.losses import CrossEntropyLoss, DiceCELoss, DiceLoss
from medlearn.nets import UNet, UNetPlusPlus
from medlearn.train import Recipe, deep_supervision

LOSSES = {"dice_ce": DiceCELoss, "dice": DiceLoss, "cross_entropy": CrossEntropyLoss}
# may change between two parts of a training; of the rest `fit` itself looks at recipe and data
FREE = {"out", "data.folder", "data.cache", "data.cache_gb", "recipe.steps", "recipe.accumulate", "recipe.precision",
        "recipe.workers", "patience", "validation_patches"}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    r"""The scans: a `folder` in nnU-Net's or the Decathlon's layout, split by patient into `folds`, one held out.

    `fold` says which one validates; none trains on all. `patient` is a regular expression whose first group, searched
    in the name of a case, is the patient. `patch` in voxels: three numbers, or two for a network of axial slices.
    Scans are resampled to `spacing_mm` where it is given. `window` in HU: a name or (centre, width); without one a scan
    is standardised. `foreground` is the share of patches around a voxel of a class, `per_case` how many a scan gives in
    an epoch. `cache` is a folder for the scans once read, bounded by `cache_gb`.

    >>> DataSettings(folder=Path("scans")).patch
    (96, 96, 96)
    """

    folder: Path
    fold: int | None = 0
    folds: int = 5
    patient: str | None = None
    patch: tuple[int, ...] = (96, 96, 96)
    spacing_mm: tuple[float, ...] | None = None
    window: tuple[float, float] | str | None = None
    foreground: float = 1 / 3
    per_case: int = 1
    cache: Path | None = None
    cache_gb: float = 100.0

    def __post_init__(self):
        if len(self.patch) not in (2, 3):
            raise ValueError(f"patch: expected 2 or 3 numbers of voxels, got {self.patch}")
        check_whole("folds", self.folds, least=2)
        if self.fold is not None:
            check_whole("fold", self.fold, most=self.folds - 1)
        if self.patient is not None:
            patient_from(self.patient)

    @property
    def prepare(self) -> Callable[[Tensor], Tensor]:
        """What a network sees of a whole scan: the same as in a patch of the training."""
        window = self.window
        return standardise if window is None else lambda image: hu_window(image, window)


@dataclass(frozen=True, kw_only=True)
class NetSettings:
    r"""The network: its `name`, the `widths` of its levels, `residual` blocks (U-Net), `deep_supervision`, `dropout`.

    >>> NetSettings(widths=(8, 16)).name
    'unet'
    """

    name: Literal["unet", "unetpp"] = "unet"
    widths: tuple[int, ...] = (32, 64, 128, 256)
    residual: bool = False
    deep_supervision: bool = False
    dropout: float = 0.0

    def __post_init__(self):
        if self.residual and self.name != "unet":
            raise ValueError(f"residual: expected false for {self.name}, which has no such blocks, got true")


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    r"""Random changes of each patch: `flip` along axes, `rotate_deg`, `scale`, `elastic_mm`, and of `intensity`.

    Axis 0 goes from left to right: organs that have a side are not flipped along it.
    The scanner's own noise comes first, in the units of the file, each as a range to draw from: of MR, `rician` (its
    share of the image's level) and `bias_field` (the deviation of the coil's logarithm); of ultrasound, `speckle` (its
    strength, up to 1); of CT, `low_dose` (the fraction of the dose, up to 1), for which `data.spacing_mm` has to be
    given. As in `RicianNoise`, `BiasField`, `Speckle` and `LowDose`.

    >>> AugmentSettings().flip
    ()
    """

    flip: tuple[int, ...] = ()
    rotate_deg: float = 10.0
    scale: tuple[float, float] = (0.85, 1.2)
    elastic_mm: float = 1.0
    intensity: bool = True
    rician: tuple[float, float] | None = None
    bias_field: tuple[float, float] | None = None
    speckle: tuple[float, float] | None = None
    low_dose: tuple[float, float] | None = None

    def __post_init__(self):
        self.noise((1.0, 1.0))                              # a range that cannot be is refused when it is given

    def noise(self, spacing_mm: tuple[float, ...] | None) -> list[Any]:
        """The scanner's, as `medlearn.data.Patches` takes it, for scans of this `spacing_mm`."""
        made: list[Any] = [kind(between) for kind, between in ((BiasField, self.bias_field), (RicianNoise, self.rician),
                                                               (Speckle, self.speckle)) if between is not None]
        if self.low_dose is not None:
            if spacing_mm is None or spacing_mm[0] != spacing_mm[1]:
                raise ValueError("low_dose: expected data.spacing_mm with square pixels, whose width the noise of a CT "
                                 f"depends on, got {spacing_mm}")
            made.append(LowDose(self.low_dose, spacing_mm[0]))
        return made

    def transforms(self, spacing_mm: tuple[float, ...] | None) -> list[Any]:
        """As `medlearn.data.Augmented` takes them, for patches of this `spacing_mm`."""
        moved = self.rotate_deg or self.elastic_mm or self.scale != (1.0, 1.0)
        return [*([Flip(self.flip)] if self.flip else []),
                *([Warp(self.rotate_deg, self.scale, self.elastic_mm, spacing_mm)] if moved else []),
                *([Intensity()] if self.intensity else [])]


@dataclass(frozen=True, kw_only=True)
class Settings:
    r"""A training: `data`, `net`, `augment` and `recipe`, its `loss`, and the folder `out` that it goes to.

    Every `every` steps `validation_patches` of the held-out cases are predicted; `patience` ends the training, as in
    `medlearn.train.fit`.

    >>> Settings(data=DataSettings(folder=Path("scans"))).recipe.steps
    1000
    """

    data: DataSettings
    net: NetSettings = NetSettings()
    augment: AugmentSettings = AugmentSettings()
    recipe: Recipe = Recipe(steps=1000, batch_size=2, learning_rate=1e-3)
    loss: Literal["dice_ce", "dice", "cross_entropy"] = "dice_ce"
    out: Path = Path("run")
    every: int = 100
    validation_patches: int = 32
    patience: int | None = None

    def __post_init__(self):
        check_whole("every", self.every, least=1)
        check_whole("validation_patches", self.validation_patches, least=1)
        check_number("data.cache_gb", self.data.cache_gb, above=0)
        try:
            self.augment.noise(self.data.spacing_mm)
        except ValueError as error:
            raise ValueError(f"augment.{error}") from error

    @property
    def cache(self) -> Path:
        """Where scans are kept once read: beside the run, where no other folder is named."""
        return self.data.cache or self.out / "cache"

    def new_net(self, channels: int, *, classes: int) -> nn.Module:
        """A new network for images of so many `channels`, and so many `classes` or regions."""
        options: dict[str, Any] = asdict(self.net)
        kind = {"unet": UNet, "unetpp": UNetPlusPlus}[options.pop("name")]
        if kind is UNetPlusPlus:
            del options["residual"]
        return kind(channels, classes, dim=len(self.data.patch), **options)

    def new_loss(self, ignore_index: int | None, regions: Sequence[LabelRegion] = ()) -> Callable[[Any, Any], Tensor]:
        """Of logits, or of those at several resolutions, and labels, some of them `ignore_index`; or of `regions`."""
        if regions:
            return deep_supervision(RegionLoss(LOSSES[self.loss](), tuple(regions), ignore_index))
        return deep_supervision(LOSSES[self.loss](ignore_index=ignore_index))

    def plain(self) -> dict[str, Any]:
        """Every setting by its name on the command line."""
        return dict(_flat(asdict(self), ""))


@dataclass(frozen=True)
class RegionLoss:
    r"""A `loss` of bool maps as one of labels, which the `regions` make maps of; `ignore_index` counts in none of them.

    >>> import torch
    >>> of_labels = RegionLoss(CrossEntropyLoss(), (LabelRegion("whole", (1, 2), written=1),))
    >>> of_labels(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 2, 0]]))        # ln 2
    tensor(0.6931)
    """

    loss: Callable[..., Tensor]
    regions: tuple[LabelRegion, ...]
    ignore_index: int | None = None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        masks, judged = region_targets(labels, self.regions, self.ignore_index)
        return self.loss(logits, masks, where=judged)


def region_targets(labels: Tensor, regions: Sequence[LabelRegion],
                   ignore_index: int | None) -> tuple[Tensor, Tensor | None]:
    r"""What a network of `regions` has to say, and which voxels are judged, both `(B, K, *S)`; None: all of them.

    `labels (B, *S)` that are `ignore_index` are judged in no region.

    >>> import torch
    >>> masks, judged = region_targets(torch.tensor([[0, 1, 9]]), [LabelRegion("whole", (1,), written=1)], 9)
    >>> masks.int().tolist(), judged.int().tolist()
    ([[[0, 1, 0]]], [[[1, 1, 0]]])
    """
    masks = region_masks(labels, regions)
    return masks, None if ignore_index is None else (labels != ignore_index)[:, None].expand_as(masks)


class SliceBySlice(nn.Module):
    r"""A `net` of slices as one of volumes that are one voxel deep: `image (B, C, X, Y, 1)` to `(B, K, X, Y, 1)`.

    >>> import torch
    >>> SliceBySlice(UNet(1, 3, widths=(2, 4)))(torch.rand(1, 1, 8, 8, 1)).shape
    torch.Size([1, 3, 8, 8, 1])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image[..., 0])[..., None]


def patient_from(pattern: str | None) -> Callable[[str], str] | None:
    r"""The patient in the name of a case: the first group of a regular expression; None where there is no `pattern`.

    Errors: ValueError for a pattern without a group, and, when called, for a name in which it is not found.

    >>> patient_from(r"^(p\d+)_")("p07_followup")
    'p07'
    """
    if pattern is None:
        return None
    try:
        search = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"patient: expected a regular expression, got {pattern!r}: {error}") from error
    if search.groups < 1:
        raise ValueError(f"patient: expected a pattern with a group, as '(p[0-9]+)', got {pattern!r}")

    def patient(name: str) -> str:
        found = search.search(name)
        if found is None:
            raise ValueError(f"patient: expected to find {pattern!r} in the name of each case, got {name!r}")
        return found[1]

    return patient


def _flat(tree: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in tree.items():
        rows += _flat(value, f"{where}{name}.") if isinstance(value, dict) else [(f"{where}{name}", value)]
    return rows
