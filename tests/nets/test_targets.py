"""Maps from things: a class of each voxel, heatmaps and arrows."""
import math

import numpy as np
import pytest
import torch
from helpers.touching import two_touching
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medlearn.nets import instance_targets, semantic_target
from medlearn.nets import targets as targets_module


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2 ** 32 - 1), st.sampled_from([2, 3]), st.sampled_from([0.7, 1.0, 2.3]))
def test_targets_are_those_of_a_plain_loop(seed, dim, sigma):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 10, dim))
    instance = rng.integers(0, 4, (2, *shape)) * rng.integers(0, 2, (2, *shape)) * rng.choice([1, 10 ** 12])
    targets = instance_targets(torch.from_numpy(instance), sigma=sigma)

    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(float)
    heatmap, offset = np.zeros((2, 1, *shape)), np.zeros((2, dim, *shape))
    for b, map_ in enumerate(instance):
        for i in np.unique(map_[map_ > 0]):
            mean = np.array(ndimage.center_of_mass(map_ == i)).reshape(-1, *[1] * dim)
            heatmap[b, 0] = np.maximum(heatmap[b, 0], np.exp(-((grid - mean) ** 2).sum(0) / (2 * sigma ** 2)))
            offset[b] = np.where(map_ == i, mean - grid, offset[b])
    np.testing.assert_allclose(targets.centre.numpy(), heatmap, atol=4e-4)          # where the bumps are cut
    np.testing.assert_allclose(targets.offset.numpy(), offset, atol=1e-5)
    assert torch.equal(targets.inside, torch.from_numpy(instance > 0))


def test_a_centre_on_a_voxel_is_one_and_one_between_two_voxels_is_shared_by_both():
    instance = torch.zeros(1, 9, 9, dtype=torch.int64)
    instance[0, 1, 1:4] = 1
    instance[0, 6, 4:8] = 2
    targets = instance_targets(instance)
    assert targets.centre[0, 0, 1, 2] == 1
    assert targets.centre[0, 0, 6, 5] == targets.centre[0, 0, 6, 6] == pytest.approx(math.exp(-1 / 8))
    assert targets.offset[0, :, 6, 4].tolist() == [0, 1.5]
    assert targets.offset[0, :, 0, 0].tolist() == [0, 0]


def test_images_of_a_batch_do_not_touch_each_other():
    instance = torch.cat([two_touching(), torch.zeros(1, 12, 16, dtype=torch.int64), two_touching().flip(2)])
    together = instance_targets(instance)
    for b in range(3):
        alone = instance_targets(instance[b:b + 1])
        assert all(torch.equal(many[b], one[0]) for many, one in zip(together, alone))
    assert together.centre[1].eq(0).all() and together.offset[1].eq(0).all()


def test_the_number_of_a_thing_means_nothing():
    instance = two_touching()
    other = torch.where(instance == 1, 7, torch.where(instance == 2, 3, 0))
    assert all(torch.equal(a, b) for a, b in zip(instance_targets(instance), instance_targets(other)))


def test_a_volume_of_one_layer_has_the_targets_of_its_slice():
    flat, deep = instance_targets(two_touching()), instance_targets(two_touching()[:, None])
    assert torch.equal(deep.centre[:, :, 0], flat.centre)
    assert torch.equal(deep.offset[:, 1:, 0], flat.offset) and deep.offset[:, 0].eq(0).all()


def test_ids_may_be_as_large_as_int64_is():
    instance = two_touching()
    huge = torch.where(instance > 0, 2**63 - 3 + instance, 0)               # up to the largest of all
    assert all(torch.equal(a, b) for a, b in zip(instance_targets(instance), instance_targets(huge)))


def test_a_row_is_held_for_each_thing_and_not_for_each_id_in_each_image(monkeypatch):
    ids, rows, make = torch.arange(8 * 400).view(8, 20, 20), [], targets_module._bumps
    monkeypatch.setattr(targets_module, "_bumps",
                        lambda centres, *rest: rows.append(len(centres)) or make(centres, *rest))
    targets = instance_targets(ids)
    assert rows == [8 * 400 - 1]                                            # 0 is none
    assert targets.centre.flatten()[1:].eq(1).all() and targets.offset.eq(0).all()


def test_a_bump_wider_than_the_image_costs_no_more_than_the_image(monkeypatch):
    instance, sizes, zeros = two_touching(3), [], math.prod(two_touching(3).shape)
    exact = instance_targets(instance, sigma=1e6).centre
    assert torch.allclose(exact, torch.ones_like(exact), atol=1e-6)
    monkeypatch.setattr(targets_module, "CHUNK", 3 ** 3 * zeros)
    exp = torch.exp
    monkeypatch.setattr(torch, "exp", lambda x: sizes.append(x.numel()) or exp(x))
    assert torch.equal(instance_targets(instance, sigma=1e6).centre, exact)
    assert sum(sizes) < 2 * 3 ** 3 * zeros                                  # two things, each in a window of 2n + 1


def test_many_bumps_are_made_a_few_at_a_time_to_the_same_bits(monkeypatch):
    instance = torch.arange(2 * 6 * 7).view(2, 6, 7)
    at_once, sizes, exp = instance_targets(instance, sigma=0.8), [], torch.exp
    monkeypatch.setattr(targets_module, "CHUNK", 1000)
    monkeypatch.setattr(torch, "exp", lambda x: sizes.append(x.numel()) or exp(x))
    assert all(torch.equal(a, b) for a, b in zip(instance_targets(instance, sigma=0.8), at_once))
    assert max(sizes) <= 1000 and len(sizes) > 1


def test_no_image_and_no_voxel_have_targets_of_their_shape():
    assert [tuple(t.shape) for t in instance_targets(torch.zeros(0, 4, 5, dtype=torch.int64))] == [
        (0, 1, 4, 5), (0, 2, 4, 5), (0, 4, 5)]
    assert instance_targets(torch.zeros(2, 0, 5, dtype=torch.int64)).offset.shape == (2, 2, 0, 5)


def test_no_pair_of_tissue_and_lesion_shares_a_class():
    tissue, lesion = torch.arange(4).repeat(3)[None, None], torch.arange(3).repeat_interleave(4)[None, None]
    assert semantic_target(tissue, lesion).flatten().tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5]


# what is refused

def test_labels_that_are_none_are_refused(refused):
    good = torch.zeros(1, 4, 4, dtype=torch.int64)
    for bad, message in [(good.int(), "int64 tensor .*got .*int32"), (good[0], "2 or 3 axes"),
                         (good - 1, "0 or more, got -1"), (good.float(), "int64 tensor .*got .*float32"),
                         (None, "int64 tensor .*got NoneType")]:
        with refused(f"instance: expected .*{message}"):
            instance_targets(bad)
    for sigma in (0, -1, math.nan, math.inf, 1e-30, 1e160, 1e308):
        with refused("sigma: expected 0.001..1e\\+06 voxels, got"):
            instance_targets(good, sigma=sigma)
    with refused("tissue: expected labels of 0..3 for 4 classes, got 4"):
        semantic_target(torch.tensor([[[0, 4]]]), torch.zeros(1, 1, 2, dtype=torch.int64))
    with refused("lesion: expected labels of 0 or more"):
        semantic_target(good, good - 1)
    with refused(r"lesion: expected at most 2.147\d*e\+09, got"):
        semantic_target(good, good + 2**62)
    with refused("tissues: expected a whole number, 1..2.1"):
        semantic_target(good, good, tissues=2**63)
    with refused("lesion: expected shape"):
        semantic_target(good, good[:, :2])
