"""The loss at several resolutions: a weighted mean of the levels, with the labels at each level's size."""
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from medlearn.losses import dice_ce_loss
from medlearn.train import deep_supervision
from medlearn.train.supervision import resize_labels


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2 ** 32 - 1), st.sampled_from([2, 3]), st.integers(1, 4), st.booleans())
def test_deep_supervision_is_the_weighted_mean_of_the_levels(seed, dim, levels, given_weights):
    generator = torch.Generator().manual_seed(seed)
    size = torch.randint(8, 14, (dim,), generator=generator).tolist()
    labels = torch.randint(0, 3, (2, *size), generator=generator)
    sizes = [[-(-n // 2 ** i) for n in size] for i in range(levels)]
    logits = [torch.randn(2, 3, *s, generator=generator) for s in sizes]
    weights = torch.rand(levels, generator=generator).tolist() if given_weights else None
    shares = weights or [2.0 ** -i for i in range(levels)]
    expected = sum(w * F.cross_entropy(z, F.interpolate(labels[:, None].double(), s, mode="nearest-exact")[:, 0].long())
                   for w, z, s in zip(shares, logits, sizes)) / sum(shares)
    got = deep_supervision(F.cross_entropy, weights)(tuple(logits), labels)
    torch.testing.assert_close(got, expected)


def test_a_single_tensor_goes_straight_through():
    logits, labels = torch.randn(1, 3, 5, 5), torch.randint(0, 3, (1, 5, 5))
    assert deep_supervision(dice_ce_loss, [3, 1])(logits, labels) == dice_ce_loss(logits, labels)


def test_a_level_of_weight_zero_is_not_computed():
    logits, labels = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    both = (logits, torch.full_like(logits, math.nan))
    assert deep_supervision(F.cross_entropy, [1, 0])(both, labels) == F.cross_entropy(logits, labels)


@pytest.mark.parametrize("old, new", [(7, 4), (6, 3), (5, 5), (3, 9), (4, 1), (1, 3)])
def test_labels_are_taken_at_the_centre_of_the_new_voxel(old, new):
    labels = torch.arange(old)[None, :, None].expand(1, old, 2)
    expected = [math.floor((i + 0.5) * old / new) for i in range(new)]
    assert resize_labels(labels, (new, 2))[0, :, 0].tolist() == expected


def test_wrong_levels_and_weights_are_refused(refused):
    logits, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    for weights in ([], [0, 0], [1, -1], [math.nan], [math.inf, 1]):
        with refused(r"weights.*: expected .*0 or more"):
            deep_supervision(F.cross_entropy, weights)
    for weights in (3, "12", ["a", "b"], [None], [True]):
        with refused(r"weights.*: expected (a number|numbers in a row), got"):
            deep_supervision(F.cross_entropy, weights)
    with refused("loss: expected a function, got None"):
        deep_supervision(None)
    with refused("logits: expected 3 levels, one for each weight, got 2"):
        deep_supervision(F.cross_entropy, [3, 2, 1])((logits, logits), labels)
    for nothing in ((), None):
        with refused("logits: expected a tensor, or a tuple of them"):
            deep_supervision(F.cross_entropy)(nothing, labels)
    with refused(r"labels: expected \(B, \*S\) with 2 axes of space, got torch.int64 of shape \(4, 4\)"):
        deep_supervision(F.cross_entropy)((logits, logits), labels[0])


def test_it_can_be_sent_to_another_process():
    loss, labels = deep_supervision(dice_ce_loss, [2, 1]), torch.randint(0, 3, (2, 8, 8))
    logits = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)]
    assert pickle.loads(pickle.dumps(loss))(logits, labels) == loss(logits, labels)
