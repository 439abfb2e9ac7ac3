"""The table of 40 scans with 61 organs, from files, beside MONAI's metrics and nnU-Net's evaluation.

Beside MONAI, `evaluate_folders` with its whole table (overlap, HD95, ASSD, NSD, volumes, lesions, PQ), and of MONAI
Dice, HD95, ASSD and NSD. Beside nnU-Net, which counts voxels alone, the table too, and once only its counts, by
`confusion_counts` from the same files. The answer is the truth moved by a voxel. The sides have to agree in the Dice of
every organ; that distances are the same, bench_surface.py shows.
"""
from pathlib import Path

from harness import ROOT, Case, Setting, Side, main

SCANS, SHAPE, ORGANS, TOLERANCE_MM = 40, (122, 101, 112), 61, 3.0
FEW, SMALL, SOME = 2, (24, 20, 22), 3
PLACE = ROOT / "_build/benchmarks"
PEER = ROOT / "_build/peers/nnunet"
INSTALL = (f"pip install monai==1.6.1; python3 -m venv {PEER.relative_to(ROOT)} && "
           f"{PEER.relative_to(ROOT)}/bin/pip install nnunetv2==2.8.1")


def files(count: int, shape: list[int], organs: int) -> tuple[Path, Path]:
    """Folders of answers and of truths: organs from large to small, each nearest to its own place; written once."""
    import nibabel as nib
    import numpy as np

    root = PLACE / f"evaluate_{count}_{'x'.join(map(str, shape))}_{organs}"
    said, true = root / "said", root / "true"
    if (root / "whole").exists():
        return said, true
    for folder in (said, true):
        folder.mkdir(parents=True, exist_ok=True)
    axes, affine = np.ix_(*map(np.arange, shape)), np.diag([3.0, 3.0, 3.0, 1.0])
    for i in range(count):
        rng = np.random.default_rng(i)
        truth = np.zeros(shape, np.uint8)
        for k in range(1, organs + 1):
            centre, radius = rng.uniform(0.15, 0.85, 3) * shape, min(shape) * rng.uniform(0.03, 0.15)
            stretch = rng.uniform(0.6, 1.6, 3)
            truth[sum(((a - c) * s) ** 2 for a, c, s in zip(axes, centre, stretch)) < radius**2] = k
        for folder, labels in ((true, truth), (said, np.roll(truth, 1, 0))):
            nib.save(nib.Nifti1Image(labels, affine), folder / f"s{i:02d}.nii.gz")
    (root / "whole").touch()
    return said, true


def medlearn(count, shape, organs):
    from medlearn.evaluate import evaluate_folders

    said, true = files(count, shape, organs)
    labels = ["background", *(f"organ {k}" for k in range(1, organs + 1))]

    def call():
        table = evaluate_folders(said, true, labels=labels, tolerance_mm=TOLERANCE_MM)
        return numbers([table.values("Dice", label=k).tolist() for k in range(1, organs + 1)])

    return call


def medlearn_counts(count, shape, organs):
    from medlearn.data import read_volume
    from medlearn.metrics import confusion_counts

    said, true = files(count, shape, organs)

    def call():
        found = [confusion_counts(*(read_volume(folder / path.name).array[None] for folder in (said, true)),
                                  classes=organs + 1).foreground().dice[0].tolist() for path in sorted(true.iterdir())]
        return numbers(zip(*found))

    return call


def monai(count, shape, organs):
    import warnings

    import nibabel as nib
    import numpy as np
    import torch
    from monai.metrics import (compute_average_surface_distance, compute_dice, compute_hausdorff_distance,
                               compute_surface_dice)
    from monai.networks.utils import one_hot

    warnings.filterwarnings("ignore")                       # about its own arguments, and empty organs
    said, true = files(count, shape, organs)

    def scores(path):
        maps, spacing = [], (3.0, 3.0, 3.0)
        for folder in (said, true):
            labels = torch.from_numpy(np.asarray(nib.load(folder / path.name).dataobj)).float()[None, None]
            maps.append(one_hot(labels, organs + 1)[:, 1:])
        compute_hausdorff_distance(*maps, include_background=True, percentile=95, spacing=spacing)
        compute_average_surface_distance(*maps, include_background=True, symmetric=True, spacing=spacing)
        compute_surface_dice(*maps, [TOLERANCE_MM] * organs, include_background=True, spacing=spacing)
        return compute_dice(*maps, include_background=True)[0].tolist()

    return lambda: numbers(zip(*(scores(path) for path in sorted(true.iterdir()))))


def nnunet(count, shape, organs):
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    said, true = files(count, shape, organs)
    labels = list(range(1, organs + 1))

    def call():
        found = [compute_metrics(str(path), str(said / path.name), SimpleITKIO(), labels)["metrics"]
                 for path in sorted(true.iterdir())]
        return numbers([case[k]["Dice"] for case in found] for k in labels)

    return call


def numbers(by_organ) -> list[float]:
    """The mean Dice of each organ over the scans that have it; -1 for one that none has."""
    means = ([x for x in values if x == x] for values in by_organ)
    return [float(sum(values) / len(values)) if values else -1.0 for values in means]


def cases(setting: Setting):
    which = dict(zip(("count", "shape", "organs"), (FEW, SMALL, SOME) if setting.smoke else (SCANS, SHAPE, ORGANS)))
    table, peer = Side("medlearn", "medlearn", which), Side("nnunetv2", "nnunet", which, str(PEER / "bin/python"))
    yield Case("the whole table, beside MONAI", table, Side("monai", "monai", which), faster=5)
    yield Case("the counts alone, beside nnU-Net", Side("medlearn", "medlearn_counts", which), peer, faster=5)
    yield Case("the whole table, beside nnU-Net's counts", table, peer)


if __name__ == "__main__":
    main(__file__, "Evaluation", __doc__, cases, INSTALL)
