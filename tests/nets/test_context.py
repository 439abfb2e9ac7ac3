"""The dilated context module, ASPP, and which rates leave holes."""
from itertools import combinations_with_replacement, permutations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medlearn.nets.context import ASPP, BASIC, LARGE, ContextModule, hdc_distance, leaves_holes
from medlearn.nets.reach import ReceptiveField, analytic_receptive_field, coverage, receptive_field

RATES = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def offsets_seen(rates, kernel=3):
    """All sums of one tap of each layer."""
    taps = [[rate * t for t in range(kernel)] for rate in rates]
    return {sum(choice) for choice in product(*taps)}


# the context module

def test_the_context_module_is_the_papers_table():
    layers, sizes = [*ContextModule(2)], []
    for depth in range(1, len(layers) + 1):
        if not isinstance(layers[depth - 1], nn.ReLU):
            sizes.append(analytic_receptive_field(nn.Sequential(*layers[:depth])).size[0])
    assert sizes == [3, 5, 9, 17, 33, 65, 67, 67]
    assert [isinstance(layer, nn.ReLU) for layer in layers] == [False, True] * 7 + [False]
    assert receptive_field(ContextModule(2), (2, 80, 80)) == ReceptiveField((67, 67), (1, 1), (0.0, 0.0))
    assert coverage(ContextModule(1), (1, 67, 67)).all()


def test_it_has_64_weights_for_each_pair_of_channels_and_a_bias_for_each_channel():
    assert sum(p.numel() for p in ContextModule(21).parameters()) == 64 * 21 ** 2 + 8 * 21
    assert ContextModule(21, widths=BASIC).state_dict().keys() == ContextModule(21).state_dict().keys()
    widths = [layer.out_channels for layer in ContextModule(3, widths=LARGE) if isinstance(layer, nn.Conv2d)]
    assert widths == [6, 6, 12, 24, 48, 96, 96, 3]


@pytest.mark.parametrize("shape", [(2, 3, 20, 17), (1, 3, 9, 8, 7), (0, 3, 8, 8)])
def test_at_the_start_it_changes_nothing_that_is_not_negative(shape):
    image = torch.rand(shape)
    module = ContextModule(3, dim=len(shape) - 2)
    assert torch.equal(module(image), image)
    assert torch.equal(module(-image), torch.zeros_like(image))


def test_at_the_start_the_large_one_changes_little():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 40, 40)
    module = ContextModule(3, widths=LARGE)
    assert 0 < (module(image) - image).abs().max() < 0.2
    twins = module[0].weight[:2].flatten(1)
    assert not torch.equal(twins[0], twins[1])          # they would stay alike for ever


def test_every_weight_of_the_context_module_learns():
    module = ContextModule(2, rates=(1, 2, 5), dim=3)
    module(torch.rand(1, 2, 17, 17, 17)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())


def test_it_computes_under_autocast_and_keeps_its_state():
    torch.manual_seed(0)
    module, image = ContextModule(2, widths=(1, 2), rates=(1, 2)), torch.rand(1, 2, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(module(image).float(), module(image.clone()).float())
        assert torch.allclose(module(image).float(), image, atol=0.1)
    other = ContextModule(2, widths=(1, 2), rates=(1, 2))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(image), module(image))


# ASPP

def test_aspp_sees_nine_places_at_each_rate_and_the_whole_image():
    aspp = ASPP(2, 4, rates=(6, 12, 18)).eval()
    for place, rate in zip(aspp.places, (0, 6, 12, 18)):
        seen = coverage(place, (2, 41, 41))
        assert seen.nonzero().unique().tolist() == sorted({20 - rate, 20, 20 + rate})
    assert receptive_field(aspp, (2, 41, 41)) == ReceptiveField((41, 41), (0, 0), (20.0, 20.0))


@pytest.mark.parametrize(("dim", "shape"), [(2, (2, 3, 9, 12)), (3, (2, 3, 5, 6, 4))])
def test_aspp_keeps_the_grid(dim, shape):
    torch.manual_seed(0)
    aspp = ASPP(3, 5, rates=(1, 2), dim=dim)
    image = torch.randn(shape)
    assert aspp(image).shape == (2, 5, *shape[2:])
    aspp(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in aspp.parameters())
    assert aspp.eval()(image[:0]).shape == (0, 5, *shape[2:])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(aspp(image).float(), aspp.float()(image).float(), atol=0.1)


def test_aspp_has_the_weights_of_its_paper():
    convolutions = 2048 * 256 * (1 + 3 * 9 + 1) + 5 * 256 * 256
    assert sum(p.numel() for p in ASPP(2048).parameters()) == convolutions + 6 * 2 * 256


def test_the_mean_of_the_image_reaches_every_voxel_alike():
    aspp = ASPP(1, 2, rates=(1,)).eval()
    for p in aspp.parameters():
        nn.init.ones_(p)
    image = torch.zeros(1, 1, 30, 30)
    poked = image.clone()
    poked[..., 0, 0] = 50.0
    change = (aspp(poked) - aspp(image))[..., 5:, 5:]
    assert change.abs().max() > 0 and torch.allclose(change, change[..., :1, :1].expand_as(change))


# holes

@settings(max_examples=60, deadline=None)
@given(RATES, st.integers(2, 5))
def test_holes_are_left_where_some_sum_of_taps_is_missing(rates, kernel):
    seen = offsets_seen(rates, kernel)
    assert leaves_holes(rates, kernel) == (seen != set(range(max(seen) + 1)))


@pytest.mark.parametrize("dim", [2, 3])
def test_holes_are_those_that_coverage_shows(dim):
    for rates in combinations_with_replacement(range(1, 5 if dim == 2 else 4), 2):
        size = 1 + 2 * sum(rates)
        seen = coverage(ContextModule(1, rates=rates, dim=dim), (1, *[size] * dim))
        assert leaves_holes(rates) == (not seen.all()), rates
        assert seen.sum() == len(offsets_seen(rates)) ** dim


def test_the_order_of_the_rates_does_not_matter_and_powers_of_the_kernel_are_the_furthest():
    assert {leaves_holes(rates) for rates in permutations((1, 2, 5, 9))} == {False}
    assert not leaves_holes((1, 3, 9, 27)) and leaves_holes((1, 3, 9, 28)) and leaves_holes((1, 3, 10, 27))
    assert not leaves_holes((1, 5, 25), kernel=5) and leaves_holes((2, 2, 2))
    assert not leaves_holes((1, 1, 2, 4, 8, 16, 1))


def test_the_hdc_distance_is_that_of_the_paper():
    assert [hdc_distance(rates) for rates in ((1, 2, 5), (1, 2, 9), (4,), (1, 7))] == [2, 5, 4, 7]


@settings(max_examples=100, deadline=None)
@given(RATES, st.sampled_from([3, 5]))
def test_what_hdc_lets_pass_leaves_no_holes(rates, kernel):
    if hdc_distance([1, *rates]) <= kernel:
        assert not leaves_holes([1, *rates], kernel)


def test_hdc_does_not_let_everything_pass():
    assert hdc_distance((1, 3, 1)) > 3 and not leaves_holes((1, 3, 1))


# what is refused

def test_modules_that_cannot_be_are_refused(refused):
    for module in (ContextModule, ASPP):
        for wrong in (1, 4, True):
            with refused("dim: expected 2 or 3"):
                module(4, dim=wrong)
        for wrong in (0, 1.5, True):
            with refused("channels: expected a whole number"):
                module(wrong)
            with refused(r"rates\[1\]: expected a whole number"):
                module(4, rates=(1, wrong))
        with refused("rates: expected at least one"):
            module(4, rates=())
    with refused(r"widths\[0\]: expected a whole number"):
        ContextModule(4, rates=(1,), widths=(0,))
    with refused("widths: expected one for each of 3 rates, got 2"):
        ContextModule(4, rates=(1, 2, 3), widths=(1, 2))


def test_inputs_that_do_not_fit_are_refused(refused):
    aspp = ASPP(3, 4, rates=(1,))
    for shape in ((2, 4, 8, 8), (2, 3, 8), (2, 3, 8, 8, 8), (2, 3, 0, 8)):
        with refused(r"x: expected \(B, 3, \*S\) with 2 axes of space, got shape"):
            aspp(torch.zeros(shape))
    with refused("x: expected a float tensor, got torch.int64"):
        aspp(torch.zeros(2, 3, 8, 8, dtype=torch.int64))
    with refused("x: expected two images or more in training"):
        aspp(torch.zeros(1, 3, 8, 8))
    for function in (leaves_holes, hdc_distance):
        with refused("rates: expected at least one"):
            function([])
        with refused(r"rates\[0\]: expected a whole number"):
            function([0, 1])
    with refused("kernel: expected 2 or more"):
        leaves_holes([1], kernel=1)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 40, 40)
    for module in (ContextModule(3), ASPP(3, 8).eval()):
        expected = module(image)
        assert torch.allclose(module.cuda()(image.cuda()).cpu(), expected, atol=1e-3)
