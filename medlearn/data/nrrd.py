r"""NRRD files, read: the part of the format that scanners' exports and 3D Slicer use, in one file, raw or gzip."""
from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

import numpy as np

from medlearn.data.volumes import Volume, named, volume_of_file

LONGEST_HEADER = 2 ** 20
DEFLATE = 1032                  # no gzip stream becomes more than so many times its length
_TYPES = {name: dtype for names, dtype in [
    ("signed char,int8,int8_t", "i1"), ("uchar,unsigned char,uint8,uint8_t", "u1"),
    ("short,short int,signed short,signed short int,int16,int16_t", "i2"),
    ("ushort,unsigned short,unsigned short int,uint16,uint16_t", "u2"),
    ("int,signed int,int32,int32_t", "i4"), ("uint,unsigned int,uint32,uint32_t", "u4"),
    ("longlong,long long,long long int,signed long long,int64,int64_t", "i8"),
    ("ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t", "u8"),
    ("float", "f4"), ("double", "f8")] for name in names.split(",")}
_SIGNS = {"right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1), "left-anterior-superior": (-1, 1, 1),
          "las": (-1, 1, 1), "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1)}


def read_nrrd(path: str | Path, *, channels: bool = False, nan: float | None = None) -> Volume:
    """A `.nrrd` file as `read_volume` gives it."""
    path = Path(path)
    with named(path):
        content = path.read_bytes()
        fields, start = _fields(content, path)
        sizes = [int(n) for n in fields["sizes"].split()]
        array = _numbers(content[start:], fields, sizes, path)
        directions = re.findall(r"none|\(([^)]*)\)", fields.get("space directions", ""))
        if not directions or fields.get("space", "").lower() not in _SIGNS or "space origin" not in fields:
            raise ValueError(f"{path}: expected a place in space (space, space directions, space origin), got none")
        if len(directions) != len(sizes):
            raise ValueError(f"{path}: expected {len(sizes)} space directions, got {len(directions)}")
        lists = [axis for axis, direction in enumerate(directions) if not direction]
        if len(lists) > 1 or len(sizes) - len(lists) != 3:
            raise ValueError(f"{path}: expected three axes of space, got {len(sizes) - len(lists)} and {len(lists)} "
                             "others")
        if lists and sizes[lists[0]] > 1 and not channels:
            raise ValueError(f"{path}: expected three axes, got {tuple(sizes)}. If one is of channels, "
                             "channels=True reads it in Python")
        array = np.moveaxis(array, lists[0], 0) if lists else array[None]
        signs = np.array(_SIGNS[fields["space"].lower()], dtype=float)
        affine = np.eye(4)
        for column, direction in enumerate(filter(None, directions)):
            affine[:3, column] = signs * _vector(direction)
        affine[:3, 3] = signs * _vector(fields["space origin"].strip("() "))
        return volume_of_file(array if channels else array[0], affine, path=path, nan=nan)


def _fields(content: bytes, path: Path) -> tuple[dict[str, str], int]:
    """What the header says, and where the voxels begin: after its first empty line."""
    end = re.search(rb"\r?\n\r?\n", content[:LONGEST_HEADER])
    if not content.startswith(b"NRRD000") or end is None:
        raise ValueError(f"{path}: expected an NRRD header and an empty line after it, got {content[:8]!r}")
    fields = {}
    for line in content[:end.start()].decode("ascii", "replace").splitlines()[1:]:
        key, mark, value = line.partition(": ")
        if mark and not line.startswith("#"):
            fields[key.lower()] = value.strip()
    if missing := {"type", "sizes", "encoding"} - fields.keys():
        raise ValueError(f"{path}: expected a header that says {', '.join(sorted(missing))}")
    if "data file" in fields or "datafile" in fields:
        raise ValueError(f"{path}: expected the voxels in the same file, got a header of others. Make one file of them")
    return fields, end.end()


def _numbers(content: bytes, fields: dict[str, str], sizes: list[int], path: Path) -> np.ndarray:
    if fields["type"].lower() not in _TYPES:
        raise ValueError(f"{path}: expected one real number a voxel, got type {fields['type']}")
    order = "<" if fields.get("endian", "little").lower() == "little" else ">"
    dtype = np.dtype(order + _TYPES[fields["type"].lower()])
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{path}: expected at least one voxel along each axis, got sizes {sizes}")
    needed, encoding = math.prod(sizes) * dtype.itemsize, fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise ValueError(f"{path}: expected the encoding raw or gzip, got {encoding}")
    if needed > len(content) * (1 if encoding == "raw" else DEFLATE):
        raise ValueError(f"{path}: expected {needed} bytes of voxels, got {len(content)} bytes {encoding}")
    if encoding != "raw":
        stream = zlib.decompressobj(wbits=31)
        content = stream.decompress(content, needed + 1)
        if len(content) == needed and not stream.eof:       # its checksum stands at the end
            stream.decompress(stream.unconsumed_tail, 1)
            if not stream.eof:
                raise ValueError(f"{path}: expected the end of its gzip stream: it is cut short. Copy "
                                 "it again")
    if len(content) != needed:
        raise ValueError(f"{path}: expected {needed} bytes of voxels, got {len(content)}")
    return np.frombuffer(content, dtype).reshape(sizes, order="F")


def _vector(text: str) -> np.ndarray:
    vector = np.array([float(x) for x in text.split(",")])
    if vector.shape != (3,):
        raise ValueError(f"expected three coordinates, got {text!r}")
    return vector
