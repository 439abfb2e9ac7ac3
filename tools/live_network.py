"""Train the small U-Nets that answer in the pages, and write them to book/_static/live/network.js.

    python tools/live_network.py     a few minutes on two cores; `make live` runs it

Two networks of equal size learn alike from BrainCohort's patients, one with skips and one without. Neither ever sees
the undeformed brain, on which the reader paints.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from medlearn.data import BrainCohort, Scan
from medlearn.data.scan import standardise
from medlearn.export.page import page_network, read_page_network
from medlearn.losses import dice_ce_loss
from medlearn.nets import UNet
from medlearn.train import Recipe, fit

FILE = Path(__file__).resolve().parents[1] / "book/_static/live/network.js"
SIZE = 128
DROPOUT = (0.0, 0.1, 0.2, 0.3)
NETWORKS = {"skips": dict(widths=(8, 16, 32, 64), skips=True),
            "no_skips": dict(widths=(8, 17, 34, 68), skips=False)}      # a sixteenth wider: as many weights
PATIENTS, UNSEEN = 600, 100
RECIPE = Recipe(steps=1500, batch_size=8, learning_rate=3e-3, warmup=50, precision="fp32")


def trained(options: dict, patients: Scan) -> UNet:
    """A network after the one training of this file."""
    torch.manual_seed(0)
    net = UNet(1, 3, dropout=DROPOUT, **options)
    history = fit(net, patients.samples("lesion"), loss=dice_ce_loss, recipe=RECIPE, progress=sys.stderr.isatty())
    print(f"  loss {history.column('loss')[-1]:.3f}", flush=True)
    return net


@torch.no_grad()
def dice_of_lesions(net: UNet, patients: Scan) -> float:
    """Dice of lesion against none, over all voxels of all patients."""
    found = torch.cat([net(part).argmax(1) > 0 for part in standardise(patients.image).split(20)])
    truth = patients.lesion > 0
    return (2 * (found & truth).sum() / (found.sum() + truth.sum())).item()


def main() -> None:
    torch.set_num_threads(1)                # so that the weights are the same on every run of a machine
    patients = BrainCohort(seed=3, size=SIZE).batch(range(PATIENTS))
    unseen = BrainCohort(seed=99, size=SIZE).batch(range(UNSEEN))
    written = {}
    for name, options in NETWORKS.items():
        net = trained(options, patients)
        written[name] = page_network(net)
        facts = {"dice": dice_of_lesions(net, unseen),
                 "dice_int8": dice_of_lesions(read_page_network(written[name]), unseen),
                 "parameters": sum(w.numel() for w in net.parameters())}
        written[name] |= {key: round(value, 4) for key, value in facts.items()}
        print(name, facts, flush=True)
    FILE.write_text(f'Live.file("network", {json.dumps(written, separators=(",", ":"))});\n', encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
