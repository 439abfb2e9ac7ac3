"""Draw the README's picture, one scan and its three answers: book/_static/readme.png.

    python tools/readme_picture.py
"""
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from medlearn import viz
from medlearn.data import LESIONS, TISSUES, BrainCohort, LesionSpec

ROOT = Path(__file__).resolve().parents[1]
PATIENT = 15    # several plaques, some touching, and a mass

viz.use_style()
scan = BrainCohort(seed=7, size=192, lesions=LesionSpec(touching=0.5)).batch([PATIENT])
image, affine = scan.image[0, 0, 18:174, 4:188], scan.affine[0]
tissue, lesion, instance = (labels[0, 18:174, 4:188] for labels in (scan.tissue, scan.lesion, scan.instance))
panels = {
    "A scan": {},
    f"1  Is there disease?  A {LESIONS[scan.diagnosis]}": {},
    "2  Where is what?": dict(labels=tissue.where(lesion == 0, lesion + 3), names=(*TISSUES, *LESIONS[1:])),
    f"3  How many lesions?  {len(instance.unique()) - 1}": dict(labels=instance),
}
fig, axes = plt.subplots(1, 4, figsize=(13, 4.2))
for ax, (title, over) in zip(axes, panels.items()):
    viz.show_slice(ax, image, affine=affine, **over)
    ax.set_title(title)
fig.savefig(ROOT / "book/_static/readme.png", dpi=100)
