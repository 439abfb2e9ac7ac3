"""Dice with cross-entropy, forward and backward, beside MONAI's DiceCELoss, plain PyTorch and two floors.

2D is 8 images of 256 x 256 with 9 classes (logits of 18 MiB), 3D 2 volumes of 96^3 with 4 (27 MiB). The floor reads the
logits once, takes their exponentials, and writes a tensor of their size, as a gradient is; torch's softmax alone stands
beside it. The bars are those of eager mode on one thread, and on two where `--threads 2` asks for them. Where there is
a GPU it is measured besides, in float32 and in bfloat16 under autocast.
"""
from harness import Case, Setting, Side, main

SHAPES = {"2D": (8, 9, 256, 256), "3D": (2, 4, 96, 96, 96)}
SMALL = {"2D": (2, 9, 16, 16), "3D": (1, 4, 8, 8, 8)}
FASTER = {1: {"2D": 3.0, "3D": 2.3}, 2: {"2D": 2.0, "3D": 1.6}}
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


def floor(shape, softmax=False, **where):
    logits, _ = example(shape, **where)
    logits = logits.detach()

    def call():
        logits.softmax(1) if softmax else logits.exp()
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


def cases(setting: Setting):
    for name, shape in (SMALL if setting.smoke else SHAPES).items():
        at = {"shape": shape}
        ours, peer = Side("medlearn", "medlearn", at), Side("monai", "monai", at)
        yield Case(name, ours, peer, faster=FASTER.get(setting.threads, {}).get(name), leaner=LEANER)
        yield Case(f"{name}, beside plain PyTorch", ours, Side("torch", "plain", at))
        yield from beside_the_floor(name, at)
        if not setting.smoke:                                       # compiling takes longer than all else
            yield Case(f"{name}, compiled", Side("medlearn", "medlearn", at | {"compiled": True}), peer)
        for precision in ("float32", "bfloat16") if setting.gpu else ():
            there, title = at | {"device": "cuda", "dtype": precision}, f"{name} on the GPU in {precision}"
            yield Case(title, Side("medlearn", "medlearn", there), Side("monai", "monai", there))
            yield from beside_the_floor(title, there)


def beside_the_floor(name, at):
    for title, softmax in (("the floor", False), ("the softmax alone", True)):
        yield Case(f"{name}, beside {title}", Side("medlearn", "medlearn", at | {"silent": True}),
                   Side("torch", "floor", at | {"softmax": softmax}))


if __name__ == "__main__":
    main(__file__, "Losses", __doc__, cases, "pip install monai==1.6.1")
