"""An ensemble in turn beside the same in one vectorised call, and the memory of its decomposition beside one member's.

`Ensemble` in evaluation, folded, in float32, without gradients. "In turn" is `ensemble(x)`; "vectorised" is one call
with the weights of all members stacked, the stacking included. Perceptron: 1-64-64-2 for 256 numbers. Small U-Net:
widths 8, 16, 32. U-Net: widths 32 to 256, 8 images of 64 x 64. There is no bar: the table says which is faster here.
In the last case both sides answer for 4 images of 128 x 128, one network once and 20 with `RunningProbabilities`, whose
memory is to be at most 1.5 times the one's.
"""
from functools import partial

import passes
from harness import Case, Setting, Side, main

WIDTHS, NARROW = (32, 64, 128, 256), (8, 16, 32)


def perceptron():
    from torch import nn

    return nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def unet(widths):
    from medlearn.nets.unet import UNet

    return UNet(1, 4, widths=tuple(widths))


def answers(how, members, shape, widths=None):
    """`how`: "vectorised" or "in turn"; `widths` of U-Nets, none of perceptrons."""
    import torch

    from medlearn.nets.folding import folded
    from medlearn.runtime import device
    from medlearn.uncertainty import Ensemble

    where = device(verbose=False)
    ensemble = folded(Ensemble(partial(unet, widths) if widths else perceptron, members)).to(where)
    call = ensemble if how == "in turn" else ensemble.vectorised
    return passes.inference(call, torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(where), half=False)


def decomposition(members, shape, widths):
    import torch

    from medlearn.nets.folding import folded
    from medlearn.uncertainty import Ensemble, RunningProbabilities

    ensemble = folded(Ensemble(partial(unet, widths), members))
    image = torch.randn(shape)

    @torch.inference_mode()
    def call():
        answer = RunningProbabilities()
        for logits in ensemble.stream(image):
            answer.add(logits.softmax(dim=1))
        answer.variances(), answer.entropies()
        return []

    return call


def one_answer(shape, widths):
    import torch

    from medlearn.nets.folding import folded

    return passes.inference(folded(unet(widths)), torch.randn(shape), half=False)


def cases(setting: Setting):
    wide = NARROW if setting.smoke else WIDTHS
    for title, shape, widths in (("perceptron", (256, 1), None),
                                 ("small U-Net, one image of 32 x 32", (1, 1, 32, 32), NARROW),
                                 ("small U-Net, one image of 64 x 64", (1, 1, 64, 64), NARROW),
                                 ("U-Net, 8 images of 64 x 64", (8, 1, 64, 64), wide)):
        for members in (2,) if setting.smoke else (5, 20):
            of = {"members": members, "shape": shape, "widths": widths}
            vectorised, in_turn = (Side("medlearn", "answers", {"how": how} | of) for how in ("vectorised", "in turn"))
            yield Case(f"{members} members, {title}: vectorised, in turn", vectorised, in_turn)
    of = {"shape": (1, 1, 32, 32) if setting.smoke else (4, 1, 128, 128), "widths": wide}
    yield Case(f"{members} members decomposed, one member's answer",
               Side("medlearn", "decomposition", {"members": members} | of), Side("medlearn", "one_answer", of),
               leaner=1 / 1.5)


if __name__ == "__main__":
    main(__file__, "Ensembles", __doc__, cases, "pip install -e .")
