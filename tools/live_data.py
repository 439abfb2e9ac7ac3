"""Write what the live instruments are shown: slices.js, which they share, and a volume of the brain and of a torso.

    python tools/live_data.py FOLDER

FOLDER holds the torso's example_ct.nii.gz and example_seg_fast_force_split.nii.gz: TotalSegmentator's test files
(github.com/wasserth/TotalSegmentator, tests/reference_files; Apache-2.0). The brain is the package's own. What was
changed stands in NOTICE.txt beside the files.
"""
from __future__ import annotations

import gzip
import json
import sys
from base64 import b64encode
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from medlearn.data import TISSUES, load_mni152
from medlearn.data.brain import sample
from medlearn.data.cohort import CORE_LOSS, CORE_MM, EDGE_MM, TISSUE_PARAMETERS, Protocol
from medlearn.data.scan import FIELD_OF_VIEW_MM, grid_axes
from medlearn.physics.mri import spoiled_gradient_echo
from medlearn.physics.protocols import MR_PROTOCOLS, REFERENCE_T, T1_POWER, T2STAR_POWER

LIVE = Path(__file__).resolve().parents[1] / "book/_static/live"
SIZE, Z_MM = 128, 20
T1_RANGE = 1.6                  # of white matter's signal: what the byte 255 means
BRAIN_STEP_MM = 2
TORSO_MM, TORSO_Z_MM = 3.0, 385.0           # a slice through liver, spleen and kidneys
HU_LOW, HU_STEP = -1024, 8      # of the torso's volume, in bytes
SETTINGS = ("field_t", "tr_ms", "te_ms", "flip_deg", "snr", "bias")
AIR_HU = -850                   # below it is air and its noise, which would fill half of the file

ORGANS = {                      # names, and the numbers that TotalSegmentator's model gives to their parts
    "lung": [*range(10, 15)], "liver": [5], "spleen": [1], "kidney": [2, 3], "stomach": [6], "gallbladder": [4],
    "pancreas": [7], "adrenal gland": [8, 9], "bowel": [18, 19, 20], "bladder": [21], "heart": [51],
    "vessel": [52, *range(63, 69)], "bone": [*range(25, 51), *range(69, 79), *range(92, 117)], "cartilage": [117],
    "muscle": [*range(80, 90)],
}


def text_of(values: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return b64encode(np.ascontiguousarray(values).tobytes()).decode()


def share(values: np.ndarray, largest: float = 1.0) -> np.ndarray:
    """0..largest as bytes 0..255."""
    return np.clip(np.rint(np.asarray(values) / largest * 255), 0, 255).astype(np.uint8)


def brain_slice() -> dict:
    """The undeformed brain at one height on the grid of `BrainCohort`, with what a painted lesion has to know."""
    brain = load_mni152()
    scan = brain.on_grid(SIZE, z_mm=Z_MM)
    points = np.stack(np.meshgrid(*grid_axes(SIZE, 2, Z_MM), indexing="ij"))[..., 0]
    probability = sample(brain.probabilities, brain.affine, torch.from_numpy(points).float()[None])[0]
    density, t1, t2star = torch.from_numpy(TISSUE_PARAMETERS)
    tr, te, flip = (sum(getattr(Protocol(), name)) / 2 for name in ("tr_ms", "te_ms", "flip_deg"))
    signal = spoiled_gradient_echo(density, t1_ms=t1, t2star_ms=t2star, tr_ms=tr, te_ms=te, flip_deg=flip)
    plaque, mass = (signal[3:] / signal[2]).tolist()
    return {"n": SIZE, "mm": scan.affine[0, 0, 0].item(), "z_mm": Z_MM, "t1_range": T1_RANGE,
            "t1": text_of(share(scan.image[0, 0], T1_RANGE)),
            "tissue": text_of(scan.tissue[0].numpy().astype(np.uint8)), "white": text_of(share(probability[2])),
            "grey": text_of(share(probability[1])), "inside": text_of(share(probability.sum(0))),
            "lesion": {"plaque": plaque, "mass": mass, "edge_mm": EDGE_MM, "core_mm": CORE_MM, "core_loss": CORE_LOSS}}


def scanners() -> dict:
    """What takes the slice to another scanner: five tissues, the levels of the template's three, and the protocols."""
    brain = load_mni152()
    levels = [(brain.t1[p > 0.95].mean() / brain.white_level).item() for p in brain.probabilities]
    return {"tissues": dict(zip(("density", "t1_ms", "t2star_ms"), TISSUE_PARAMETERS.tolist())), "levels": levels,
            "reference_t": REFERENCE_T, "t1_power": T1_POWER, "t2star_power": T2STAR_POWER,
            "protocols": {name: {key: getattr(protocol, key) for key in SETTINGS}
                          | {"voxel_mm": protocol.voxel_mm or FIELD_OF_VIEW_MM / SIZE}
                          for name, protocol in MR_PROTOCOLS.items()}}


def brain_volume() -> dict:
    """The brain in voxels of 2 mm, each the mean of eight, with its tissues."""
    brain, step = load_mni152(), BRAIN_STEP_MM
    inside = np.argwhere(brain.t1.numpy() > 0)
    low, high = inside.min(0) // step * step, inside.max(0) + 1
    cut = tuple(slice(a, a + (b - a + step - 1) // step * step) for a, b in zip(low, high))
    fine = torch.stack([brain.t1, *brain.probabilities])[(slice(None), *cut)]
    coarse = torch.nn.functional.avg_pool3d(fine[None], step)[0]
    probability = torch.cat([1 - coarse[1:].sum(0, keepdim=True), coarse[1:]])
    origin = brain.affine[:3, 3] + low + (step - 1) / 2
    image = share(coarse[0], T1_RANGE * brain.white_level)
    return volume(image, probability.argmax(0).numpy(), [*TISSUES[1:]], spacing_mm=[step] * 3, origin_mm=origin,
                  low=0, step=T1_RANGE / 255)


def torso(folder: Path) -> tuple[dict, dict]:
    """The torso's slice, with Hounsfield units as they are, and its volume, in steps of eight."""
    scan, labelled = (nib.load(folder / f"example_{name}.nii.gz") for name in ("ct", "seg_fast_force_split"))
    hu, parts = np.asanyarray(scan.dataobj), np.asanyarray(labelled.dataobj)
    if nib.aff2axcodes(scan.affine) != ("R", "A", "S") or not np.allclose(np.diag(scan.affine)[:3], TORSO_MM):
        raise SystemExit(f"{folder}: expected a scan of {TORSO_MM:g} mm in RAS order, got\n{scan.affine}")
    organs = np.zeros(parts.shape, np.uint8)
    for k, numbers in enumerate(ORGANS.values(), start=1):
        organs[np.isin(parts, numbers)] = k
    check_organs(hu, organs)
    middle = round((TORSO_Z_MM - scan.affine[2, 3]) / TORSO_MM)
    square = np.full((SIZE, SIZE), HU_LOW, np.int16)
    nx, ny = hu.shape[:2]
    left, front = (SIZE - nx) // 2, (SIZE - ny) // 2
    square[left:left + nx, front:front + ny] = np.clip(hu[..., middle], HU_LOW, 3071)
    image = np.clip(np.rint((np.where(hu < AIR_HU, HU_LOW, hu) - HU_LOW) / HU_STEP), 0, 255).astype(np.uint8)
    whole = volume(image, organs, [*ORGANS], spacing_mm=[TORSO_MM] * 3, origin_mm=scan.affine[:3, 3], low=HU_LOW,
                   step=HU_STEP)
    return {"n": SIZE, "mm": TORSO_MM, "z_mm": TORSO_Z_MM, "hu": text_of(square.astype("<i2"))}, whole


def check_organs(hu: np.ndarray, organs: np.ndarray) -> None:
    """The numbers are those of the names: each organ is as dense as it has to be."""
    expected = {"lung": (-900, -500), "liver": (0, 150), "kidney": (0, 250), "bladder": (-20, 40), "bone": (150, 700)}
    for name, (low, high) in expected.items():
        found = hu[organs == [*ORGANS].index(name) + 1].mean()
        if not low <= found <= high:
            raise SystemExit(f"{name}: expected {low}..{high} HU, got {found:.0f}: these are other labels")


def volume(image: np.ndarray, labels: np.ndarray, names: list[str], **geometry) -> dict:
    """Two volumes as gzip in base64, x fastest, and where they lie."""
    packed = (b64encode(gzip.compress(np.asfortranarray(part, dtype=np.uint8).tobytes(order="F"), 9, mtime=0)).decode()
              for part in (image, labels))
    plain = {key: np.asarray(value).tolist() for key, value in geometry.items()}
    return {"shape": list(image.shape), "names": names, **plain, **dict(zip(("image", "labels"), packed))}


def write(name: str, content: dict) -> None:
    text = f"Live.file({json.dumps(name)}, {json.dumps(content, separators=(',', ':'))});\n"
    (LIVE / f"{name}.js").write_text(text, encoding="utf-8")
    print(f"{name}.js: {len(text) / 1000:.0f} kB, {len(gzip.compress(text.encode())) / 1000:.0f} kB compressed")


def main(folder: Path) -> None:
    torso_slice, torso_volume = torso(folder)
    write("slices", {"brain": brain_slice(), "scanners": scanners(), "torso": torso_slice})
    write("volume-brain", brain_volume())
    write("volume-torso", torso_volume)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
