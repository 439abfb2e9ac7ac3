"""Hard example mining against a plain sort, cross-entropy, and nnU-Net's own formula."""
import math

import pytest
import torch
from helpers.loss_examples import example, gradient, same
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from medlearn.losses import cross_entropy, top_k_loss

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@quick
@given(seeds, st.floats(0.01, 1), st.sampled_from([(4, 3), (2, 3, 5, 4), (1, 2, 3, 4, 5)]))
def test_it_is_the_mean_of_the_largest(seed, share, shape):
    logits, labels = example(seed, shape)
    each = sorted(F.cross_entropy(logits, labels, reduction="none").flatten().unbind(), key=torch.Tensor.item,
                  reverse=True)
    k = math.ceil(share * len(each))
    same(top_k_loss(logits, labels, share=share), sum(each[:k]) / k, logits)


@quick
@given(seeds, st.sampled_from([10, 25, 60]))
def test_it_is_nnunets_where_its_share_is_whole(seed, percent):
    logits, labels = example(seed, (2, 3, 10, 10))
    each = F.cross_entropy(logits, labels, reduction="none")                # nnU-Net v2, TopKLoss.forward
    theirs, _ = torch.topk(each.view((-1,)), int(each.numel() * percent / 100), sorted=False)
    same(top_k_loss(logits, labels, share=percent / 100), theirs.mean(), logits)


def test_all_of_them_are_cross_entropy():
    logits, labels = example(1)
    labels[0, 0] = 255
    same(top_k_loss(logits, labels, share=1, ignore_index=255), cross_entropy(logits, labels, ignore_index=255), logits)


def test_only_the_hardest_have_a_gradient():
    logits, labels = example(2, (1, 3, 40))
    moved = gradient(top_k_loss(logits, labels, share=0.1), logits).abs().sum(1)[0] > 0
    assert moved.nonzero().flatten().tolist() == sorted(cross_entropy(logits, labels, reduction="none")[0]
                                                        .topk(4).indices.tolist())


def test_ignored_voxels_are_as_if_they_were_not_there():
    logits, labels = example(3, (1, 3, 24))
    gone = torch.arange(24) % 3 == 0
    for share in (0.01, 0.3, 0.5, 1):
        ours = top_k_loss(logits, labels.masked_fill(gone, 255), share=share, ignore_index=255)
        torch.testing.assert_close(ours, top_k_loss(logits[..., ~gone], labels[:, ~gone], share=share))
    nothing = top_k_loss(logits, torch.full_like(labels, 255), ignore_index=255)
    assert nothing == 0 and not gradient(nothing, logits).any()
    assert top_k_loss(torch.zeros(0, 3, 4), torch.zeros(0, 4, dtype=torch.int64)) == 0


def test_a_voxel_that_is_surely_right_counts_as_one():
    logits = torch.tensor([[1e4, 0.0], [0.0, 0.0], [0.0, 0.0]])
    loss = top_k_loss(logits, torch.tensor([0, 0, 255]), share=1, ignore_index=255)
    assert loss.item() == pytest.approx(math.log(2) / 2)


@pytest.mark.parametrize("share, match", [(0, "share: expected .*above 0.*, got 0"), (1.5, "share: expected .*got 1.5"),
                                          (None, "share: expected a number, got None")])
def test_a_wrong_share_is_refused(refused, share, match):
    with refused(match):
        top_k_loss(*example(4), share=share)
