"""Train the network of the practice chapter "Audit a model", and keep what it answers in medlearn/practice/audit.npz.

    python tools/practice_network.py      some minutes on one core; only where cohort or network are to be others

The file holds, for scans of 100 made patients, the probabilities of lesion and the true masks. The network has learnt
from every other slice of the first 24 patients; of these the file holds the slices between.
"""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medlearn.data import standardise
from medlearn.losses import dice_ce_loss
from medlearn.nets import UNet
from medlearn.practice.audit import COHORT, KEPT, LEARNT, LEVELS, PATIENTS
from medlearn.train import Recipe, fit

SCANS = 6       # of each patient in the file, at most
LEAST = 10      # voxels of plaque in each of these
STEPS = 300


def slices(patient: int) -> tuple[Tensor, Tensor, Tensor]:
    """The axial slices of a patient that hold a lesion: their heights, images (n, 1, X, Y) and masks (n, X, Y)."""
    volume = COHORT.batch([patient])
    image, lesion = standardise(volume.image)[0, 0].movedim(2, 0), (volume.lesion[0] > 0).movedim(2, 0)
    heights = lesion.flatten(1).any(1).nonzero()[:, 0]
    return heights, image[heights, None], lesion[heights]


def main() -> int:
    learnt, scans, kept = [], [], []
    for patient in range(PATIENTS):
        heights, images, masks = slices(patient)
        if patient < LEARNT:
            learnt += zip(images[::2], masks[::2].long())
            scans += [(patient, height) for height in heights[::2].tolist()]
            heights, images, masks = heights[1::2], images[1::2], masks[1::2]
        large = (masks.flatten(1).sum(1) >= LEAST).nonzero()[:, 0]
        some = large[torch.linspace(0, len(large) - 1, min(SCANS, len(large))).round().long()]
        kept += [(patient, int(heights[i]), images[i], masks[i]) for i in some.tolist()]
    torch.manual_seed(0)
    net = UNet(widths=(8, 16, 32))
    fit(net, learnt, loss=dice_ce_loss, recipe=Recipe(steps=STEPS, batch_size=16, learning_rate=3e-3, precision="fp32"),
        progress=False)
    patient, height, images, masks = zip(*kept)
    with torch.no_grad():
        p = torch.cat([net(part).softmax(1)[:, 1] for part in torch.stack(images).split(64)])
    np.savez_compressed(KEPT, learnt=np.array(scans, np.uint8), patient=np.array(patient, np.uint8),
                        height=np.array(height, np.uint8),
                        probability=(LEVELS * p.sqrt()).round().to(torch.uint8).numpy(),
                        mask=np.packbits(torch.stack(masks).numpy(), axis=-1))
    print(f"{len(kept)} scans of {PATIENTS} patients, learnt from {len(learnt)}: "
          f"{Path(KEPT).stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
