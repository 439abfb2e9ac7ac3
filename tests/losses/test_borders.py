"""The weights that make a network learn the gap between two things."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medlearn.losses.borders import border_weights
from medlearn.losses.entropy import cross_entropy


def by_brute_force(ids, w0, sigma):
    """Every voxel against every other: from outside the nearest of the thing, from inside the nearest that is not."""
    grid = np.stack(np.meshgrid(*map(np.arange, ids.shape), indexing="ij"), -1).reshape(-1, ids.ndim).astype(float)
    flat = ids.reshape(-1)
    apart = np.linalg.norm(grid[:, None] - grid, axis=-1)
    distances = []
    for thing in np.unique(flat[flat > 0]):
        inside = flat == thing
        across = np.where(inside[:, None] != inside, apart, np.inf)
        distances.append(across.min(axis=1))
    distances = np.sort([*distances, *np.full((2, len(flat)), np.inf)], axis=0)
    share = (flat > 0).mean()
    balance = np.where(flat > 0, 0.5 / share, 0.5 / (1 - share)) if 0 < share < 1 else 1.0
    return (balance + w0 * np.exp(-(distances[0] + distances[1]) ** 2 / (2 * sigma ** 2))).reshape(ids.shape)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2 ** 32 - 1), st.sampled_from([2, 3]), st.sampled_from([0.6, 2.0, 5.0]), st.floats(0, 20))
def test_the_weights_are_those_of_brute_force(seed, dim, sigma, w0):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 14 if dim == 2 else 7, dim))
    ids = rng.integers(0, rng.integers(1, 6), (2, *shape)) * (rng.random((2, *shape)) < rng.choice([0.05, 0.4, 1]))
    ids *= rng.choice([1, 10 ** 12])
    weights = border_weights(torch.from_numpy(ids), w0=w0, sigma=sigma)
    for weight, map_ in zip(weights.numpy(), ids):
        np.testing.assert_allclose(weight, by_brute_force(map_, w0, sigma), rtol=1e-5, atol=1e-6 * w0)


def two_squares(gap):
    ids = torch.zeros(1, 40, 60, dtype=torch.int64)
    ids[0, 12:28, 10:26], ids[0, 12:28, 26 + gap:42 + gap] = 3, 7
    return ids


def test_the_gap_between_two_things_weighs_as_the_formula_says():
    weights = border_weights(two_squares(gap=3))[0]
    background = border_weights(two_squares(gap=3), w0=0)[0, 0, 0]
    assert (weights[20, 26:29] - background).tolist() == pytest.approx([10 * math.exp(-16 / 50)] * 3, rel=1e-5)
    narrow, wide = (border_weights(two_squares(gap))[0, 20, 26 + gap // 2] for gap in (1, 9))
    assert narrow > 2 * wide


def test_far_from_a_second_thing_only_the_balance_is_left():
    weights, balance = border_weights(two_squares(gap=3)), border_weights(two_squares(gap=3), w0=0)
    assert weights[0, 0, 0] == pytest.approx(balance[0, 0, 0].item(), abs=0.1)
    one = (two_squares(gap=3) == 3).long()
    assert torch.equal(border_weights(one), border_weights(one, w0=0))


def test_things_and_background_have_half_of_the_weight_each():
    ids = torch.cat([two_squares(gap=3), two_squares(gap=3) // 7])
    for weight, map_ in zip(border_weights(ids, w0=0), ids):
        assert weight.mean() == pytest.approx(1, rel=1e-5)
        assert weight[map_ > 0].sum() == pytest.approx(map_.numel() / 2, rel=1e-5)


def test_things_that_leave_no_background_have_their_border_between_them():
    ids = torch.full((1, 6, 8), 4)
    ids[..., 5:] = 9
    np.testing.assert_allclose(border_weights(ids)[0], by_brute_force(ids[0].numpy(), 10, 5), rtol=1e-5)


def test_the_number_of_a_thing_and_the_other_images_mean_nothing():
    ids = two_squares(gap=3)
    together = border_weights(torch.cat([ids, torch.zeros_like(ids), ids.flip(2)]))
    other = torch.where(ids == 3, 10 ** 15, torch.where(ids == 7, 1, 0))
    assert torch.equal(together[0], border_weights(other)[0])
    assert together[1].eq(1).all() and torch.equal(together[2], together[0].flip(1))


def test_a_volume_of_one_layer_weighs_as_its_slice():
    ids = two_squares(gap=3)
    assert torch.equal(border_weights(ids[:, None])[:, 0], border_weights(ids))


def test_nothing_to_separate_is_decided():
    assert border_weights(torch.zeros(2, 4, 5, dtype=torch.int64)).eq(1).all()
    assert border_weights(torch.ones(1, 4, 5, 3, dtype=torch.int64)).eq(1).all()
    for shape in ((0, 4, 5), (2, 0, 5)):
        weights = border_weights(torch.zeros(shape, dtype=torch.int64))
        assert weights.shape == shape and weights.dtype == torch.float32


def test_the_weights_go_with_the_loss_of_each_voxel():
    ids = two_squares(gap=3)
    loss = cross_entropy(torch.randn(1, 2, 40, 60), (ids > 0).long(), reduction="none")
    assert (loss * border_weights(ids)).mean().isfinite()


@pytest.mark.gpu
def test_the_weights_are_where_the_map_is():
    ids = two_squares(gap=3)
    weights = border_weights(ids.cuda())
    assert weights.is_cuda and torch.equal(weights.cpu(), border_weights(ids))


def test_what_is_no_map_of_things_is_refused(refused):
    good = torch.zeros(1, 4, 4, dtype=torch.int64)
    for bad, message in [(good.int(), r"int64 tensor \(B, \*S\), got torch.int32"), (good.bool(), "got torch.bool"),
                         (None, "got NoneType"), (good[0], r"2 or 3 axes of space, got shape \(4, 4\)"),
                         (good - 1, "0 or more, got -1")]:
        with refused(f"instance: expected .*{message}"):
            border_weights(bad)
    for options, message in [({"w0": -1}, "w0"), ({"w0": math.nan}, "w0"), ({"sigma": 0}, "sigma"),
                             ({"sigma": math.inf}, "sigma"), ({"sigma": "5"}, "sigma")]:
        with refused(f"{message}: expected"):
            border_weights(good, **options)


def test_numbers_of_numpy_are_numbers(unchecked):
    ids = two_squares(gap=3)
    assert torch.equal(border_weights(ids, w0=np.float32(8), sigma=np.int64(4)), border_weights(ids, w0=8, sigma=4))
