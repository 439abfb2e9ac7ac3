r"""The surface of a mask as marching cubes draws it, and the area of its piece in each cell between voxels.

A cell has a voxel at each of its 4 or 8 corners. Where some are inside the mask and some outside, the surface passes
through it, half-way along every edge that has one end inside. Its area depends on which corners are inside, 2^8 codes
at most, and on the spacing; so it is a table. Source: Lorensen and Cline 1987, doi:10.1145/37401.37422.
"""
from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

Corner = tuple[int, ...]
Edge = tuple[Corner, Corner]


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """The code of every cell between the voxels: its corners in lexicographic order, read as a binary number."""
    codes: np.ndarray = mask.view(np.uint8)
    for axis, bits in zip(reversed(range(mask.ndim)), (1, 2, 4)):
        low, high = (np.moveaxis(codes, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        codes = np.moveaxis(low << bits | high, 0, axis)
    return codes


def element_areas(spacing_mm: np.ndarray) -> np.ndarray:
    """The area in mm^2 (in 2D the length in mm) of the surface's piece for each code."""
    face_mm = spacing_mm.prod() / spacing_mm                        # what a normal along each axis is multiplied by
    return np.linalg.norm(_normals(len(spacing_mm)) * face_mm, axis=-1).sum(axis=-1)


@cache
def _normals(dim: int) -> np.ndarray:
    """For each code the triangles (in 2D the lines) of its piece, as normals whose length is the area at spacing 1."""
    corners = list(product((0, 1), repeat=dim))
    pieces = [_piece({corner: bool(code >> place & 1) for corner, place in zip(corners, reversed(range(2**dim)))})
              for code in range(2**2**dim)]
    table = np.zeros((len(pieces), max(map(len, pieces)), dim))
    for row, piece in zip(table, pieces):
        row[:len(piece)] = np.reshape(piece, (-1, dim))
    return table


def _piece(inside: dict[Corner, bool]) -> list[np.ndarray]:
    """The normals of one cell."""
    few = 2 * sum(inside.values()) <= len(inside)                   # the kind of corner there is less of
    if len(inside) == 4:
        return [(_middle(b) - _middle(a))[::-1] for a, b in _contour(inside, list(inside), few)]
    squares = [[corner for corner in inside if corner[axis] == side] for axis in range(3) for side in (0, 1)]
    lines = [line for square in squares for line in _contour(inside, square, few)]
    return [normal for loop in _loops(lines) for normal in _triangulation(loop)]


def _contour(inside: dict[Corner, bool], square: list[Corner], few: bool) -> list[list[Edge]]:
    """The lines that separate a square's corners, from one cut edge to another.

    Where two opposite corners are inside there are two lines, which cut off the kind of corner the cell has less of.
    """
    cut = [(a, b) for a in square for b in square
           if a < b and np.abs(np.subtract(a, b)).sum() == 1 and inside[a] != inside[b]]
    if len(cut) < 4:
        return [cut] if cut else []
    return [[edge for edge in cut if corner in edge] for corner in square if inside[corner] == few]


def _loops(lines: list[list[Edge]]) -> list[list[Edge]]:
    """The closed loops that the lines of a cube's six faces make."""
    loops, left = [], list(lines)
    while left:
        loop = list(left.pop())
        while loop[0] != loop[-1]:
            a, b = line = next(line for line in left if loop[-1] in line)
            left.remove(line)
            loop.append(b if a == loop[-1] else a)
        loops.append(loop[:-1])
    return loops


def _triangulation(loop: list[Edge]) -> list[np.ndarray]:
    """The loop filled with triangles: of all ways, the one with the largest area at spacing 1."""
    if len(loop) < 3:
        return []
    first, last = _middle(loop[0]), _middle(loop[-1])
    return max(([np.cross(_middle(loop[i]) - first, last - first) / 2, *_triangulation(loop[:i + 1]),
                 *_triangulation(loop[i:])] for i in range(1, len(loop) - 1)),
               key=lambda normals: np.linalg.norm(normals, axis=1).sum())


def _middle(edge: Edge) -> np.ndarray:
    return np.add(*edge) / 2
