"""An ensemble in turn beside the same in one vectorised call, and the memory of its decomposition beside one member's.

`Ensemble` in evaluation, folded, in float32, without gradients. "In turn" is `ensemble(x)`; "vectorised" is one call
with the weights of all members stacked, the stacking included. Perceptron: 1-64-64-2 for 256 numbers. Small U-Net:
widths 8, 16, 32. U-Net: widths 32 to 256, 8 images of 64 x 64. There is no bar: the table says which is faster here.
In the last case both sides answer for 4 images of 128 x 128, one network once and 20 with `RunningProbabilities`, whose
memory is to be at most 1.5 times the one's.
"""
from functools import partial

import passes
from harness import Case, Side, main


def perceptron():
    from torch import nn

    return nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def unet(widths):
    from medlearn.nets.unet import UNet

    return UNet(1, 4, widths=widths)


def answers(make, members, shape, how):
    import torch

    from medlearn.nets.folding import folded
    from medlearn.runtime import device
    from medlearn.uncertainty import Ensemble

    where = device(verbose=False)
    ensemble = folded(Ensemble(make, members)).to(where)
    call = ensemble if how == "in turn" else ensemble.vectorised
    return passes.inference(call, torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(where), half=False)


def decomposition(members):
    import torch

    from medlearn.nets.folding import folded
    from medlearn.uncertainty import Ensemble, RunningProbabilities

    ensemble = folded(Ensemble(partial(unet, WIDTHS), members))
    image = torch.randn(4, 1, 128, 128)

    @torch.inference_mode()
    def call():
        answer = RunningProbabilities()
        for logits in ensemble.stream(image):
            answer.add(logits.softmax(dim=1))
        answer.variances(), answer.entropies()
        return []

    return call


def one_answer():
    import torch

    from medlearn.nets.folding import folded

    return passes.inference(folded(unet(WIDTHS)), torch.randn(4, 1, 128, 128), half=False)


WIDTHS = (32, 64, 128, 256)
SMALL = partial(unet, (8, 16, 32))
CASES = []
for title, make, shape in (("perceptron", perceptron, (256, 1)),
                           ("small U-Net, one image of 32 x 32", SMALL, (1, 1, 32, 32)),
                           ("small U-Net, one image of 64 x 64", SMALL, (1, 1, 64, 64)),
                           ("U-Net, 8 images of 64 x 64", partial(unet, WIDTHS), (8, 1, 64, 64))):
    for members in (5, 20):
        sides = []
        for how in ("vectorised", "in turn"):
            name = f"{how}_{len(CASES)}"
            globals()[name] = partial(answers, make, members, shape, how)
            sides.append(Side("medlearn", name))
        CASES.append(Case(f"{members} members, {title}: vectorised, in turn", *sides))

twenty = partial(decomposition, 20)
CASES.append(Case("20 members decomposed, one member's answer", Side("medlearn", "twenty"),
                  Side("medlearn", "one_answer"), leaner=1 / 1.5))

if __name__ == "__main__":
    main(__file__, "Ensembles", __doc__, CASES, "pip install -e .")
