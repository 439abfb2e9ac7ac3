"""UNet++ beside MONAI's BasicUNetPlusPlus, and pruned beside whole: inference of 4 images of 256 x 256.

One channel in, 4 classes out, widths 32 to 512, a head at every depth; both have batch norm, ReLU in place, no biases
and channels last. Ours is folded for inference, and its heads are averaged. "bfloat16" is `medlearn.autocast`; its bar,
beside MONAI's in float32, is that of a processor with AMX, and then beside MONAI's in bfloat16 as well.
In the last case both sides are ours: depth 3, cut out of the network, beside its full depth 4, each with one head.
The networks are different ones and answer differently: here only time and memory are compared.
"""
import passes
from harness import Case, Setting, Side, main

SHAPE, SMALL = (4, 1, 256, 256), (1, 1, 32, 32)
WIDTHS, NARROW = (32, 64, 128, 256, 512), (2, 4, 4, 8, 8)
CLASSES = 4
AS_FAST, TWICE, A_QUARTER_FASTER = 1.0, 2.0, 1.25


def ours(widths):
    from medlearn.nets.folding import folded
    from medlearn.nets.unetpp import UNetPlusPlus

    return folded(UNetPlusPlus(1, CLASSES, widths=tuple(widths)))


def monai(widths):
    import torch
    from monai.networks.nets import BasicUNetPlusPlus

    net = BasicUNetPlusPlus(2, 1, CLASSES, features=(*widths, widths[0]), deep_supervision=True,
                            act=("RELU", {"inplace": True}), norm="batch", bias=False)
    return net.eval().to(memory_format=torch.channels_last)


def inference(make, widths, shape, half=False, depth=None):
    import torch

    torch.manual_seed(0)
    net = {"ours": ours, "monai": monai}[make](widths)
    return passes.inference(net.prune(depth) if depth else net, torch.randn(shape), half)


def cases(setting: Setting):
    def side(package, make, **how):
        widths, shape = (NARROW, SMALL) if setting.smoke else (WIDTHS, SHAPE)
        return Side(package, "inference", {"make": make, "widths": widths, "shape": shape} | how)

    ours32, peer32 = side("medlearn", "ours"), side("monai", "monai")
    ours16, peer16 = side("medlearn", "ours", half=True), side("monai", "monai", half=True)
    yield Case("in float32", ours32, peer32, AS_FAST)
    yield Case("in bfloat16, beside float32", ours16, peer32, TWICE)
    yield Case("in bfloat16", ours16, peer16)
    three, four = (side("medlearn", "ours", depth=depth) for depth in (3, 4))
    yield Case("pruned to depth 3, beside depth 4", three, four, A_QUARTER_FASTER)


if __name__ == "__main__":
    main(__file__, "UNet++", __doc__, cases, "pip install monai==1.6.1")
