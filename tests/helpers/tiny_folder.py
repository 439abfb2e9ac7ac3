"""Brains of the cohort in files as hospitals send them: each with another orientation and spacing."""
import numpy as np

from medlearn.base.grid import Grid
from medlearn.data import (BrainCohort, Volume, reorient, resample, resample_labels, respaced_grid, write_folder,
                           write_volume)

LABELS = ["background", "csf", "grey", "white"]
PLACES = [("RAS", (6.5, 6.5, 6.5)), ("LPS", (7.0, 6.5, 9.0)), ("SAR", (6.5, 8.0, 6.5)), ("LAS", (8.0, 8.0, 6.0))]


# the command line in a process that dies when p05 is written and not yet in its place
KILLED_AT_P05 = """
import os, signal, sys
from medlearn.base import atomic
whole = atomic.os.replace
def replace(*paths):
    if "p05" in str(paths[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    whole(*paths)
atomic.os.replace = replace
from medlearn.cli import main
main(sys.argv[1:])
"""


def brains(count, first=0):
    """(name, image, label) of so many subjects."""
    made = BrainCohort(seed=3, size=32, dim=3).batch(range(first, first + count))
    for i in range(count):
        orientation, spacing = PLACES[(first + i) % len(PLACES)]
        grid = Grid((32, 32, 32), made.affine[i].numpy())
        image = Volume((made.image[i, 0].numpy() * 400).astype(np.int16), grid)
        label = Volume(made.tissue[i].numpy().astype(np.uint8), grid)
        there = respaced_grid(grid, spacing)
        yield (f"p{first + i:02d}_scan", reorient(resample(image, there), orientation),
               reorient(resample_labels(label, there), orientation))


def tiny_folder(root, training=4, test=2):
    """nnU-Net's layout: imagesTr and labelsTr, and beside them imagesTs and labelsTs."""
    held_back = list(brains(test, first=training))
    write_folder(root, [*brains(training), *((name, image, None) for name, image, _ in held_back)], channels=["T1"],
                 labels=LABELS)
    (root / "labelsTs").mkdir()
    for name, _, label in held_back:
        write_volume(root / "labelsTs" / f"{name}.nii.gz", label)
    return root


def words(root, out, *more):
    """A training of seconds."""
    return [f"data.folder={root}", f"out={out}", "data.folds=4", "data.patch=[16,16,16]", "data.spacing_mm=[7,7,7]",
            "net.widths=[4,8]", "augment.elastic_mm=0", "recipe.steps=8", "recipe.batch_size=2",
            "recipe.learning_rate=0.01", "recipe.precision=fp32", "every=2", "validation_patches=2", *more]
