"""clDice against MONAI's, on vessels whose centre lines are known, and where Dice sees nothing."""
import pytest
import torch
from helpers.loss_examples import gradient, same
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import cldice as monai
from torch.func import grad, vmap

from medlearn.losses import cldice_loss, dice_loss, soft_skeleton

quick = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(1, 1, 9, 11), (2, 1, 8, 7), (1, 1, 6, 5, 7)])
KINDS = pytest.mark.parametrize("kind", ["classes", "regions"])


def example(seed, shape, kind="regions"):
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=g, dtype=torch.float64)
    regions = torch.rand(shape, generator=g) < 0.5
    if kind == "classes":
        return logits.requires_grad_(), torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=g)
    return logits.requires_grad_(), regions


def sure(regions):
    return torch.where(regions, 50.0, -50.0).double()


@quick
@given(seeds, shapes, st.sampled_from([0, 1, 3]))
def test_the_skeleton_is_monais(seed, shape, iterations):
    logits, _ = example(seed, shape)
    same(soft_skeleton(logits.sigmoid(), iterations=iterations).square().sum(),
         monai.soft_skel(logits.sigmoid(), iterations).square().sum(), logits)
    torch.testing.assert_close(soft_skeleton(logits.sigmoid(), iterations=iterations),
                               monai.soft_skel(logits.sigmoid(), iterations), rtol=1e-14, atol=0)


@quick
@given(seeds, shapes, st.sampled_from([1, 3]), st.sampled_from([1e-5, 1.0]))
def test_the_loss_of_one_region_is_monais(seed, shape, iterations, smooth):
    logits, regions = example(seed, shape)
    peer = monai.SoftclDiceLoss(iter_=iterations, smooth_nr=smooth, smooth_dr=smooth, smooth=1e-12, sigmoid=True)
    same(cldice_loss(logits, regions, iterations=iterations, smooth=smooth), peer(logits, regions.double()), logits)


@quick
@given(seeds)
def test_the_loss_of_one_class_is_monais(seed):
    logits, labels = example(seed, (2, 2, 8, 9), "classes")
    peer = monai.SoftclDiceLoss(smooth_nr=0.1, smooth_dr=0.1, smooth=1e-12, softmax=True, to_onehot_y=True,
                                include_background=False)
    same(cldice_loss(logits, labels, smooth=0.1, include_background=False), peer(logits, labels[:, None]), logits,
         1e-6)                                              # MONAI's one-hot labels are float32


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("dim", [2, 3])
def test_the_skeleton_of_a_vessel_is_its_centre_line(radius, dim):
    across = torch.stack(torch.meshgrid(*[torch.arange(-4.0, 5)] * (dim - 1), indexing="ij")).abs().sum(0)
    vessel = (across <= radius)[..., None].expand(*across.shape, 20)[None, None].double()
    line = (across == 0)[..., None].expand(*across.shape, 20)[None, None].double()
    assert torch.equal(soft_skeleton(vessel, iterations=radius), line)
    assert torch.equal(soft_skeleton(vessel, iterations=radius + 3), line)
    assert not torch.equal(soft_skeleton(vessel, iterations=radius - 1), line)      # too few erosions find no ridge


@pytest.mark.parametrize("radius, gap", [(1, 4), (2, 4), (2, 8)])
def test_a_gap_costs_what_it_takes_of_the_centre_line(radius, gap):
    """P = 1 and S = 1 - gap / 40, at every width, so that the loss is 1 - 2 S / (1 + S)."""
    vessel = torch.zeros(1, 1, 15, 40, dtype=torch.bool)
    vessel[..., 7 - radius:8 + radius, :] = True
    broken = vessel.clone()
    broken[..., 18:18 + gap] = False
    found = 1 - gap / 40
    loss = cldice_loss(sure(broken), vessel, smooth=0)
    assert loss.item() == pytest.approx(1 - 2 * found / (1 + found), abs=1e-9)
    assert cldice_loss(sure(vessel), vessel, smooth=0).item() == pytest.approx(0, abs=1e-12)


def test_a_gap_in_a_thin_branch_costs_more_than_a_thinner_trunk_where_dice_says_the_opposite():
    vessels = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    vessels[..., 5:14, :], vessels[..., 30, :] = True, True
    broken, thinner = vessels.clone(), vessels.clone()
    broken[..., 30, 10:30] = False
    thinner[..., 5, :], thinner[..., 13, :] = False, False
    gap, width = (cldice_loss(sure(z), vessels, iterations=5).item() for z in (broken, thinner))
    assert gap > 0.1 and width < 0.01
    assert dice_loss(sure(broken), vessels) < dice_loss(sure(thinner), vessels)


def test_the_gradient_fills_the_gap():
    vessel = torch.zeros(1, 1, 9, 30, dtype=torch.bool)
    vessel[..., 3:6, :] = True
    logits = torch.where(vessel, 3.0, -3.0).double()
    logits[..., 12:18] = -3
    logits.requires_grad_()
    slope = gradient(cldice_loss(logits, vessel), logits)
    assert (slope[0, 0, 4, 13:17] < 0).all()


@pytest.mark.parametrize("batch", [False, True])
def test_it_is_the_mean_over_images_and_regions_of_the_formula_and_batch_sums_first(batch):
    logits, regions = example(3, (2, 3, 7, 8))
    p, y = logits.sigmoid(), regions.double()
    parts = [(x * soft_skeleton(skeleton)).sum((2, 3)) for x, skeleton in ((y, p), (1, p), (p, y), (1, y))]
    in_vessel, predicted, found, true = (x.sum(0, keepdim=True) if batch else x for x in parts)
    precision, sensitivity = (in_vessel + 0.3) / (predicted + 0.3), (found + 0.3) / (true + 0.3)
    theirs = (1 - 2 * precision * sensitivity / (precision + sensitivity)).mean()
    same(cldice_loss(logits, regions, batch=batch, smooth=0.3), theirs, logits)


@KINDS
def test_a_slice_is_a_volume_of_one_slice(kind):
    logits, labels = example(4, (2, 3, 7, 8), kind)
    for axis in (-1, -2, -3):
        same(cldice_loss(logits.unsqueeze(axis), labels.unsqueeze(axis)), cldice_loss(logits, labels), logits)


def test_what_does_not_count_is_as_if_nothing_were_there():
    logits, regions = example(5, (1, 2, 8, 9))
    where = torch.ones_like(regions)
    where[..., 3:5] = False
    wild = torch.where(where, logits, torch.nan).detach().requires_grad_()
    ours = cldice_loss(wild, regions, where=where)
    theirs = cldice_loss(logits.where(where, -1e3), regions & where)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, wild), gradient(theirs, logits))
    logits, labels = example(5, (1, 3, 8, 9), "classes")
    ignored = labels.clone()
    ignored[..., 3:5] = 255
    changed = torch.where(ignored[:, None] == 255, 9.0, logits)
    assert cldice_loss(changed, ignored, ignore_index=255) == cldice_loss(logits, ignored, ignore_index=255)


def test_the_empty_cases():
    nothing = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    vessel = nothing.clone()
    vessel[..., 3, :] = True
    for smooth in (0.0, 1e-5):
        assert cldice_loss(sure(nothing) * 1e3, nothing, smooth=smooth).item() == pytest.approx(0, abs=1e-9)
        assert cldice_loss(sure(vessel), nothing, smooth=smooth).item() == pytest.approx(1, abs=1e-4)
        assert cldice_loss(sure(nothing), vessel, smooth=smooth).item() == pytest.approx(1, abs=1e-4)
        assert cldice_loss(sure(vessel), vessel, where=nothing, smooth=smooth) == 0
        for shape in ((0, 2, 4, 4), (1, 2, 0, 4)):
            assert cldice_loss(torch.zeros(shape), torch.zeros(shape, dtype=torch.bool), smooth=smooth) == 0


@KINDS
@pytest.mark.parametrize("shape", [(2, 2, 4, 5), (1, 2, 3, 4, 3)], ids=str)
def test_it_may_be_differentiated_twice_and_by_functional_transforms(kind, shape):
    logits, labels = example(6, shape, kind)
    assert torch.autograd.gradcheck(lambda z: cldice_loss(z, labels), logits)
    assert torch.autograd.gradgradcheck(lambda z: cldice_loss(z, labels), logits)
    each = vmap(grad(lambda z, y: cldice_loss(z[None], y[None])))(logits.detach(), labels)
    torch.testing.assert_close(each / shape[0], gradient(cldice_loss(logits, labels), logits))


@KINDS
def test_autocast_changes_nothing_and_half_precision_is_summed_in_float32(kind):
    logits, labels = example(7, (2, 2, 9, 8), kind)
    half = logits.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cldice_loss(half, labels)
    assert inside.dtype == torch.float32 and inside == cldice_loss(half.float(), labels)


def test_what_cannot_be_is_refused(refused):
    logits, regions = example(8, (1, 2, 5, 6))
    for options, match in [(dict(iterations=-1), "iterations: expected a whole number, 0 or more, got -1"),
                           (dict(iterations=1.5), "iterations: expected a whole number, got 1.5"),
                           (dict(smooth=-1), "smooth: expected 0 or more, got -1"),
                           (dict(include_background=False), "include_background: expected True for bool labels")]:
        with refused(match):
            cldice_loss(logits, regions, **options)
    with refused(r"logits: expected \(B, K, \*S\) with 2 or 3 axes of space, got shape \(1, 2, 5\)"):
        cldice_loss(logits[..., 0], regions[..., 0])
    with refused("labels: expected an int64 tensor .*, or a bool tensor .*, got torch.float64"):
        cldice_loss(logits, regions.double())
    with refused("logits: expected finite numbers .*, got nan"):
        cldice_loss(logits * torch.nan, regions)
    with refused(r"probability: expected 0\.\.1, got"):
        soft_skeleton(logits)
    with refused("probability: expected a float tensor .*, got torch.bool"):
        soft_skeleton(regions)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    logits, labels = example(9, (1, 2, 9, 8, 7), "classes")
    there = cldice_loss(logits.cuda(), labels.cuda())
    torch.testing.assert_close(there.cpu(), cldice_loss(logits, labels))
    torch.testing.assert_close(gradient(there, logits), gradient(cldice_loss(logits, labels), logits))
