"""Patches of 96^3 from a folder of 40 CTs of 320^3 voxels, beside MONAI's PersistentDataset and TorchIO's Queue.

One call is an epoch of four random patches a scan, image and labels, read in one process and turned into tensors; each
side's cache is full before. The scans are int16 in .nii.gz with labels in uint8. Both sides have to give as many
patches of the same size, and in each the image must lie on its own labels.
"""
from pathlib import Path

from harness import ROOT, Case, Setting, Side, main

SCANS, SIZE, PATCH, PER_SCAN = 40, 320, 96, 4
FEW, SMALL, SMALL_PATCH = 2, 24, 8
PLACE = ROOT / "_build/benchmarks"
BRIGHT = 1000                   # of the organ, over the noise around it


def scans(count: int, size: int) -> Path:
    """nnU-Net's layout: noise with a bright ball, which the labels mark; written once."""
    import nibabel as nib
    import numpy as np

    root = PLACE / f"patches_{count}_{size}"
    if (root / "dataset.json").exists():
        return root
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True, exist_ok=True)
    offsets = np.ix_(*[np.arange(size)] * 3)
    for i in range(count):
        rng = np.random.default_rng(i)
        label = sum((o - c) ** 2 for o, c in zip(offsets, rng.integers(size // 4, 3 * size // 4, 3))) < (size // 4) ** 2
        image = rng.integers(-20, 21, (size,) * 3, np.int16) + BRIGHT * label.astype(np.int16)
        nib.save(nib.Nifti1Image(image, np.eye(4)), root / f"imagesTr/s{i:02d}_0000.nii.gz")
        nib.save(nib.Nifti1Image(label.astype(np.uint8), np.eye(4)), root / f"labelsTr/s{i:02d}.nii.gz")
    (root / "dataset.json").write_text('{"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}, '
                                       f'"numTraining": {count}, "file_ending": ".nii.gz"}}')
    return root


def pairs(root: Path) -> list[tuple[str, str]]:
    return [(str(root / "imagesTr" / label.name.replace(".nii.gz", "_0000.nii.gz")), str(label))
            for label in sorted((root / "labelsTr").glob("*.nii.gz"))]


def medlearn(count, size, patch):
    from medlearn.data import Patches, read_folder

    root = scans(count, size)
    patches = Patches(read_folder(root), patch=(patch,) * 3, cache=PLACE / f"cache_{count}_{size}", per_case=PER_SCAN,
                      raw=True)
    return lambda: numbers((image[0], label) for image, label in (patches[i] for i in range(len(patches))))


def monai(count, size, patch):
    import numpy as np
    from monai.data import PersistentDataset
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, RandCropByPosNegLabeld

    keys = ("image", "label")
    load = Compose([LoadImaged("image", dtype=np.int16), LoadImaged("label", dtype=np.uint8), EnsureChannelFirstd(keys),
                    RandCropByPosNegLabeld(keys, "label", (patch,) * 3, pos=1, neg=2, num_samples=PER_SCAN)])
    data = PersistentDataset([dict(zip(keys, pair)) for pair in pairs(scans(count, size))], load,
                             cache_dir=PLACE / f"monai_{count}_{size}")
    for i in range(len(data)):
        data[i]
    return lambda: numbers((one["image"][0].float(), one["label"][0].long()) for i in range(len(data))
                           for one in data[i])


def torchio(count, size, patch):
    import torchio as tio

    subjects = tio.SubjectsDataset([tio.Subject(image=tio.ScalarImage(image), label=tio.LabelMap(label))
                                    for image, label in pairs(scans(count, size))])
    sampler = tio.LabelSampler(patch, "label", {0: 2, 1: 1})

    def call():
        queue = tio.Queue(subjects, max_length=PER_SCAN * min(count, 10), samples_per_volume=PER_SCAN, sampler=sampler)
        return numbers((one["image"].data[0].float(), one["label"].data[0].long())
                       for one in (queue[i] for i in range(len(queue))))

    return call


def numbers(patches) -> list[float]:
    """How many, of how many voxels, and the share of those in which image and labels agree."""
    count = voxels = right = 0
    for image, label in patches:
        count, voxels = count + 1, voxels + image.numel()
        right += int(((image > BRIGHT / 2) == (label == 1)).sum())
    return [count, voxels / count, right / voxels]


def cases(setting: Setting):
    which = dict(zip(("count", "size", "patch"), (FEW, SMALL, SMALL_PATCH) if setting.smoke else (SCANS, SIZE, PATCH)))
    ours = Side("medlearn", "medlearn", which)
    yield Case("beside MONAI's PersistentDataset", ours, Side("monai", "monai", which), faster=5)
    yield Case("beside TorchIO's Queue", ours, Side("torchio", "torchio", which), faster=5)


if __name__ == "__main__":
    main(__file__, "Patches", __doc__, cases, "pip install monai==1.6.1 torchio==1.2.1")
