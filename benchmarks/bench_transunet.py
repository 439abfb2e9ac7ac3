"""TransUNet, R50-ViT-B/16 with 224 x 224 pixels and 9 classes, beside the plain way of its reference.

The plain way (plain_transunet.py) computes in float32, with separate queries, keys and values, the softmax in full
view, and weights standardised on each pass. Ours has the same weights, folded for inference. In float32 both say the
same; in bfloat16, by autocast as medlearn sets it by default or with weights stored so, answers differ by rounding.
The bars in bfloat16 are those of a processor with AMX. Training is forward and backward. Where there is a GPU it is
measured besides, compiled, in bfloat16, beside the plain way in float32 with TensorFloat-32.
"""
from harness import Case, Setting, Side, main

BATCHES, PIXELS = (1, 4), 224
FASTER = {"float32": 1.12, "autocast": 2.0, "bfloat16": 2.8, "training": 2.0}
ON_GPU = {"inference": 4.0, "training": 3.0}
GPU_BATCH = 16


def size_of(pixels):
    """The published network's for its images; a tiny one's for smaller images."""
    from medlearn.nets.transunet import R50_VIT_B16, TINY

    return R50_VIT_B16 if pixels == PIXELS else TINY[16]


def network(pixels, device="cpu"):
    import torch

    from medlearn.nets.transunet import TransUNet

    torch.manual_seed(0)
    return TransUNet(classes=9, image_size=pixels, size=size_of(pixels), dropout=0.0).eval().to(device)


def image(batch, pixels, device="cpu"):
    import torch

    return torch.randn(batch, 3, pixels, pixels, generator=torch.Generator().manual_seed(0)).to(device)


def plain(pixels):
    from functools import partial

    from plain_transunet import plain_transunet

    size = size_of(pixels)
    return partial(plain_transunet, units=size.units, groups=size.groups, heads=size.heads, depth=size.depth)


def medlearn_inference(batch, pixels, precision, device="cpu"):
    import torch

    from medlearn.nets.folding import folded
    from medlearn.runtime import autocast

    net, x = folded(network(pixels, device)), image(batch, pixels, device)
    if precision == "bfloat16":
        net, x = net.to(torch.bfloat16), x.bfloat16()
    net = torch.compile(net) if device == "cuda" else net

    @torch.inference_mode()
    def call():
        with autocast(torch.device(device)) if precision == "autocast" else torch.autocast(device, enabled=False):
            return measures(net(x)) if precision == "float32" else untold(net(x))

    return call


def plain_inference(batch, pixels, told=False, device="cpu"):
    import torch
    from plain_transunet import parameters_of

    torch.set_float32_matmul_precision("high")                  # TensorFloat-32 where there is a GPU
    w, x, run = parameters_of(network(pixels, device)), image(batch, pixels, device), plain(pixels)

    @torch.inference_mode()
    def call():
        return (measures if told else untold)(run(w, x))

    return call


def medlearn_training(batch, pixels, device="cpu"):
    import torch

    from medlearn.runtime import autocast

    net, x = network(pixels, device).train(), image(batch, pixels, device)
    run = torch.compile(net) if device == "cuda" else net

    def call():
        with autocast(torch.device(device)):
            logits = run(x)
        backward(logits, list(net.parameters()))
        return []

    return call


def plain_training(batch, pixels, device="cpu"):
    import torch
    from plain_transunet import parameters_of

    torch.set_float32_matmul_precision("high")
    w, x, run = parameters_of(network(pixels, device)), image(batch, pixels, device), plain(pixels)
    learned = [p.requires_grad_() for name, p in w.items() if "running" not in name and p.is_floating_point()]

    def call():
        backward(run(w, x, training=True), learned)
        return []

    return call


def backward(logits, parameters):
    logits.float().square().mean().backward()
    for p in parameters:
        p.grad = None


def measures(logits):
    """Norms with different weights, which both sides must have in common to a millionth."""
    y = logits.double().flatten(2).square().sum((0, 2)).sqrt()
    return [*y.tolist(), logits.double()[..., ::7, ::5].norm().item()]


def untold(logits):
    logits.sum().item()                                         # waits for it
    return []


def cases(setting: Setting):
    pixels = 32 if setting.smoke else PIXELS

    def ours(what, batch, **how):
        return Side("medlearn", f"medlearn_{what}", {"batch": batch, "pixels": pixels} | how)

    def peer(what, batch, **how):
        return Side("torch", f"plain_{what}", {"batch": batch, "pixels": pixels} | how)

    for b in BATCHES:
        for precision, title in (("float32", "float32"), ("autocast", "autocast"), ("bfloat16", "bfloat16 weights")):
            yield Case(f"Inference, batch {b}, {title}", ours("inference", b, precision=precision),
                       peer("inference", b, told=precision == "float32"), FASTER[precision])
        yield Case(f"Training, batch {b}, autocast", ours("training", b), peer("training", b), FASTER["training"],
                   leaner=1.0)
    for what, faster in ON_GPU.items() if setting.gpu and not setting.smoke else ():
        how = {"precision": "bfloat16"} if what == "inference" else {}
        yield Case(f"On the GPU, {what}, batch {GPU_BATCH}", ours(what, GPU_BATCH, device="cuda", **how),
                   peer(what, GPU_BATCH, device="cuda"), faster)


if __name__ == "__main__":
    if not main(__file__, "TransUNet", __doc__, cases, "pip install -e .").gpu:
        print("No GPU here; where there is one the same command measures it besides.")
