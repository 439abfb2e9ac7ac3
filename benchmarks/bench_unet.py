"""U-Nets beside MONAI's: inference, and forward with backward; 2D is 4 images of 256 x 256, 3D 2 volumes of 96^3.

One channel in, 4 classes out, five levels of the same widths: 32 to 512 in 2D, 16 to 256 in 3D. Every network has batch
norm, ReLU in place, no biases and channels last, in which MONAI's too are fastest on a CPU. MONAI's UNet halves the
image in its first convolution and so does a fraction of the arithmetic; it gets four times the images in 2D and nine
times in 3D, which makes it about equal, and no bar for memory. Ours is folded for inference, its batch norms inside the
kernels.
bfloat16 is `medlearn.autocast`; its bars, beside the fastest of MONAI's full-size networks in float32, are those of a
processor with AMX; then it is measured beside MONAI's in bfloat16 as well.
The networks are different ones and answer differently: here only time and memory are compared.
"""
import importlib.util
from itertools import product

import passes
from harness import Case, Setting, Side, main

SHAPES = {2: (4, 1, 256, 256), 3: (2, 1, 96, 96, 96)}
SMALL, NARROW = {2: (2, 1, 32, 32), 3: (2, 1, 32, 32, 32)}, (2, 4, 4, 8, 8)
WIDTHS = {2: (32, 64, 128, 256, 512), 3: (16, 32, 64, 128, 256)}
MORE_IMAGES = {2: 4, 3: 9}          # for MONAI's UNet
CLASSES = 4
PEERS = ("BasicUNet", "DynUNet", "UNet")
FASTEST = "DynUNet"
AS_FAST, TWICE, AS_LEAN = 1.0, 2.0, 1.0


def network(dim, name, widths):
    import torch

    return (ours(dim, widths) if name == "medlearn" else monai(dim, name, widths)).to(
        memory_format={2: torch.channels_last, 3: torch.channels_last_3d}[dim])


def ours(dim, widths):
    from medlearn.nets.unet import UNet

    return UNet(1, CLASSES, dim=dim, widths=tuple(widths))


def monai(dim, name, widths):
    from monai.networks import nets

    levels, relu = len(widths), ("RELU", {"inplace": True})
    if name == "BasicUNet":
        return nets.BasicUNet(dim, 1, CLASSES, features=(*widths, widths[0]), act=relu, norm="batch", bias=False)
    if name == "DynUNet":
        return nets.DynUNet(dim, 1, CLASSES, kernel_size=[3] * levels, strides=[1] + [2] * (levels - 1),
                            upsample_kernel_size=[2] * (levels - 1), filters=widths, norm_name="batch", act_name=relu)
    return nets.UNet(dim, 1, CLASSES, channels=widths, strides=[2] * (levels - 1), num_res_units=2, act=relu,
                     norm="batch", bias=False)


def images(dim, name, shape):
    import torch

    batch, *shape = shape
    return torch.randn(batch * (MORE_IMAGES[dim] if name == "UNet" else 1), *shape)


def inference(name, dim, widths, shape, half):
    import torch

    from medlearn.nets.folding import folded

    torch.manual_seed(0)
    net, x = network(dim, name, widths).eval(), images(dim, name, shape)
    net = folded(net) if name == "medlearn" else net
    return passes.inference(net, x, half)


def training(name, dim, widths, shape, half):
    import torch

    from medlearn.runtime import autocast

    torch.manual_seed(0)
    net, x = network(dim, name, widths).train(), images(dim, name, shape)

    def call():
        with autocast(x.device) if half else torch.autocast("cpu", enabled=False):
            logits = net(x)
        logits.backward(torch.ones_like(logits))
        net.zero_grad()
        return []

    return call


def cases(setting: Setting):
    for d, what in product(SHAPES, ("inference", "training")):
        def side(package, name, precision):
            size = {"widths": NARROW, "shape": SMALL[d]} if setting.smoke else {"widths": WIDTHS[d], "shape": SHAPES[d]}
            return Side(package, what, {"name": name, "dim": d, "half": precision == "bfloat16"} | size)

        def case(peer, precision, peers_precision, faster=None, leaner=None):
            beside = f"{peer} in {peers_precision}" if peers_precision != precision else peer
            return Case(f"{d}D {what} in {precision}, beside {beside}", side("medlearn", "medlearn", precision),
                        side("monai", peer, peers_precision), faster, leaner)

        leaner = AS_LEAN if (d, what) == (3, "training") else None
        for peer in PEERS:
            yield case(peer, "float32", "float32", AS_FAST, leaner if peer != "UNet" else None)
        yield case(FASTEST, "bfloat16", "float32", TWICE, leaner)
        for peer in PEERS:
            yield case(peer, "bfloat16", "bfloat16", None, leaner if peer != "UNet" else None)


def sizes():
    """Of each network its parameters and the multiplications of one pass, counted without computing it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    for d in SHAPES:
        for name in ("medlearn", *PEERS):
            with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
                net = network(d, name, WIDTHS[d]).eval()
                net(images(d, name, SHAPES[d]))
            millions = sum(p.numel() for p in net.parameters()) / 1e6
            yield f"{name} {d}D: {millions:.1f} M parameters, {counter.get_total_flops() / 2e9:.0f} GMAC"


if __name__ == "__main__":
    about = __doc__
    if all(map(importlib.util.find_spec, ("torch", "monai", "medlearn"))):
        about += "\n" + ".\n".join(sizes()) + "."
    main(__file__, "U-Net", about, cases, "pip install monai==1.6.1")
