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
from harness import Case, Setting, Side, main

PASSES, P = 20, 0.3
STAGES = ("at the bottleneck", "behind the first stage", "behind the second stage", "behind the last stage")
FLOAT32, BFLOAT16 = (2.5, 3.3, 5, 12), (5, 6, 9, 20)
AS_LEAN = 0.91


def unet(dropout, small):
    from medlearn.nets.unet import UNet

    return UNet(1, 4, dropout=dropout), (1, 1, 16, 16) if small else (4, 1, 128, 128)


def unetpp(dropout, small):
    from medlearn.nets.unetpp import UNetPlusPlus

    return UNetPlusPlus(1, 4, dropout=dropout), (1, 1, 16, 16) if small else (4, 1, 128, 128)


def transunet(dropout, small):
    from medlearn.nets.transunet import R50_VIT_B16, TINY, TransUNet

    side, size = (32, TINY[16]) if small else (224, R50_VIT_B16)
    net = TransUNet(classes=9, image_size=side, size=size, dropout=0.0, decoder_dropout=P)
    for layer, p in zip(net.dropout, dropout):
        layer.p = p
    return net, (1, 1, side, side)


NETWORKS = {"U-Net": unet, "TransUNet": transunet, "UNet++": unetpp}


def whole_passes(net, image, *, passes, generator):
    """The definition: each pass is a call of the network, with a seed of its own."""
    import torch

    for layer in net.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.train()
    for seed in torch.randint(2**63 - 1, (passes,), generator=generator).tolist():
        torch.manual_seed(seed)
        yield net(image)


def answers(name, stage, ours, fold, half, small):
    import torch

    from medlearn.nets.folding import folded
    from medlearn.runtime import autocast
    from medlearn.uncertainty import mc_dropout

    torch.manual_seed(0)
    net, shape = NETWORKS[name]([P * (stage == 3 - level) for level in range(4)], small)
    net, image = folded(net) if fold else net.eval(), torch.randn(shape)
    run = mc_dropout if ours else whole_passes

    @torch.no_grad()
    def call():
        generator = torch.Generator().manual_seed(0)
        with autocast(image.device) if half else torch.autocast("cpu", enabled=False):
            sum(logits.softmax(dim=1, dtype=torch.float32)
                for logits in run(net, image, passes=2 if small else PASSES, generator=generator))
        return []

    return call


def cases(setting: Setting):
    def case(name, stage, kind, faster, leaner=None, like_for_like=False):
        of = {"name": name, "stage": stage, "small": setting.smoke}
        half = kind == "bfloat16"
        ours = Side("medlearn", "answers", of | {"ours": True, "fold": True, "half": half})
        whole = Side("medlearn", "answers", of | {"ours": False, "fold": like_for_like, "half": half and like_for_like})
        return Case(f"{name}, {STAGES[stage]}, {kind}{', both folded' * like_for_like}", ours, whole, faster, leaner)

    for kind, bars in (("float32", FLOAT32), ("bfloat16", BFLOAT16)):
        for stage in range(len(STAGES)):
            yield case("U-Net", stage, kind, bars[stage], AS_LEAN)
        for stage in (0, 3):
            yield case("TransUNet", stage, kind, bars[stage], AS_LEAN if kind == "float32" else None)
        for stage in (0, 3):
            yield case("UNet++", stage, kind, None)
        yield case("U-Net", 0, kind, None, like_for_like=True)


if __name__ == "__main__":
    main(__file__, "MC dropout", __doc__, cases, "pip install -e .")
