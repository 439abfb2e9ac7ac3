"""MC dropout: each pass is the network's own answer for the same masks, and only what a mask reaches runs again."""
import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medlearn.base.private import TorchDispatchMode
from medlearn.nets.folding import folded
from medlearn.nets.transunet import TransUNet
from medlearn.nets.unet import UNet
from medlearn.nets.unetpp import UNetPlusPlus
from medlearn.uncertainty import mc_dropout

SMALL = (4, 6, 8)
NETS = {
    "U-Net": lambda: UNet(1, 3, widths=SMALL, dropout=0.3),
    "U-Net, fine": lambda: UNet(1, 3, widths=SMALL, dropout=(0.2, 0.4, 0)),
    "U-Net, residual, deep": lambda: UNet(1, 3, widths=SMALL, dropout=0.5, residual=True, deep_supervision=True),
    "U-Net without skips": lambda: UNet(1, 3, widths=SMALL, dropout=0.5, skips=False),
    "U-Net in 3D": lambda: UNet(1, 3, widths=SMALL, dropout=(0, 0.3, 0.3), dim=3),
    "U-Net of 2015": lambda: UNet.ronneberger2015(1, 3),
    "UNet++": lambda: UNetPlusPlus(1, 3, widths=SMALL, dropout=0.3),
    "UNet++, fine, in 3D": lambda: UNetPlusPlus(1, 3, widths=SMALL, dropout=(0.2, 0.2, 0), dim=3),
    "UNet++, one head": lambda: UNetPlusPlus(1, 3, widths=SMALL, dropout=(0, 0.4, 0), deep_supervision=False),
    "TransUNet": lambda: TransUNet.tiny(classes=3, image_size=32, decoder_dropout=0.3),
    "TransUNet, transformer": lambda: TransUNet.tiny(classes=3, image_size=32, dropout=0.3),
    "TransUNet, both": lambda: TransUNet.tiny(classes=3, image_size=32, dropout=0.1, decoder_dropout=0.3,
                                              checkpointing=True),
    "torch's own layers": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout2d(0.4),
                                                nn.ReLU(inplace=True), nn.AlphaDropout(0.2), nn.Conv2d(4, 3, 1)),
    "nested": lambda: Nested(),
    "part in float32": lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.3), InFloat32(4, 3)),
}
SIZES = {"U-Net of 2015": (188, 188), "TransUNet": (32, 32), "TransUNet, transformer": (32, 32),
         "TransUNet, both": (32, 32), "U-Net in 3D": (9, 7, 5), "UNet++, fine, in 3D": (9, 7, 5)}
nets = pytest.mark.parametrize("name", NETS)
precisions = pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])


class InFloat32(nn.Linear):
    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float().movedim(1, -1)).movedim(-1, 1)


class Nested(nn.Module):
    """A network in a network, with a skip around a dropout, a map that is changed in place, and one made on the way."""

    def __init__(self):
        super().__init__()
        self.inner, self.drop, self.out = UNet(1, 4, widths=SMALL), nn.Dropout(0.4), nn.Conv2d(4, 3, 1)

    def forward(self, image):
        x = self.inner(image)
        scale = torch.full_like(x, 0.5)
        first, second = (self.drop(x) * scale).split([1, 3], dim=1)
        y = torch.cat([second.clone().relu_(), first], dim=1)
        x = x + 1
        x += y                                                  # a constant takes on what was drawn
        return self.out(x)


def made(name):
    torch.manual_seed(0)
    net = NETS[name]()
    image = torch.randn(2, 1, *SIZES.get(name, (13, 9)), generator=torch.Generator().manual_seed(1))
    if name != "U-Net of 2015":
        net.train()(image)                                      # norms that do something
    return net.eval(), image


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def whole_passes(net, image, passes, generator):
    """The definition, each pass a call of the network."""
    net.eval()
    for layer in net.modules():
        if isinstance(layer, (nn.modules.dropout._DropoutNd)):
            layer.train()
    for seed in torch.randint(2**63 - 1, (passes,), generator=generator).tolist():
        with torch.random.fork_rng(devices=[image.device] if image.is_cuda else []):
            torch.manual_seed(seed)
            yield net(image)
    net.eval()


class Counted(TorchDispatchMode):
    """How many convolutions and matrix products ran."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += operation in (torch.ops.aten.convolution.default, torch.ops.aten.addmm.default)
        return operation(*args, **(kwargs or {}))


@contextmanager
def unchanged(net):
    """torch's generator, the modes, the weights and the counts of norms."""
    random, modes = torch.get_rng_state(), [m.training for m in net.modules()]
    state = {name: x.clone() for name, x in net.state_dict().items()}
    yield
    assert torch.equal(torch.get_rng_state(), random) and [m.training for m in net.modules()] == modes
    assert all(torch.equal(x, state[name]) for name, x in net.state_dict().items())


# the same answers

@nets
@precisions
def test_each_pass_is_the_networks_answer_for_the_same_masks_bit_for_bit(name, half):
    net, image = made(name)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        ours = list(mc_dropout(net, image, passes=4, generator=generator()))
        expected = list(whole_passes(net, image, 4, generator()))
    assert len(ours) == 4 and all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, expected))
    if not half:
        assert not torch.equal(ours[0], ours[1]) and not torch.equal(ours[1], ours[2])


@pytest.mark.parametrize("name", ["U-Net", "U-Net in 3D", "UNet++", "TransUNet"])
def test_a_folded_network_gives_the_answers_of_the_original(name):
    net, image = made(name)
    for a, b in zip(mc_dropout(folded(net), image, passes=3, generator=generator()),
                    whole_passes(net, image, 3, generator())):
        assert torch.allclose(a, b, atol=1e-4)


def test_the_mean_over_many_passes_is_the_expectation():
    """Linear behind the dropout, so that the mean over all masks is the answer without: 4 standard errors."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Dropout(0.3), nn.Conv2d(4, 2, 1)).eval()
    image = torch.randn(1, 1, 16, 16)
    z = torch.stack(list(mc_dropout(net, image, passes=400, generator=generator())))
    error = (z.mean(0) - net(image).detach()).abs() / (z.std(0) / 20 + 1e-9)
    assert error.mean() == pytest.approx((2 / torch.pi) ** 0.5, abs=0.1) and error.max() < 5


def test_one_pass_and_an_empty_batch():
    net, image = made("U-Net")
    (one,) = mc_dropout(net, image, passes=1, generator=generator())
    assert torch.equal(one, next(whole_passes(net, image, 1, generator())))
    assert [z.shape for z in mc_dropout(net, image[:0], passes=3, generator=generator())] == [(0, 3, 13, 9)] * 3


# and no more work than that

@pytest.mark.parametrize("make, whole, again", [
    (lambda: UNet(widths=SMALL, dropout=(0, 0, 0.3)), 15, 7),       # 2 narrowing, and of 2 blocks all but a skip's half
    (lambda: UNet(widths=SMALL, dropout=(0, 0.3, 0)), 15, 4),
    (lambda: UNet(widths=SMALL, dropout=(0.3, 0, 0)), 15, 1),
    (lambda: UNet(widths=SMALL, dropout=0.3, skips=False), 13, 7),
    (lambda: UNetPlusPlus(widths=SMALL, dropout=(0, 0, 0.3), deep_supervision=False), 20, 7),
    (lambda: TransUNet.tiny(classes=2, image_size=32, decoder_dropout=0.3), 43, 9),    # of 4 doublings 8, and the head
], ids=["the coarsest level", "the middle one", "the finest", "no skips", "UNet++", "TransUNet"])
def test_what_no_mask_reaches_runs_once(make, whole, again):
    net, image = make().eval(), torch.randn(1, 1, 32, 32)
    with torch.no_grad(), Counted() as once:
        net(image)
    passes = mc_dropout(net, image, passes=5, generator=generator())
    next(passes)
    with Counted() as rest:
        assert len(list(passes)) == 4
    assert rest.count == 4 * again
    assert once.count == whole


def test_dropout_in_the_transformer_shares_the_cnn_alone():
    net, image = made("TransUNet, transformer")
    calls = []
    for part in (net.cnn, net.transformer, net.head):
        part.register_forward_hook(lambda module, _, __: calls.append(type(module).__name__))
    answers = mc_dropout(net, image, passes=3, generator=generator())
    with Counted() as rest:
        list(answers)
    with torch.no_grad(), Counted() as whole:
        net(image)
    assert calls[:3] == ["ResNetV2", "Transformer", "Conv2d"] and 0 < rest.count < 2 * whole.count


# what is not safe to split is not split

class Looks(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.a, self.b = nn.Dropout(0.5), nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, image):
        x = self.drop(image)
        return self.a(x) if x.sum() > 0 else self.b(x)


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, image):
        self.seen += 1
        return self.drop(image) * self.seen


class Renames(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, image):
        x = torch.zeros_like(image)
        left = x[..., :1]
        x += self.drop(image)
        return torch.cat([x, left.expand_as(x)], dim=1)


class ChangesLater(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, image):
        x = image * 2
        y = self.drop(torch.ones_like(x)) * x
        x.mul_(3)
        return y + x


class OwnGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop, self.generator = nn.Dropout(0.5), torch.Generator()

    def forward(self, image):
        self.generator.manual_seed(0)
        return self.drop(image) + torch.rand(image.shape, generator=self.generator)


class Leaves(nn.Module):
    """Takes numbers from a draw out of torch, and works with what comes back."""

    def __init__(self, how):
        super().__init__()
        self.drop, self.how = nn.Dropout(0.5), how

    def forward(self, image):
        x = self.drop(image)
        return x * float(self.how(x.mean()))


LEAVE = {"tolist": lambda x: x.tolist(), "item": lambda x: x.item(), "numpy": lambda x: x.detach().numpy(),
         "array": np.asarray, "dlpack": np.from_dlpack, "deepcopy": copy.deepcopy, "data": lambda x: x.data.tolist(),
         "a list of numbers": lambda x: sum(y.tolist() for y in x[None].unbind())}


@pytest.mark.parametrize("how", LEAVE)
def test_a_network_whose_numbers_leave_torch_is_run_in_whole(how):
    net, image = Leaves(LEAVE[how]).eval(), torch.randn(2, 1, 5, 4)
    ours = list(mc_dropout(net, image, passes=8, generator=generator()))
    assert all(torch.equal(a, b) for a, b in zip(ours, whole_passes(net, image, 8, generator()), strict=True))


@pytest.mark.parametrize("make", [Looks, Counts, Renames, ChangesLater, OwnGenerator])
def test_a_network_that_cannot_be_split_is_run_in_whole(make):
    torch.manual_seed(0)
    net, image = make().eval(), torch.randn(2, 1, 5, 4)
    ours = list(mc_dropout(net, image, passes=8, generator=generator()))
    if make is Counts:
        net.seen.zero_()
    assert all(torch.equal(a, b) for a, b in zip(ours, whole_passes(net, image, 8, generator())))


# and nothing else changes

@nets
def test_the_network_and_the_callers_random_numbers_stay_as_they_were(name):
    net, image = made(name)
    net.train()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    with unchanged(net):
        for logits in mc_dropout(net, image, passes=3, generator=generator()):
            assert not logits.requires_grad and all(m.training for m in net.modules() if isinstance(m, nn.Dropout))


def test_the_same_seed_gives_the_same_answers_whatever_the_caller_draws():
    net, image = made("U-Net")
    first = list(mc_dropout(net, image, passes=3, generator=generator(5)))
    second = []
    for logits in mc_dropout(net, image, passes=3, generator=generator(5)):
        torch.rand(7)
        second.append(logits)
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    shared = generator(5)
    assert torch.equal(next(mc_dropout(net, image, passes=3, generator=shared)), first[0])
    assert not torch.equal(next(mc_dropout(net, image, passes=3, generator=shared)), first[0])


def test_a_caller_may_change_an_answer_and_use_the_network_between_passes():
    net, image = made("U-Net")
    expected = list(whole_passes(net, image, 3, generator()))
    for logits, right in zip(mc_dropout(net, image, passes=3, generator=generator()), expected):
        assert torch.equal(logits, right)
        logits.zero_()
        net(image)


def test_the_precision_is_that_of_the_call():
    net, image = made("U-Net")
    with torch.autocast("cpu", torch.bfloat16):
        passes = mc_dropout(net, image, passes=2, generator=generator())
    assert [z.dtype for z in passes] == [torch.bfloat16] * 2


def test_after_an_error_the_modes_are_restored():
    class Breaks(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1), Breaks()).train()
    with unchanged(net), pytest.raises(RuntimeError, match="broken"):
        mc_dropout(net, torch.zeros(1, 1, 4, 4), passes=2, generator=generator())


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["U-Net", "UNet++", "TransUNet, both"])
def test_on_a_gpu_the_masks_are_the_same_too(name):
    net, image = made(name)
    net, image, before = net.cuda(), image.cuda(), torch.cuda.get_rng_state()
    ours = list(mc_dropout(net, image, passes=3, generator=generator()))
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, whole_passes(net, image, 3, generator())))


# refusals

@pytest.mark.parametrize("net", [UNet(widths=SMALL), UNet(widths=SMALL, dropout=(0, 0.0, 1.0)), nn.Conv2d(1, 2, 1)],
                         ids=["p = 0", "p = 1", "no layer"])
def test_a_network_without_active_dropout_is_refused_and_told_what_to_do(refused, net):
    with refused(r"net: expected a dropout layer with 0 < p < 1, got .* UNet\(dropout=0.3\), or take an Ensemble"):
        mc_dropout(net, torch.zeros(1, 1, 8, 8), generator=generator())


def test_a_dropout_that_does_not_reach_the_answer_is_refused(refused):
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            self.drop(x)
            return F.relu(x)

    with refused("net: expected a dropout that changes the answer"):
        mc_dropout(Aside(), torch.zeros(1, 1, 8, 8), generator=generator())
    fused = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True).eval()
    with refused("expected a dropout that changes the answer"):
        mc_dropout(fused, torch.zeros(1, 5, 8), generator=generator())


@pytest.mark.parametrize("bad, match", [
    ({"passes": 0}, "passes: expected a whole number, 1 or more, got 0"),
    ({"passes": 2.0}, "passes: expected a whole number"), ({"passes": True}, "passes: expected a whole number"),
    ({"image": torch.zeros(1, 1, 8, 8, dtype=torch.int64)}, "image: expected a float tensor, got torch.int64"),
    ({"image": None}, "image: expected a float tensor, got NoneType"),
    ({"net": len}, "net: expected an nn.Module, got builtin"),
    ({"generator": 0}, "generator: expected a torch.Generator, got int"),
    ({"image": torch.zeros(1, 2, 8, 8)}, r"image: expected \(B, 1, \*S\)"),
])
def test_what_makes_no_sense_is_refused_at_the_call(refused, bad, match):
    arguments = {"net": UNet(widths=SMALL, dropout=0.3), "image": torch.zeros(1, 1, 8, 8), "passes": 2,
                 "generator": generator(), **bad}
    with refused(match):
        mc_dropout(arguments.pop("net"), arguments.pop("image"), **arguments)


def test_an_answer_that_is_no_tensor_is_refused(refused):
    class Two(nn.Dropout):
        def forward(self, x):
            return super().forward(x), x

    with refused("net: expected logits, one tensor, as its answer in evaluation, got tuple"):
        mc_dropout(Two(0.5), torch.zeros(1, 1, 8, 8), generator=generator())
