"""Train the small U-Nets that answer in the pages, and write them to book/_static/live/network.js.

    python tools/live_network.py     a few minutes on two cores; `make live` runs it

Two networks of equal size learn alike from BrainCohort's patients, one with skips and one without. Neither ever sees
the undeformed brain, on which the reader paints. Two alarms (chapter 18) are set on further patients of this kind.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medlearn.data import BrainCohort, Scan
from medlearn.data.scan import standardise
from medlearn.export.page import page_network, read_page_network
from medlearn.losses import dice_ce_loss
from medlearn.nets import UNet
from medlearn.train import Recipe, fit
from medlearn.uncertainty import class_entropy

FILE = Path(__file__).resolve().parents[1] / "book/_static/live/network.js"
SIZE = 128
DROPOUT = (0.0, 0.1, 0.2, 0.3)
NETWORKS = {"skips": dict(widths=(8, 16, 32, 64), skips=True),
            "no_skips": dict(widths=(8, 17, 34, 68), skips=False)}      # a sixteenth wider: as many weights
PATIENTS, UNSEEN, CALIBRATION = 600, 100, 200
FALSE_ALARMS = 0.05
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


def looks(image: Float[Tensor, "b 1 n n"]) -> Float[Tensor, "b 3"]:
    """How much of its power lies in fast waves, how dark its darkest quarter is, how lopsided its histogram."""
    x = standardise(image)[:, 0]
    power = torch.fft.fftshift(torch.fft.fft2(x), (1, 2)).abs().square()
    far = (torch.arange(x.shape[-1]) - x.shape[-1] // 2).abs() > x.shape[-1] // 4
    fast = power[:, far[:, None] | far].sum(1) / power.sum((1, 2))
    return torch.stack([fast.log(), x.flatten(1).quantile(0.25, dim=1), x.pow(3).mean((1, 2))], dim=1)


@torch.no_grad()
def alarms(net: nn.Module, patients: Scan) -> dict:
    """From where on an answer's mean entropy, or the most unusual of the scan's looks, rings."""
    known = looks(patients.image)
    middle, spread = known.mean(0), known.std(0)
    strangest = ((known - middle) / spread).abs().amax(1)
    answers = torch.cat([net(part).softmax(1) for part in standardise(patients.image).split(20)])
    doubt = class_entropy(answers[None]).total.flatten(1).mean(1)
    return {"middle": middle.tolist(), "spread": spread.tolist(),
            "looks": strangest.quantile(1 - FALSE_ALARMS).item(), "doubt": doubt.quantile(1 - FALSE_ALARMS).item()}


def calibration() -> Scan:
    """Patients that neither training nor test has seen."""
    return BrainCohort(seed=50, size=SIZE).batch(range(CALIBRATION))


def main() -> None:
    torch.set_num_threads(1)                # so that the weights are the same on every run of a machine
    patients = BrainCohort(seed=3, size=SIZE).batch(range(PATIENTS))
    unseen = BrainCohort(seed=99, size=SIZE).batch(range(UNSEEN))
    further, written = calibration(), {}
    for name, options in NETWORKS.items():
        net = trained(options, patients)
        written[name] = page_network(net)
        facts = {"dice": dice_of_lesions(net, unseen),
                 "dice_int8": dice_of_lesions(read_page_network(written[name]), unseen),
                 "parameters": sum(w.numel() for w in net.parameters())}
        written[name] |= {key: round(value, 4) for key, value in facts.items()}
        written[name]["alarms"] = alarms(read_page_network(written[name]), further)
        print(name, facts, flush=True)
    FILE.write_text(f'Live.file("network", {json.dumps(written, separators=(",", ":"))});\n', encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
