"""A training small enough to be run, killed and run again many times; a script for `torchrun` as well."""
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from medlearn.train import Recipe, checkpoints, fit

CLASSES = 3


class Pictures:
    """Noise with labels that can be learnt from it; with `augment`, mirrored and noisier at random on each visit."""

    def __init__(self, n=11, augment=False, dim=2, dtype=torch.float32):
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(n, 1, *[6] * dim, generator=generator, dtype=dtype)
        self.augment = augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image = self.images[i]
        if self.augment:
            image = image.flip(-1) if torch.rand(()) < 0.5 else image
            image = image + 0.1 * torch.randn_like(image)
        return image, torch.bucketize(image[0], torch.tensor([-0.5, 0.5]))


def tiny_net(dim=2, dropout=0.0, seed=0, width=4):
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[dim]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(conv(1, width, 3, padding=1), nn.GroupNorm(2, width), nn.ReLU(), nn.Dropout(dropout),
                             conv(width, CLASSES, 1))


def weights_of(net):
    return torch.cat([weight.detach().flatten() for weight in net.state_dict().values()])


def score(net):
    image, label = Pictures().images, torch.stack([label for _, label in Pictures()])
    return {"score": -F.cross_entropy(net(image), label).item()}


SHORT = Recipe(steps=6, batch_size=4, precision="fp32")


def train(net=None, data=None, loss=F.cross_entropy, recipe=SHORT, **kwargs):
    net = tiny_net() if net is None else net
    history = fit(net, Pictures() if data is None else data, loss=loss, recipe=recipe, **kwargs)
    return weights_of(net), history


LONG = Recipe(steps=40, batch_size=4, accumulate=2, warmup=3, precision="fp32")


def long_training(folder, every=1):
    """Everything that has a state: dropout, augmentation, AdamW, accumulation, best weights."""
    net = tiny_net(dropout=0.2)
    history = fit(net, Pictures(augment=True), loss=F.cross_entropy, recipe=LONG, validation=score, patience=100,
                  checkpoint=folder, every=every)
    return net, history


def to_be_killed(folder):
    """Runs the long training again and again in children that are killed at random, until one comes to its end."""
    import accelerate  # noqa: F401
    import torch._dynamo  # noqa: F401 - the optimiser and Accelerate load these: here once,
    import torch.distributed.tensor  # noqa: F401 - instead of in every child

    sync, replace, unlink = os.fsync, os.replace, Path.unlink
    slow = lambda act: lambda *args, **kwargs: (time.sleep(0.004), act(*args, **kwargs), time.sleep(0.004))[1]
    chance, kills, before, longest = random.Random(0), 0, 0, 0.15
    while True:
        child = os.fork()
        if child == 0:
            os.fsync, os.replace, Path.unlink = slow(sync), slow(replace), slow(unlink)   # kills fall into them
            net, history = long_training(folder)
            torch.save((weights_of(net), history.rows), folder / "end.pt")
            os._exit(0)
        deadline = time.monotonic() + chance.uniform(0.02, longest)
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.001)
        if ended != (0, 0):
            assert ended[1] == 0, f"the training failed: {ended[1]}"
            return print(kills)
        os.kill(child, 9)
        if os.waitpid(child, 0)[1] == 0:
            return print(kills)
        kills += 1
        found = checkpoints.read_checkpoint(folder)
        now = 0 if found is None else found.step
        assert now >= before, f"lost steps: {before} -> {now}"
        longest *= 1 if now > before else 1.2           # on a busy machine it must come further than its beginning
        before = now


SHARED = Recipe(steps=7, batch_size=8, accumulate=2, schedule="constant", precision="fp32", weight_decay=0.1)


def on_two_processes(folder):
    """A whole training, and the first four steps of it; what each process ends with is kept."""
    for name, recipe in {"whole": SHARED, "half": Recipe(**{**vars(SHARED), "steps": 4})}.items():
        net = tiny_net()
        history = fit(net, Pictures(augment=True), loss=F.cross_entropy, recipe=recipe, checkpoint=folder / name,
                      every=2, validation=score, patience=9 if name == "whole" else None)
        torch.save((weights_of(net), history.rows), folder / f"{name}-{os.environ['RANK']}.pt")


LONGER = Recipe(**{**vars(SHARED), "steps": 12})


def interrupted(folder):
    """One process is interrupted in its third step, as by Ctrl-C; where both stop, and how the training goes on."""
    rank, calls = int(os.environ["RANK"]), []

    def struck(logits, labels):
        calls.append(0)
        if rank == 1 and len(calls) == 5:                   # each step has two parts
            signal.raise_signal(signal.SIGINT)
        return F.cross_entropy(logits, labels)
    options = dict(recipe=LONGER, every=12, checkpoint=folder / "interrupted")
    try:
        fit(tiny_net(), Pictures(augment=True), loss=struck, **options)
    except KeyboardInterrupt:
        stopped = checkpoints.read_checkpoint(folder / "interrupted").step
    torch.distributed.barrier()                             # both have looked before either goes on
    ends = [tiny_net(), tiny_net()]
    fit(ends[0], Pictures(augment=True), loss=F.cross_entropy, **options)
    fit(ends[1], Pictures(augment=True), loss=F.cross_entropy, **{**options, "checkpoint": None})
    torch.save({"stopped": stopped, "weights": weights_of(ends[0]), "whole": weights_of(ends[1])},
               folder / f"interrupted-{rank}.pt")


def disagreeing(folder):
    """Trainings in which the second process starts from something else; what each of the two is told."""
    second = os.environ["RANK"] == "1"
    with_other = {
        "recipe": dict(recipe=Recipe(**{**vars(SHARED), "learning_rate": 0.5 if second else 0.1})),
        "batch size": dict(recipe=Recipe(**{**vars(SHARED), "batch_size": 12 if second else 8})),
        "data": dict(data=Pictures(augment=not second)),
        "number": dict(data=Pictures(12 if second else 11)),
        "validation": dict(validation=None if second else score),
        "every": dict(every=3 if second else 2),
        "step": dict(checkpoint=folder / ("elsewhere" if second else "half")),
    }
    fit(tiny_net(), Pictures(), loss=F.cross_entropy, recipe=Recipe(**{**vars(SHARED), "steps": 4}),
        checkpoint=folder / "half", every=2)
    told = {}
    for name, other in with_other.items():
        options = dict(data=Pictures(), recipe=SHARED, every=2) | other
        try:
            fit(tiny_net(), options.pop("data"), loss=F.cross_entropy, **options)
        except ValueError as error:
            told[name] = str(error)
    torch.save(told, folder / f"told-{os.environ['RANK']}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, where = sys.argv[1:3]
    {"killed": to_be_killed, "two": on_two_processes, "interrupted": interrupted,
     "disagreeing": disagreeing}[what](Path(where))
