"""Dice with cross-entropy, forward and backward, beside MONAI's DiceCELoss, plain PyTorch and the memory floor.

2D is 8 images of 256 x 256 with 9 classes (logits of 18 MiB), 3D 2 volumes of 96^3 with 4 (27 MiB). The floor reads the
logits once and writes a tensor of their size. The bars are those of eager mode on one thread, and on two where
`--threads 2` asks for them. Where there is a GPU it is measured besides, in float32 and in bfloat16 under autocast.
"""
import importlib.util
import sys
from functools import partial

from harness import Case, Side, main

FLAT, SOLID = (8, 9, 256, 256), (2, 4, 96, 96, 96)
SHAPES = {"2d": FLAT, "3d": SOLID}
FASTER = {"1": {"2d": 3.0, "3d": 2.3}, "2": {"2d": 2.0, "3d": 1.6}}
LEANER = 3.7                    # 5 tensors of the logits' size against 1.35


def example(shape, device="cpu", dtype="float32"):
    import torch

    g = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(shape, generator=g), torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=g)
    return logits.to(device, getattr(torch, dtype)).requires_grad_(), labels.to(device)


def medlearn(shape, compiled=False, silent=False, **where):
    import torch

    from medlearn.losses import dice_ce_loss

    loss = torch.compile(dice_ce_loss) if compiled else dice_ce_loss
    return forward_and_backward(loss, *example(shape, **where), silent=silent)


def monai(shape, **where):
    from monai.losses import DiceCELoss

    logits, labels = example(shape, **where)
    return forward_and_backward(DiceCELoss(to_onehot_y=True, softmax=True), logits, labels[:, None])


def plain(shape):
    from torch.nn import functional as F

    def loss(logits, labels):
        p, y = logits.softmax(1), F.one_hot(labels, shape[1]).movedim(-1, 1).float()
        space = tuple(range(2, len(shape)))
        dice = (2 * (p * y).sum(space) + 1e-5) / ((p + y).sum(space) + 1e-5)
        return F.cross_entropy(logits, labels) + 1 - dice.mean()

    return forward_and_backward(loss, *example(shape))


def floor(shape):
    logits, _ = example(shape)
    logits = logits.detach()

    def call():
        logits * 0.5
        return []

    return call


def forward_and_backward(loss, logits, labels, silent=False):
    import torch

    half = logits.dtype == torch.bfloat16

    def call():
        with torch.autocast(logits.device.type, dtype=torch.bfloat16, enabled=half):
            value = loss(logits, labels)
        gradient, = torch.autograd.grad(value, logits)
        # of the size of 1, so that they are compared digit by digit; half precision has few digits
        some = gradient.flatten()[::logits.numel() // 3].float() * labels.numel()
        return [] if silent else [round(x, 2 if half else 4) for x in (value.item(), *some.tolist())]

    return call


for name, size in SHAPES.items():
    globals().update({
        f"medlearn_{name}": partial(medlearn, size), f"medlearn_{name}_silent": partial(medlearn, size, silent=True),
        f"medlearn_{name}_compiled": partial(medlearn, size, compiled=True), f"monai_{name}": partial(monai, size),
        f"plain_{name}": partial(plain, size), f"floor_{name}": partial(floor, size)})
    for precision in ("float32", "bfloat16"):
        gpu = dict(device="cuda", dtype=precision)
        globals().update({f"medlearn_{name}_{precision}": partial(medlearn, size, **gpu),
                          f"monai_{name}_{precision}": partial(monai, size, **gpu)})


def cases(threads, gpu):
    ours, peer = (lambda what: Side("medlearn", f"medlearn_{what}")), (lambda what: Side("monai", f"monai_{what}"))
    for d in SHAPES:
        yield Case(f"{d.upper()}", ours(d), peer(d), faster=FASTER.get(threads, {}).get(d), leaner=LEANER)
        yield Case(f"{d.upper()}, beside plain PyTorch", ours(d), Side("torch", f"plain_{d}"))
        yield Case(f"{d.upper()}, beside the memory floor", ours(f"{d}_silent"), Side("torch", f"floor_{d}"))
        yield Case(f"{d.upper()}, compiled", ours(f"{d}_compiled"), peer(d))
        for precision in ("float32", "bfloat16") if gpu else ():
            yield Case(f"{d.upper()} on the GPU in {precision}", ours(f"{d}_{precision}"), peer(f"{d}_{precision}"))


if __name__ == "__main__":
    threads = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else "1"
    gpu = False
    if importlib.util.find_spec("torch"):
        import torch

        gpu = torch.cuda.is_available()
    main(__file__, "Losses", __doc__, list(cases(threads, gpu)), "pip install monai==1.6.1")
