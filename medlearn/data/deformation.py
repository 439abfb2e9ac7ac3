r"""Smooth random deformations: from the template's anatomy to another person's."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.data.scan import CENTRE_MM, FIELD_OF_VIEW_MM

WAVES = 4                   # half waves along an axis: 1 to 4, so 104 mm is the shortest wave
WAVE_MM = 2.5               # expected root mean square of the waves' displacement along each axis
TURN, STRETCH, SHEAR = 0.05, 0.03, 0.02     # standard deviations: radians, and shares of a length
SHIFT_MM = 1.5


@dataclass(frozen=True, eq=False)
class Deformation:
    r"""Where a subject's point lies in the template: $T(p) = c + A (p - c) + t + \sum_k a_k \prod_d \sin(\pi k_d s_d)$.

    $c$ is the centre of the field of view and $s$ the point's place in it, 0 to 1 along each axis: the waves are 0 at
    its border, so that no head is pushed out of it.
    Shapes: `linear (3, 3)`, `shift (3,)`, `waves (3, 4, 4, 4)`. Units: mm. Chapter 1.
    """

    linear: np.ndarray
    shift: np.ndarray
    waves: np.ndarray

    @staticmethod
    def draw(rng: np.random.Generator) -> Deformation:
        r"""A person's shape: turned by about 3 degrees, stretched by 3 %, and bent by about 2.5 mm along each axis."""
        turn, stretch, shear, shift = rng.standard_normal((4, 3)).clip(-2, 2)
        turn, shear = TURN * turn, SHEAR * shear
        linear = np.diag(1 + STRETCH * stretch)
        for n, (i, j) in enumerate([(1, 2), (2, 0), (0, 1)]):
            linear[i, j] = shear[n] - turn[n]
            linear[j, i] = shear[n] + turn[n]
        return Deformation(linear, SHIFT_MM * shift, rng.standard_normal((3, *[WAVES] * 3)) * _spectrum())

    def __call__(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """T on a grid: three axes in mm to points `(3, X, Y, Z)` of the template in mm."""
        x, y, z = axes
        return np.einsum("dnyz,nx->dxyz", self.sheets(y, z), _basis(x, 0), optimize=True)

    def sheets(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """T as the factors `(3, 6, Y, Z)` of what it is made of along x: 1, x itself, and four waves."""
        terms = np.zeros((3, *[2 + WAVES] * 3))
        terms[:, 0, 0, 0] = self.shift + CENTRE_MM
        terms[:, 1, 0, 0], terms[:, 0, 1, 0], terms[:, 0, 0, 1] = self.linear.T
        terms[:, 2:, 2:, 2:] = self.waves
        return np.einsum("dnmz,my->dnyz", terms @ _basis(z, 2), _basis(y, 1), optimize=True)


def displace(deformations: Sequence[Deformation], axes: tuple[np.ndarray, np.ndarray, np.ndarray],
             device: torch.device | str | None = None) -> Float[Tensor, "b 3 x y z"]:
    r"""The template's points under the grid of each subject.

    Shapes: axes `(X,)`, `(Y,)`, and `(Z,)` or one for each subject, `(b, Z)`. Units: mm. No subject gives no points.
    Chapter 1.
    """
    x, y, z = axes
    heights = np.broadcast_to(z, (len(deformations), z.shape[-1]))
    factors = np.array([one.sheets(y, z) for one, z in zip(deformations, heights)])
    factors = factors.reshape(-1, 3, 2 + WAVES, 1, len(y), z.shape[-1])
    sheets, along_x = (torch.as_tensor(value, dtype=torch.float32, device=device) for value in (factors, _basis(x, 0)))
    # only multiplications and additions: a subject is the same, bit for bit, in every batch
    points = sheets[:, :, 0] * along_x[0, :, None, None]
    for n in range(1, 2 + WAVES):
        points += sheets[:, :, n] * along_x[n, :, None, None]
    return points


def _basis(axis: np.ndarray, d: int) -> np.ndarray:
    """What T is made of along an axis: 1, the distance from the centre, and 1 to 4 half waves."""
    distance = axis - CENTRE_MM[d]
    waves = np.sin(np.pi * np.arange(1, WAVES + 1)[:, None] * (distance / FIELD_OF_VIEW_MM + 0.5))
    return np.concatenate([np.ones_like(distance)[None], distance[None], waves])


def _spectrum() -> np.ndarray:
    """Standard deviation of each wave's amplitude: the fewer half waves, the larger."""
    k = np.indices([WAVES] * 3) + 1
    amplitude = (k ** 2).sum(0) ** -1.5
    return WAVE_MM * amplitude / np.sqrt((amplitude ** 2).sum() * 0.5 ** 3)
