"""Answers to the practice chapter "Design the eye"."""
from torch import nn
from torch.nn import functional as F

from helpers.answers import right, wrong
from medlearn.checks import registered

ID = "eye.design"
FIRST, BUDGET, HOSPITAL = "two slices of another size", "the budget", "a hospital you have not seen"


def layer(above, width=16, rate=1, stride=1):
    conv = nn.Conv2d(above, width, 3, padding=rate, dilation=rate, stride=stride)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


def row(rates=(1, 2, 4, 8, 1), strides=(2,), width=16):
    """Layers at some strides, layers at some rates, logits on the coarse grid."""
    down = [layer(width if i else 1, width, stride=stride) for i, stride in enumerate(strides)]
    return nn.Sequential(*down, *(layer(width, width, rate) for rate in rates), nn.Conv2d(width, 3, 1))


class Net(nn.Module):
    """The row, and its logits on the grid of the image; what a wrong answer does otherwise it overrides."""

    def __init__(self, **how):
        super().__init__()
        self.row = row(**how)

    def forward(self, x):
        return self.out(self.row(x), x)

    def out(self, z, x):
        return F.interpolate(z, size=x.shape[2:], mode="bilinear")


@right(ID)
def interpolated_to_the_image():
    return Net()


@right(ID)
def rates_in_another_order():
    return Net(rates=(1, 4, 8, 2, 1))


@right(ID)
class AClass(Net):
    def __init__(self):
        super().__init__(rates=(1, 2, 5, 7, 1))


@wrong(ID, at=FIRST)
def no_network():
    return lambda x: x.repeat(1, 3, 1, 1)


@wrong(ID, at=FIRST)
class ClassesOnTheLastAxis(Net):
    def out(self, z, x):
        return super().out(z, x).movedim(1, -1)


@wrong(ID, at=FIRST)
class WithoutABatch(Net):
    def out(self, z, x):
        return super().out(z, x)[0]


@wrong(ID, at=FIRST)
class InPlace(Net):
    def forward(self, x):
        return super().forward(x.sub_(0.5))


@wrong(ID, at=FIRST)
class Float64(Net):
    def out(self, z, x):
        return super().out(z, x).double()


@wrong(ID, at=FIRST)
def for_volumes_only():
    return nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 3, 1))


@wrong(ID, at=FIRST)
class ForTheVisibleSizeOnly(Net):
    def out(self, z, x):
        return F.interpolate(z, size=(112, 80), mode="bilinear")


@wrong(ID, at=FIRST)
class StandardisedOverTheBatch(Net):
    def forward(self, x):
        return super().forward((x - x.mean()) / x.std())


@wrong(ID, at=FIRST)
class OnTheCoarseGrid(Net):
    def out(self, z, x):
        return z


ONE = Net()


@wrong(ID, at=FIRST)
def always_the_same_network():
    return ONE


@wrong(ID, at=FIRST)
def reads_the_reference():
    from medlearn.checks.eye import eye
    return eye()


@wrong(ID, at=FIRST)
def reads_the_reference_by_its_name():
    return registered()[ID].reference()


@wrong(ID, at=BUDGET)
def too_many_weights():
    return Net(strides=(2, 2), width=32)


@wrong(ID, at=BUDGET)
def at_full_resolution():
    return Net(strides=(1,))


@wrong(ID, at=HOSPITAL)
def too_coarse():
    return Net(rates=(1,), strides=(2, 2, 2))


@wrong(ID, at=HOSPITAL)
def too_near():
    return Net(rates=(), strides=(2,))


@wrong(ID, at=HOSPITAL)
class LeftAsRight(Net):
    """Shown each slice with its mirror image on it, and averaged with its own mirror image: it marks both kidneys."""

    def forward(self, x):
        z = self.row((x + x.flip(2)) / 2)
        return self.out((z + z.flip(2)) / 2, x)
