"""What only a GPU can tell: its rate of products, what a training step makes of it, data a second, and equal bits.

    python benchmarks/gpu_rates.py RESULT.json [--smoke]

RESULT.json is written anew after each rate. With --smoke all sizes are the smallest, only to see that it runs.
"""
from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path

import torch

from medlearn.data import BrainCohort
from medlearn.losses import dice_ce_loss
from medlearn.nets import UNet
from medlearn.physics.projection import ParallelBeam
from medlearn.runtime import autocast, precision
from medlearn.train import Recipe, fit
from medlearn.uncertainty import Ensemble

GPU = torch.device("cuda")
SMOKE = "--smoke" in sys.argv
RATES = []
rate = RATES.append                                         # in the order of the file


def size(full, smoke):
    return smoke if SMOKE else full


def seconds(call, repeats=10):
    """Of one call, with those before it for the kernels to be chosen and compiled."""
    for _ in range(size(3, 1)):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(size(repeats, 1)):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / size(repeats, 1)


@rate
def matmul_tflops():
    """Of square products, the most that the networks can hope for."""
    n, found = size(8192, 32), {}
    for name, dtype in {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}.items():
        a = torch.randn(n, n, device=GPU, dtype=dtype)
        found[name] = 2e-12 * n ** 3 / seconds(lambda a=a: a @ a)
    return found


@rate
def training_step():
    """U-Net 2D under `medlearn.autocast`, one after the other and compiled: ms, and the share of the products' rate."""
    from torch.utils.flop_counter import FlopCounterMode

    shape, widths = size((32, 1, 256, 256), (1, 1, 16, 16)), size((32, 64, 128, 256), (2, 4))
    x, labels = torch.randn(shape, device=GPU), torch.zeros(shape[0], *shape[2:], dtype=torch.long, device=GPU)
    net = UNet(1, 4, widths=widths).to(GPU, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), fused=not SMOKE)
    found = {"precision": precision(GPU)}
    for name, run in {"eager": net, **({} if SMOKE else {"compiled": torch.compile(net)})}.items():
        def step(run=run):
            with autocast(GPU):
                loss = dice_ce_loss(run(x), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        found[f"{name}_ms"] = 1e3 * seconds(step)
    with FlopCounterMode(display=False) as counter:
        net(x).sum().backward()
    return found | {"eager_tflops": 1e-9 * counter.get_total_flops() / found["eager_ms"]}


@rate
def cohort_slices_a_second():
    """The bar is 2,000 slices of 128 x 128."""
    cohort, subjects = BrainCohort(seed=3, size=size(128, 48)), size(64, 2)
    return subjects / seconds(lambda: cohort.batch(range(subjects), GPU), 5)


@rate
def cohort_repeats():
    """The same bits when made again, and of a subject in another batch; and how far from those of the CPU."""
    cohort = BrainCohort(seed=3, size=size(128, 48))
    there, here = cohort.batch(range(4), GPU), cohort.batch(range(4))
    return {"again": torch.equal(there.image, cohort.batch(range(4), GPU).image),
            "in_another_batch": torch.equal(there.image[2], cohort.batch([2], GPU).image[0]),
            "from_the_cpu": (here.image - there.image.cpu()).abs().max().item()}


@rate
def fit_by_precision():
    """ms a step of `fit`, the last loss, and whether it comes to the same bits again."""
    found, steps, data = {}, size(100, 2), some_pictures()
    for name in ("fp32", "fp16", "bf16"):
        nets = []
        for _ in range(2):
            torch.manual_seed(0)
            nets.append(UNet(1, 2, widths=size((16, 32, 64, 128), (2, 4))))
            start = time.perf_counter()
            history = fit(nets[-1], data, loss=dice_ce_loss, recipe=Recipe(steps=steps, batch_size=8, precision=name))
            spent = time.perf_counter() - start
        found[name] = {"ms_a_step": 1e3 * spent / steps, "last_loss": history.rows[-1]["loss"],
                       "same_bits": all(map(torch.equal, *(list(net.parameters()) for net in nets)))}
    return found


@rate
def projector_ms():
    """8 images of 256 x 256, 180 views."""
    n, views = size(256, 24), size(180, 8)
    beam, image = ParallelBeam(n, range(views), pixel_mm=1.0), torch.rand(size(8, 1), 1, n, n, device=GPU)
    sinogram = beam.project(image)
    return {"project": 1e3 * seconds(lambda: beam.project(image)), "fbp": 1e3 * seconds(lambda: beam.fbp(sinogram))}


@rate
def ensemble_ms():
    """Five small U-Nets, one after the other and in one vectorised call."""
    ensemble, found = Ensemble(lambda: UNet(1, 2, widths=(8, 16, 32)), 5).to(GPU).eval(), {}
    with torch.no_grad():
        for width in size((32, 128), (16,)):
            x = torch.randn(4, 1, width, width, device=GPU)
            found[width] = {"in_turn": 1e3 * seconds(lambda x=x: ensemble(x)),
                            "vectorised": 1e3 * seconds(lambda x=x: ensemble.vectorised(x))}
    return found


def some_pictures():
    x = torch.randn(16, 1, size(64, 16), size(64, 16), generator=torch.Generator().manual_seed(0)).to(GPU)
    return list(zip(x, (x[:, 0] > 0).long()))


def main(path: Path) -> int:
    found, failed = {}, 0
    for measure in RATES:
        try:
            found[measure.__name__] = measure()
        except Exception as error:                          # one that fails must not cost the others
            found[measure.__name__] = {"error": f"{type(error).__name__}: {error}"[:500]}
            traceback.print_exc()
            failed = 1
        path.write_text(json.dumps(found))
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
