"""Voxels with an ignored label are no cases: whatever the network says there, NaN too, is as if it were not."""
import math

import pytest
import torch

from medlearn.uncertainty import (TemperatureScaling, brier_score, classwise_ece, logit_normal_nll, low_rank_nll,
                                  negative_log_likelihood, reliability)

wilds = pytest.mark.parametrize("wild", [math.nan, math.inf, -1e3])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed))


LOGITS, LABELS = numbers(4, 3, 6, 5), torch.randint(3, (4, 6, 5), generator=seeded(1))
IGNORED = LABELS.clone()
IGNORED[:, 2] = 255


def diagram(p, labels, **options):
    found = reliability(p, labels, bins=4, **options)
    return torch.stack([found.confidence, found.accuracy, found.count.double()])


def without(values):
    """Without what is ignored, the third row of each image."""
    return torch.cat([values[..., :2, :], values[..., 3:, :]], dim=-2)


# Scores and the temperature

SCORES = {
    "brier_score": brier_score,
    "negative_log_likelihood": negative_log_likelihood,
    "classwise_ece": lambda p, labels, **options: classwise_ece(p, labels, bins=4, **options),
    "reliability": diagram,
    "reliability, adaptive": lambda p, labels, **options: diagram(p, labels, adaptive=True, **options),
    "TemperatureScaling": lambda p, labels, **options: TemperatureScaling().fit(p, labels, **options).temperature,
}


def answers(name):
    """What the score asks for: probabilities, or logits that the labels belong to."""
    one_hot = torch.nn.functional.one_hot(LABELS, 3).movedim(-1, 1)
    return LOGITS + one_hot if name == "TemperatureScaling" else LOGITS.softmax(1)


@wilds
@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_that_of_the_other_voxels(name, wild):
    p = answers(name)
    expected = torch.as_tensor(SCORES[name](without(p), without(LABELS)))
    p[:, 1, 2] = wild
    found = torch.as_tensor(SCORES[name](p, IGNORED, ignore_index=255))
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", SCORES)
def test_nan_under_a_label_that_counts_is_refused(name, refused):
    p = answers(name)
    p[:, 1, 2] = math.nan
    p[3, 2, 0, 0] = math.nan
    with refused("(probabilities|logits): expected finite numbers, got a range of nan to nan"):
        SCORES[name](p, IGNORED, ignore_index=255)


# Likelihoods

LIKELIHOODS = {
    "logit_normal_nll": lambda mean, log_variance, labels, **options: logit_normal_nll(
        mean, labels, log_variance=log_variance, samples=4, generator=seeded(), **options),
    "low_rank_nll": lambda mean, log_variance, factors, labels, **options: low_rank_nll(
        mean, labels, factors=factors, log_variance=log_variance, samples=4, generator=seeded(), **options),
}
INPUTS = {
    "mean_logits": LOGITS,
    "log_variance": 0.3 * numbers(4, 3, 6, 5, seed=2),
    "factors": numbers(4, 2, 3, 6, 5, seed=3),
}
CASES = [(name, which) for name in LIKELIHOODS for which in INPUTS
         if which != "factors" or name == "low_rank_nll"]


def asked(name, **filled):
    """The inputs of a likelihood, one of them with this number where the label is ignored."""
    inputs = [INPUTS[key].clone() for key in list(INPUTS)[:3 if name == "low_rank_nll" else 2]]
    for which, value in filled.items():
        inputs[list(INPUTS).index(which)][..., 2, :] = value
    return [x.requires_grad_() for x in inputs]


@wilds
@pytest.mark.parametrize("name, which", CASES)
def test_a_likelihood_and_its_gradient_are_those_of_the_other_voxels(name, which, wild):
    losses, gradients = [], []
    for inputs in (asked(name, **{which: wild}), asked(name)):
        loss = LIKELIHOODS[name](*inputs, IGNORED, ignore_index=255)
        losses.append(loss)
        gradients.append(torch.autograd.grad(loss, inputs))
    assert losses[0] == losses[1] and all(map(torch.equal, *gradients))
    assert not any(g[..., 2, :].any() for g in gradients[0]) and all(without(g).any() for g in gradients[0])


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_is_that_of_the_others_alone(name):
    """Without a variance of its own a voxel's noise is lost in rounding, so that it matters not how much is drawn."""
    inputs = asked(name, mean_logits=math.nan)
    inputs[1] = torch.full_like(LOGITS, -80)
    found = LIKELIHOODS[name](*inputs, IGNORED, ignore_index=255)
    torch.testing.assert_close(found, LIKELIHOODS[name](*map(without, inputs), without(LABELS)))


@pytest.mark.parametrize("name, which", CASES)
def test_nan_in_a_likelihood_under_a_label_that_counts_is_refused(name, which, refused):
    inputs = asked(name, **{which: math.nan})
    inputs[list(INPUTS).index(which)].data[..., 0, 0] = math.nan
    with refused(f"{which}: expected finite numbers, got a range of nan to nan"):
        LIKELIHOODS[name](*inputs, IGNORED, ignore_index=255)


@pytest.mark.parametrize("options", [{"log_variance": LOGITS[:, :1]}, {"log_variance": LOGITS.numpy()},
                                     {"factors": LOGITS[:, :2]}, {"factors": None}],
                         ids=["variance of one", "variance of numpy", "factors of others", "no factors"])
def test_inputs_that_do_not_go_together_are_refused_before_any_is_left_out(options, refused):
    good = {"factors": INPUTS["factors"], "log_variance": INPUTS["log_variance"], "samples": 4, "generator": seeded()}
    with refused(f"{next(iter(options))}: expected"):
        low_rank_nll(LOGITS, IGNORED, **(good | options), ignore_index=255)
