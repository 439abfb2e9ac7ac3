"""UNet++ beside MONAI's BasicUNetPlusPlus, and pruned beside whole: inference of 4 images of 256 x 256.

One channel in, 4 classes out, widths 32 to 512, a head at every depth; both have batch norm, ReLU in place, no biases
and channels last. Ours is folded for inference, and its heads are averaged. "bfloat16" is `medlearn.autocast`; its bar,
beside MONAI's in float32, is that of a processor with AMX, and then beside MONAI's in bfloat16 as well.
In the last case both sides are ours: depth 3, cut out of the network, beside its full depth 4, each with one head.
The networks are different ones and answer differently: here only time and memory are compared.
"""
from functools import partial

import passes
from harness import Case, Side, main

SHAPE = (4, 1, 256, 256)
WIDTHS = (32, 64, 128, 256, 512)
CLASSES = 4
AS_FAST, TWICE, A_QUARTER_FASTER = 1.0, 2.0, 1.25


def ours():
    from medlearn.nets.folding import folded
    from medlearn.nets.unetpp import UNetPlusPlus

    return folded(UNetPlusPlus(1, CLASSES, widths=WIDTHS))


def monai():
    import torch
    from monai.networks.nets import BasicUNetPlusPlus

    net = BasicUNetPlusPlus(2, 1, CLASSES, features=(*WIDTHS, WIDTHS[0]), deep_supervision=True,
                            act=("RELU", {"inplace": True}), norm="batch", bias=False)
    return net.eval().to(memory_format=torch.channels_last)


def pruned(depth):
    return ours().prune(depth)


def inference(make, half):
    import torch

    torch.manual_seed(0)
    return passes.inference(make(), torch.randn(SHAPE), half)


medlearn_float32, medlearn_bfloat16 = (partial(inference, ours, half) for half in (False, True))
monai_float32, monai_bfloat16 = (partial(inference, monai, half) for half in (False, True))
depth_3, depth_4 = (partial(inference, partial(pruned, depth), False) for depth in (3, 4))

CASES = [
    Case("in float32", Side("medlearn", "medlearn_float32"), Side("monai", "monai_float32"), AS_FAST),
    Case("in bfloat16, beside float32", Side("medlearn", "medlearn_bfloat16"), Side("monai", "monai_float32"), TWICE),
    Case("in bfloat16", Side("medlearn", "medlearn_bfloat16"), Side("monai", "monai_bfloat16")),
    Case("pruned to depth 3, beside depth 4", Side("medlearn", "depth_3"), Side("medlearn", "depth_4"),
         A_QUARTER_FASTER),
]

if __name__ == "__main__":
    main(__file__, "UNet++", __doc__, CASES, "pip install monai==1.6.1")
