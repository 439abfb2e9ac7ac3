"""On a GPU: U-Nets and UNet++ beside MONAI's, and MC dropout beside whole passes.

Losses, TransUNet and Rician noise, which a CPU measures as well, have their GPU cases in their own files. The networks
are those of bench_unet.py and bench_unetpp.py, under `medlearn.autocast` and with channels last; training is forward
with backward. 2D is 16 images of 256 x 256, 3D 2 volumes of 96^3.
"""
import bench_unet
import bench_unetpp
import passes
from bench_mc_dropout import whole_passes
from harness import Case, Setting, Side

SHAPES = {2: (16, 1, 256, 256), 3: (2, 1, 96, 96, 96)}
BARS = {2: 1.5, 3: None}
PEERS = ("BasicUNet", "DynUNet")
PASSES, P = 20, 0.3


def training(name, dim, widths, shape):
    import torch

    from medlearn.runtime import autocast

    torch.manual_seed(0)
    net, x = bench_unet.network(dim, name, widths).cuda().train(), torch.randn(shape, device="cuda")

    def call():
        with autocast(x.device):
            logits = net(x)
        logits.float().square().mean().backward()
        net.zero_grad()
        return []

    return call


def unetpp(make, widths, shape):
    import torch

    net = {"ours": bench_unetpp.ours, "monai": bench_unetpp.monai}[make](widths)
    return passes.inference(net.cuda(), torch.randn(shape, device="cuda"), half=True)


def dropout(ours, widths, shape, times):
    import torch

    from medlearn.nets import UNet
    from medlearn.runtime import autocast
    from medlearn.uncertainty import mc_dropout

    torch.manual_seed(0)
    net = UNet(1, 4, widths=tuple(widths), dropout=[0.0] * (len(widths) - 1) + [P]).cuda().eval()
    image, run = torch.randn(shape, device="cuda"), mc_dropout if ours else whole_passes

    @torch.no_grad()
    def call():
        generator = torch.Generator().manual_seed(0)
        with autocast(image.device):
            sum(logits.softmax(dim=1, dtype=torch.float32)
                for logits in run(net, image, passes=times, generator=generator))
        return []

    return call


def cases(setting: Setting):
    for dim in SHAPES if setting.gpu else ():
        of = {"widths": bench_unet.NARROW, "shape": bench_unet.SMALL[dim]} if setting.smoke else \
            {"widths": bench_unet.WIDTHS[dim], "shape": SHAPES[dim]}
        for peer in PEERS:
            ours, theirs = {"name": "medlearn", "dim": dim} | of, {"name": peer, "dim": dim} | of
            yield Case(f"U-Net {dim}D on the GPU, training, beside {peer}", Side("medlearn", "training", ours),
                       Side("monai", "training", theirs), BARS[dim])
        if dim == 2:
            yield Case("UNet++ on the GPU, inference", Side("medlearn", "unetpp", {"make": "ours"} | of),
                       Side("monai", "unetpp", {"make": "monai"} | of))
            of |= {"times": 2 if setting.smoke else PASSES}
            yield Case(f"MC dropout on the GPU, {of['times']} passes", Side("medlearn", "dropout", {"ours": True} | of),
                       Side("medlearn", "dropout", {"ours": False} | of))
