"""MC dropout beside the passes it stands for: 20 answers of one network to the same images.

U-Net and UNet++: widths 32 to 256, one channel in, 4 classes out, 4 images of 128 x 128. TransUNet: the published
one, 9 classes, one image of 224 x 224, without dropout in its transformer. p = 0.3 at one place: at the bottleneck, or
behind the first, second or last stage of the decoder (in UNet++: at the coarsest row, and at the finest).
The other side is the same network in float32, as trained, asked 20 times with its dropout on and all else in
evaluation. Ours is `mc_dropout` with the same seeds, the network folded for inference. "bfloat16" is
`medlearn.autocast`; its bars are those of a processor with AMX. In the cases "folded" the other side is folded too, and
of the same precision: that is what running the deterministic part once brings by itself.
Both sides add up the probabilities of each pass. 0.91 times leaner is 1.1 times the memory. Autocast keeps a copy of
the weights in bfloat16, which for the TransUNet is 200 MiB, so there it has no bar of memory.
"""
from functools import partial

from harness import Case, Side, main

PASSES, P = 20, 0.3
STAGES = ("at the bottleneck", "behind the first stage", "behind the second stage", "behind the last stage")
FLOAT32, BFLOAT16 = (2.5, 3.3, 5, 12), (5, 6, 9, 20)
AS_LEAN = 0.91


def unet(dropout):
    from medlearn.nets.unet import UNet

    return UNet(1, 4, dropout=dropout), (4, 1, 128, 128)


def unetpp(dropout):
    from medlearn.nets.unetpp import UNetPlusPlus

    return UNetPlusPlus(1, 4, dropout=dropout), (4, 1, 128, 128)


def transunet(dropout):
    from medlearn.nets.transunet import TransUNet

    net = TransUNet(classes=9, image_size=224, dropout=0.0, decoder_dropout=P)
    for layer, p in zip(net.dropout, dropout):
        layer.p = p
    return net, (1, 1, 224, 224)


def whole_passes(net, image, passes, generator):
    """The definition: each pass is a call of the network, with a seed of its own."""
    import torch

    for layer in net.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.train()
    for seed in torch.randint(2**63 - 1, (passes,), generator=generator).tolist():
        torch.manual_seed(seed)
        yield net(image)


def answers(make, stage, ours, fold, half):
    import torch

    from medlearn.nets.folding import folded
    from medlearn.runtime import autocast
    from medlearn.uncertainty import mc_dropout

    torch.manual_seed(0)
    net, shape = make([P * (stage == 3 - level) for level in range(4)])
    net, image = folded(net) if fold else net.eval(), torch.randn(shape)
    passes = mc_dropout if ours else whole_passes

    @torch.no_grad()
    def call():
        generator = torch.Generator().manual_seed(0)
        with autocast(image.device) if half else torch.autocast("cpu", enabled=False):
            sum(logits.softmax(dim=1, dtype=torch.float32)
                for logits in passes(net, image, PASSES, generator=generator))
        return []

    return call


CASES = []


def add_case(title, make, stage, half, bar, leaner=None, like_for_like=False):
    """Its two sides are functions of this file, as the harness wants them."""
    names = f"ours_{len(CASES)}", f"whole_{len(CASES)}"
    globals()[names[0]] = partial(answers, make, stage, True, True, half)
    globals()[names[1]] = partial(answers, make, stage, False, like_for_like, half and like_for_like)
    CASES.append(Case(title, *(Side("medlearn", name) for name in names), bar, leaner))


for kind, half, bars in (("float32", False, FLOAT32), ("bfloat16", True, BFLOAT16)):
    for stage, where in enumerate(STAGES):
        add_case(f"U-Net, {where}, {kind}", unet, stage, half, bars[stage], AS_LEAN)
    for stage in (0, 3):
        add_case(f"TransUNet, {STAGES[stage]}, {kind}", transunet, stage, half, bars[stage], None if half else AS_LEAN)
    for stage in (0, 3):
        add_case(f"UNet++, {STAGES[stage]}, {kind}", unetpp, stage, half, None)
    add_case(f"U-Net, {STAGES[0]}, {kind}, both folded", unet, 0, half, None, like_for_like=True)

if __name__ == "__main__":
    main(__file__, "MC dropout", __doc__, CASES, "pip install -e .")
