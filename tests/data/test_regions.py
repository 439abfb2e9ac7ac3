"""Labels as overlapping maps, and the loss of one by the other."""
import numpy as np
import pytest
import torch

from medlearn.data import LabelRegion, region_masks

WHOLE, CORE, ENHANCING = (LabelRegion("whole", (1, 2, 3), 1), LabelRegion("core", (2, 3), 2),
                          LabelRegion("enhancing", (3,), 3))


@pytest.mark.parametrize("shape", [(2, 5, 4), (1, 5, 4, 3), (0, 5, 4)])
def test_a_map_for_each_region(shape):
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 4, shape))
    masks = region_masks(labels, [WHOLE, CORE, ENHANCING])
    assert masks.dtype == torch.bool and masks.shape == (shape[0], 3, *shape[1:])
    for mask, least in zip(masks.unbind(1), (1, 2, 3)):
        assert torch.equal(mask, labels >= least)


def test_a_label_of_no_region_is_in_none():
    assert not region_masks(torch.full((1, 2, 2), 9), [WHOLE, CORE]).any()


def test_what_is_refused(refused):
    with refused("regions: expected at least one"):
        region_masks(torch.zeros(1, 2, 2).long(), [])
    with refused("labels: expected"):
        region_masks(torch.zeros(1, 2, 2), [WHOLE])


@pytest.mark.parametrize("labels, written", [
    (("x",), 1), ((1.5,), 1), ((float("nan"),), 1), ((2 ** 70,), 1), ("12", 1), (1, 1), ((True,), 1), ((1,), "1"),
    ((1,), 1.0), ((1,), -1), ((1,), 2 ** 70)])
def test_a_region_is_of_whole_numbers(labels, written, refused):
    with refused("^(labels|written): expected"):
        LabelRegion("whole", labels, written)


def test_a_region_may_be_given_as_a_list_or_in_numpy(unchecked):
    region = LabelRegion("whole", list(np.arange(1, 3)), np.int64(1))
    assert region == LabelRegion("whole", (1, 2), 1) and hash(region) == hash(LabelRegion("whole", (1, 2), 1))


@pytest.mark.parametrize("labels, regions, why", [
    (torch.tensor(1), [WHOLE], "labels: expected .* got one number"),
    (torch.ones(1, 2, 2).long(), ["a"], "regions: expected a row of LabelRegion, got"),
    (torch.ones(1, 2, 2).long(), "ab", "regions: expected a row of LabelRegion, got"),
    (torch.ones(1, 2, 2).long(), WHOLE, "regions: expected a row of LabelRegion, got LabelRegion"),
    (torch.ones(1, 2, 2).long(), None, "regions: expected a row of LabelRegion, got NoneType")])
def test_what_is_no_row_of_regions_is_refused(labels, regions, why, refused):
    with refused(why):
        region_masks(labels, regions)
