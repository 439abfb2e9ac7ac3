"""TransUNet, R50-ViT-B/16 with 224 x 224 pixels and 9 classes, beside the plain way of its reference.

The plain way (plain_transunet.py) computes in float32, with separate queries, keys and values, the softmax in full
view, and weights standardised on each pass. Ours has the same weights, folded for inference. In float32 both say the
same; in bfloat16, by autocast as medlearn sets it by default or with weights stored so, answers differ by rounding.
The bars in bfloat16 are those of a processor with AMX. Training is forward and backward. Where there is a GPU it is
measured besides, compiled, in bfloat16, beside the plain way in float32 with TensorFloat-32.
"""
import importlib.util
from functools import partial

from harness import Case, Side, main

BATCHES = (1, 4)
FASTER = {"float32": 1.12, "autocast": 2.0, "bfloat16": 2.8, "training": 2.0}
ON_GPU = {"inference": 4.0, "training": 3.0}
GPU_BATCH = 16


def network(device="cpu"):
    import torch

    from medlearn.nets.transunet import TransUNet

    torch.manual_seed(0)
    return TransUNet(classes=9, image_size=224, dropout=0.0).eval().to(device)


def image(batch, device="cpu"):
    import torch

    return torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(device)


def medlearn_inference(batch, precision, device="cpu"):
    import torch

    from medlearn.nets.folding import folded
    from medlearn.runtime import autocast

    net, x = folded(network(device)), image(batch, device)
    if precision == "bfloat16":
        net, x = net.to(torch.bfloat16), x.bfloat16()
    net = torch.compile(net) if device == "cuda" else net

    @torch.inference_mode()
    def call():
        with autocast(torch.device(device)) if precision == "autocast" else torch.autocast(device, enabled=False):
            return measures(net(x)) if precision == "float32" else untold(net(x))

    return call


def plain_inference(batch, told=False, device="cpu"):
    import torch
    from plain_transunet import parameters_of, plain_transunet

    torch.set_float32_matmul_precision("high")                  # TensorFloat-32 where there is a GPU
    w, x = parameters_of(network(device)), image(batch, device)

    @torch.inference_mode()
    def call():
        return (measures if told else untold)(plain_transunet(w, x))

    return call


def medlearn_training(batch, device="cpu"):
    import torch

    from medlearn.runtime import autocast

    net, x = network(device).train(), image(batch, device)
    run = torch.compile(net) if device == "cuda" else net

    def call():
        with autocast(torch.device(device)):
            logits = run(x)
        backward(logits, list(net.parameters()))
        return []

    return call


def plain_training(batch, device="cpu"):
    import torch
    from plain_transunet import parameters_of, plain_transunet

    torch.set_float32_matmul_precision("high")
    w, x = parameters_of(network(device)), image(batch, device)
    learned = [p.requires_grad_() for name, p in w.items() if "running" not in name and p.is_floating_point()]

    def call():
        backward(plain_transunet(w, x, training=True), learned)
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


for b in BATCHES:
    for p in ("float32", "autocast", "bfloat16"):
        globals()[f"medlearn_{p}_{b}"] = partial(medlearn_inference, b, p)
    globals().update({f"plain_{b}": partial(plain_inference, b),
                      f"plain_told_{b}": partial(plain_inference, b, told=True),
                      f"plain_training_{b}": partial(plain_training, b),
                      f"medlearn_training_{b}": partial(medlearn_training, b)})
for what, (ours, peer) in {"inference": (partial(medlearn_inference, precision="bfloat16"), plain_inference),
                           "training": (medlearn_training, plain_training)}.items():
    globals().update({f"medlearn_gpu_{what}": partial(ours, GPU_BATCH, device="cuda"),
                      f"plain_gpu_{what}": partial(peer, GPU_BATCH, device="cuda")})


def cases(gpu):
    ours, peer = (lambda what: Side("medlearn", f"medlearn_{what}")), (lambda what: Side("torch", f"plain_{what}"))
    for b in BATCHES:
        yield Case(f"Inference, batch {b}, float32", ours(f"float32_{b}"), peer(f"told_{b}"), FASTER["float32"])
        yield Case(f"Inference, batch {b}, autocast", ours(f"autocast_{b}"), peer(b), FASTER["autocast"])
        yield Case(f"Inference, batch {b}, bfloat16 weights", ours(f"bfloat16_{b}"), peer(b), FASTER["bfloat16"])
        training = f"training_{b}"
        yield Case(f"Training, batch {b}, autocast", ours(training), peer(training), FASTER["training"], leaner=1.0)
    for what, faster in ON_GPU.items() if gpu else ():
        yield Case(f"On the GPU, {what}, batch {GPU_BATCH}", ours(f"gpu_{what}"), peer(f"gpu_{what}"), faster)


if __name__ == "__main__":
    gpu = False
    if importlib.util.find_spec("torch"):
        import torch

        gpu = torch.cuda.is_available()
    main(__file__, "TransUNet", __doc__, list(cases(gpu)), "pip install -e .")
    if not gpu:
        print("No GPU here; where there is one the same command measures it besides.")
