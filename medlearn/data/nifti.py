r"""NIfTI files: read with every doubt said aloud, written so that what was read comes back bit for bit."""
from __future__ import annotations

import gzip
import logging
import math
import warnings
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from medlearn.base.atomic import written_whole
from medlearn.base.grid import Grid
from medlearn.data.volumes import Volume, grid_difference, named, reorient, unscaled, volume_of_file

ENDINGS = (".nii", ".nii.gz")
DEFLATE = 1032                  # no gzip stream becomes more than so many times its length
CHUNK = 2 ** 20
SMALLEST_FIRST = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64)
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}           # unknown, metre, mm, micrometre
_SILENT = logging.Logger("silent", logging.CRITICAL + 1)


def read_nifti(path: str | Path, *, channels: bool = False, nan: float | None = None) -> Volume:
    """A `.nii` or `.nii.gz` file as `read_volume` gives it."""
    path = Path(path)
    with named(path), _opened(path) as file:
        header = _header(file, path)
        array = _numbers(file, header, path)
        slope, intercept = _scaling(header, path)
        volume = volume_of_file(_without_time(array, channels, path), _affine(header, path), path=path, nan=nan,
                                slope=slope, intercept=intercept, header=header)
        _say_doubts(header, path)
        return volume


def write_nifti(path: str | Path, volume: Volume, *, like: Volume | None = None) -> None:
    """Writes a volume as `write_volume` says."""

    path = Path(path)
    if like is not None:
        volume = _back_onto(volume, like)
    numbers = _as_nifti_keeps(unscaled(volume), volume)
    header = _new_header(numbers, volume, source=volume if like is None else like)
    with written_whole(path) as aside, open(aside, "wb") as raw:
        file = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.name.endswith(".gz") else raw
        header.write_to(file)
        file.write(b"\0" * (header.get_data_offset() - file.tell()))
        ordered = numbers.astype(numbers.dtype.newbyteorder(header.endianness), copy=False)
        for plane in range(ordered.shape[-1]):              # so that no second copy of a large volume is made
            file.write(ordered[..., plane].tobytes(order="F"))
        if file is not raw:
            file.close()


def _as_nifti_keeps(numbers: np.ndarray, volume: Volume) -> np.ndarray:
    """In a type that NIfTI has, whole numbers of 64 bits in the smallest that holds them; channels last."""
    if numbers.dtype == bool:
        numbers = numbers.astype(np.uint8)
    elif numbers.dtype == np.float16:
        numbers = numbers.astype(np.float32)
    elif numbers.dtype == np.int64 and volume.stored is None:
        low, high = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
        smallest = next(kind for kind in SMALLEST_FIRST if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
        numbers = numbers.astype(smallest)
    if not volume.has_channels:
        return numbers
    numbers = np.moveaxis(numbers, 0, -1)
    return numbers if volume.grid.dim == 3 else numbers[:, :, None]


def _new_header(numbers: np.ndarray, volume: Volume, source: Volume) -> Any:
    """The source's header, where it has one, with what is the volume's own."""
    import nibabel as nib

    stored, template = volume.stored, source.stored.header if source.stored else None
    if max(numbers.shape) > np.iinfo(np.int16).max and not isinstance(template, nib.Nifti2Header):
        template = nib.Nifti2Header()                       # NIfTI-1 counts voxels in 16 bits
    header = nib.Nifti1Header() if template is None else template.copy()
    header.set_data_shape(numbers.shape)
    header.set_data_dtype(numbers.dtype)
    header.set_slope_inter(*((stored.slope, stored.intercept) if stored else (1.0, 0.0)))
    if stored and stored.header is not None:                # "no scaling" has two spellings
        header["scl_slope"], header["scl_inter"] = stored.header["scl_slope"], stored.header["scl_inter"]
    if stored is not source.stored:
        header["cal_min"] = header["cal_max"] = 0           # a window for other values
    if template is not None and source.stored and np.array_equal(volume.grid.affine, source.stored.grid.affine):
        header["pixdim"] = template["pixdim"]               # the place as the file says it, to the bit
    else:
        code = max(int(header["sform_code"]), int(header["qform_code"]), 1)
        header.set_sform(volume.grid.affine, code)
        header.set_qform(volume.grid.affine, code)
        header.set_xyzt_units("mm")
    header["vox_offset"] = 0                                # it finds its own
    return header


def _back_onto(volume: Volume, like: Volume) -> Volume:
    """The volume in the order of axes of another, whose grid it must have."""
    target = like.stored.grid if like.stored is not None else like.grid
    turned = reorient(volume, target.orientation)
    if difference := grid_difference(turned.grid, target):
        raise ValueError(f"{like.name}: expected a volume on its grid, got {difference}. Resample it there first")
    return Volume(turned.array, target, turned.stored)      # the very numbers of its affine, not those turned twice


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else open(path, "rb")


def _header(file: BufferedIOBase, path: Path) -> Any:
    import nibabel as nib

    start = file.read(4)
    if len(start) < 4:
        raise ValueError(f"{path}: expected a NIfTI header, got {len(start)} bytes")
    file.seek(0)
    sizes = {int.from_bytes(start, order) for order in ("little", "big")}
    if not sizes & {348, 540}:
        raise ValueError(f"{path}: expected a NIfTI header, which begins with its size, 348 or 540; got {start!r}")
    second = 540 in sizes
    kind = nib.Nifti2Header if second else nib.Nifti1Header
    block = file.read(kind.template_dtype.itemsize)
    if len(block) < kind.template_dtype.itemsize:
        raise ValueError(f"{path}: expected a NIfTI header of {kind.template_dtype.itemsize} bytes, got {len(block)}")
    raw = kind(block, check=False)
    if bytes(raw["magic"]).rstrip(b"\0")[:3] == (b"ni2" if second else b"ni1"):
        raise ValueError(f"{path}: expected one file, got the header of a pair .hdr and .img. Convert it to .nii.gz")
    if bytes(raw["magic"])[:3] != (b"n+2" if second else b"n+1"):
        raise ValueError(f"{path}: expected a NIfTI file, got magic {bytes(raw['magic'])!r}")
    # nibabel mends a voxel of 0 mm without a word, so the look comes first
    zooms, axes = raw["pixdim"][1:4], int(raw["dim"][0])
    if (not np.isfinite(zooms[:axes]).all() or not (zooms[:min(axes, 3)] > 0).all()) and not raw["sform_code"] > 0:
        raise ValueError(f"{path}: expected voxels wider than 0 mm, got {[float(z) for z in zooms]}")
    if axes == 2 and not zooms[2] > 0:
        raw["pixdim"][3] = 1.0                              # a slice of no said thickness
    raw.copy().check_fix(logger=_SILENT, error_level=40)    # unknown types, impossible dimensions
    file.seek(0)
    header = kind.from_fileobj(file, check=False)           # with its extensions
    header["pixdim"] = raw["pixdim"]
    return header


def _numbers(file: BufferedIOBase, header: Any, path: Path) -> np.ndarray:
    dtype, shape = header.get_data_dtype(), [int(n) for n in header.get_data_shape()]
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ValueError(f"{path}: expected one real number a voxel, got {dtype}")
    if not shape or min(shape) < 1:
        raise ValueError(f"{path}: expected at least one voxel along each axis, got {tuple(shape)}")
    offset, needed, size = int(header.get_data_offset()), math.prod(shape) * dtype.itemsize, path.stat().st_size
    most = size * DEFLATE if path.name.endswith(".gz") else size
    if offset < header.template_dtype.itemsize or offset + needed > most:
        raise ValueError(f"{path}: expected {needed} bytes for {tuple(shape)} voxels from byte {offset} on, got a file "
                         f"of {size} bytes, which holds {most} at most")
    file.seek(offset)
    content = file.read(needed)
    if len(content) < needed:
        raise ValueError(f"{path}: expected {needed} bytes of voxels, got {len(content)}: it is cut short")
    while file.read(CHUNK):                                 # to the end, where gzip's checksum stands
        pass
    return np.frombuffer(content, dtype).reshape(shape, order="F")


def _scaling(header: Any, path: Path) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or NaN means, by the standard, that there is none."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if math.isinf(slope) or not math.isfinite(intercept):
        raise ValueError(f"{path}: expected a finite scaling, got slope {slope:g} and intercept {intercept:g}")
    return slope, intercept


def _affine(header: Any, path: Path) -> np.ndarray:
    if header["qform_code"] <= 0 and header["sform_code"] <= 0:
        raise ValueError(f"{path}: expected a place in space, got none (qform_code and sform_code are 0): left and "
                         "right cannot be told. Where you know them, set the codes, or make a Volume with a Grid")
    affine = header.get_sform() if header["sform_code"] > 0 else header.get_qform()
    affine[:3] *= _unit_mm(header)
    return affine


def _unit_mm(header: Any) -> float:
    return _UNITS_MM.get(int(header["xyzt_units"]) & 7, 1.0)


def _say_doubts(header: Any, path: Path) -> None:
    """Warns of a unit that is not the millimetre, and of an affine that the rest of the header contradicts."""
    q, s = int(header["qform_code"]), int(header["sform_code"])
    if _unit_mm(header) != 1:
        warnings.warn(f"{path}: its unit is not the millimetre; it is converted", stacklevel=4)
    if s <= 0:
        return
    affine, axes = header.get_sform(), min(int(header["dim"][0]), 3)
    edges, zooms = np.linalg.norm(affine[:3, :axes], axis=0), np.abs(header["pixdim"][1:axes + 1].astype(np.float64))
    if not (zooms > 0).all():
        warnings.warn(f"{path}: its pixdim says voxels of {_mm(zooms)} mm, which cannot be: the sform's {_mm(edges)} mm "
                      "are used", stacklevel=4)
    elif not np.allclose(edges, zooms, rtol=0.01):
        warnings.warn(f"{path}: its sform says voxels of {_mm(edges)} mm and its pixdim {_mm(zooms)} mm: the sform is "
                      "used. It may be transposed, or from another image", stacklevel=4)
    elif q == s:
        shape = tuple(int(n) for n in header.get_data_shape()[:axes])
        if other := grid_difference(Grid(shape, affine), Grid(shape, header.get_qform())):
            warnings.warn(f"{path}: its sform and its qform, of one code, say two places ({other}): the sform is used",
                          stacklevel=4)


def _without_time(array: np.ndarray, channels: bool, path: Path) -> np.ndarray:
    """`(X, Y, Z)` as it is; a fourth axis is one of channels, where they are asked for, and goes first."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 5 and array.shape[3] == 1:             # NIfTI's own place for vectors
        array = array[:, :, :, 0]
    if array.ndim > 4 or array.ndim < 2:
        raise ValueError(f"{path}: expected a volume, got shape {array.shape}")
    if array.ndim == 4 and not channels:
        raise ValueError(f"{path}: expected three axes, got {array.shape}. If the last one is of channels, "
                         "channels=True reads it in Python; if it is time, take one moment of it")
    if channels:
        return np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]
    return array


def _mm(edges: np.ndarray) -> str:
    return " x ".join(f"{edge:.4g}" for edge in edges)
