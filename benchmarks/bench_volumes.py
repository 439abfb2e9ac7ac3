"""A 3D U-Net's step with gradient checkpointing beside the same step that keeps everything; and a model of scaling.

Four classes, widths 16, 32, 64; a batch of 2 patches. Checkpointing takes more time and less memory, so the bar is
memory. Both sides give the same gradients.
Afterwards two processes train together on this machine. The computing and the exchange of two messages of other sizes
are measured apart, turn by turn with whole steps; from these `medlearn.train.step_time` has to predict the time of a
step within 15 %. Without the exchange it must not come as near, or the machine says nothing about the model.
"""
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Case, Setting, Side, main

WIDTHS, PATCHES = (16, 32, 64), (48, 96)
SMALL_WIDTHS, SMALL_PATCHES = (2, 4), (8, 12)
AS_LEAN = 1.5
WITHIN = 0.15
PAIRS = {"8^3": 8, "12^3": 12}      # patches of the pair: so small that the exchange counts
PAIR_WIDTHS, ROUNDS = (32, 64, 128, 256), 30


def step(widths, size, checkpointing):
    import torch
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    from medlearn.nets import UNet

    class Forgetful(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, *maps):
            return checkpoint(self.block, *maps, use_reentrant=False)

    torch.manual_seed(0)
    net = UNet(1, 4, dim=3, widths=tuple(widths)).train()
    for half in (net.down, net.up) if checkpointing else ():
        for i, block in enumerate(half):
            half[i] = Forgetful(block)
    image = torch.randn(2, 1, size, size, size)

    def call():
        net(image).square().mean().backward()
        length = sum(weight.grad.square().sum() for weight in net.parameters()).sqrt().item()
        net.zero_grad()
        return [length]

    return call


def cases(setting: Setting):
    widths, sizes = (SMALL_WIDTHS, SMALL_PATCHES) if setting.smoke else (WIDTHS, PATCHES)
    for size in sizes:
        which = {"widths": widths, "size": size}
        yield Case(f"checkpointing, patches of {size}^3", Side("medlearn", "step", which | {"checkpointing": True}),
                   Side("torch", "step", which | {"checkpointing": False}), None, AS_LEAN)


# Two processes -------------------------------------------------------------------------------------------------------

def process(folder, rank, size):
    """One of the pair: it prints weights, then the median seconds of computing, both messages, and a step."""
    import torch
    import torch.distributed as dist

    from medlearn.nets import UNet

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=Path(folder, "meet").as_uri(), rank=rank, world_size=2)
    net, image = UNet(1, 4, dim=3, widths=PAIR_WIDTHS), torch.randn(2, 1, size, size, size)
    weights = list(net.parameters())
    count = sum(weight.numel() for weight in weights)

    def compute():
        gradients = torch.autograd.grad(net(image).square().mean(), weights)
        return torch.cat([gradient.flatten() for gradient in gradients])

    short, long = torch.zeros(1), torch.zeros(2 * count)
    runs = (compute, lambda: dist.all_reduce(short), lambda: dist.all_reduce(long), lambda: dist.all_reduce(compute()))
    taken = [[] for _ in runs]
    for _ in range(ROUNDS):
        for row, run in zip(taken, runs):
            dist.barrier()
            start = time.perf_counter()
            run()
            dist.barrier()                                          # the slower of the two decides
            row.append(time.perf_counter() - start)
    if rank == 0:
        print(count, *(statistics.median(row[2:]) for row in taken))
    dist.destroy_process_group()


def predicted_and_measured(size):
    """Seconds of a step: as the model says, as it says without an exchange, and as it was."""
    from medlearn.train import Machine, Workload, step_time

    with TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "process", folder]
        both = [subprocess.Popen([*command, str(rank), str(size)], stdout=subprocess.PIPE, text=True,
                                 env={**os.environ, "OMP_NUM_THREADS": "1"}) for rank in (0, 1)]
        told = [one.communicate()[0] for one in both]
    count, compute, short, long, whole = map(float, told[0].split())
    machine = Machine(processes=2, latency_s=short / 2, link_bytes_per_s=8 * count / max(long - short, 1e-9))
    work = Workload(patch_s=compute, batch=1, gradient_bytes=4 * count)
    return step_time(work, machine).total_s, compute, whole


def check_model():
    missed = []
    for name, size in PAIRS.items():
        model, without, whole = predicted_and_measured(size)
        off, off_without = model / whole - 1, without / whole - 1
        print(f"two processes, patches of {name}: a step of {1e3 * whole:.0f} ms, predicted {1e3 * model:.0f} ms "
              f"({off:+.0%}), without the exchange {1e3 * without:.0f} ms ({off_without:+.0%})")
        if abs(off) > WITHIN:
            missed.append(f"patches of {name}: expected a prediction within {WITHIN:.0%}, got {off:+.0%}")
        elif abs(off_without) < abs(off):
            missed.append(f"patches of {name}: expected the exchange to be needed for it, it was not")
    if missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__" and sys.argv[1:2] == ["process"]:
    process(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
elif __name__ == "__main__":
    if not main(__file__, "Volumes", __doc__, cases, "pip install medlearn").smoke:
        check_model()
