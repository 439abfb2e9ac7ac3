from functools import partial

import torch
from torch.nn import functional as F

from helpers.api.places import GENERATOR, call, normal_numbers, random_labels, random_numbers, slope
from medlearn import uncertainty as u
from medlearn.nets import UNet

P = normal_numbers(3, 2, 4, 8, 7).softmax(2)                # three members, two images, four classes
LABELS = random_labels(4, 2, 8, 7)
SOME_IGNORED = LABELS.clone()
SOME_IGNORED[:, 0] = 255
MEAN, TARGET = normal_numbers(2, 4, 8, 7), normal_numbers(2, 4, 8, 7, seed=2)
LOG_VARIANCE = 0.3 * normal_numbers(2, 4, 8, 7, seed=1)
FACTORS = normal_numbers(2, 3, 4, 8, 7, seed=4)
SHARP = 3 * F.one_hot(LABELS, 4).movedim(-1, 1).float() + 2 * normal_numbers(2, 4, 8, 7, seed=3)
IMAGE = normal_numbers(2, 1, 16, 12)
IGNORED = {"labels": SOME_IGNORED, "ignore_index": 255}


def running(place):
    moments, shares = u.RunningVariance(), u.RunningProbabilities()
    for member in range(3):
        moments.add(place(MEAN) + member, place(LOG_VARIANCE).exp())
        shares.add(place(P[member]))
    return moments.mean, moments.result(), shares.mean, shares.variances(), shares.entropies()


def unet(dropout=0.0):
    torch.manual_seed(0)
    return UNet(1, 3, widths=(4, 8), dropout=dropout).eval()


def ensemble(place):
    members = u.Ensemble(lambda: UNet(1, 3, widths=(4, 8)), 3, seed=1).to(place.device).eval()
    with torch.no_grad():
        return members(place(IMAGE)), list(members.stream(place(IMAGE))), members.vectorised(place(IMAGE))


def laplace(place, last_only=False):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).to(place.device)
    at, inputs = place((MEAN[0, 0], MEAN[1, 0]))
    return u.laplace_variance(net, at, inputs=inputs, noise_variance=place(LOG_VARIANCE[0, 0, :, 0]).exp(),
                              prior_variance=2.0, layer=net[2] if last_only else None)


def passes(*inputs, **named):
    return list(u.mc_dropout(*inputs, **named))


def scaled(logits, labels, **options):
    return u.TemperatureScaling().to(logits.device).fit(logits, labels, **options)(logits)


def scaled_from_the_cpu(place):
    return u.TemperatureScaling().fit(*place((SHARP, LABELS)))(place(SHARP))


def area(curve):
    return curve, curve.aurc, curve.excess_aurc, curve.augrc


def gate_opened(known, further, new):
    gate = u.shift_gate(known, further)
    return gate.distance(new), gate.p_values(new)


CALLS = {f"uncertainty.{name}": calls for name, calls in {
    "total_variance": call(u.total_variance, P[:, 0], P[:, 1]),
    "class_variance": call(u.class_variance, P),
    "class_entropy": call(u.class_entropy, P),
    "RunningVariance": running,
    "RunningProbabilities": running,
    "gaussian_nll": {reduction: slope(u.gaussian_nll, MEAN, TARGET, log_variance=LOG_VARIANCE, beta=0.5,
                                      reduction=reduction)
                     for reduction in ("mean", "sum", "none")},
    "logit_normal_nll": slope(u.logit_normal_nll, MEAN, log_variance=LOG_VARIANCE, samples=4, generator=GENERATOR,
                              **IGNORED),
    "logit_normal_probabilities": call(u.logit_normal_probabilities, MEAN, LOG_VARIANCE, samples=4,
                                       generator=GENERATOR),
    "speckle_nll": slope(u.speckle_nll, LOG_VARIANCE, TARGET.square(), looks=4),
    "laplace_variance": {"": laplace, "of a layer": partial(laplace, last_only=True)},
    "low_rank_logits": slope(u.low_rank_logits, MEAN, FACTORS, log_variance=LOG_VARIANCE, samples=3,
                             generator=GENERATOR),
    "low_rank_nll": slope(u.low_rank_nll, MEAN, factors=FACTORS, log_variance=LOG_VARIANCE, samples=3,
                          generator=GENERATOR, **IGNORED),
    "shift_gate": call(gate_opened, normal_numbers(30, 3), normal_numbers(20, 3, seed=1), normal_numbers(5, 3, seed=2)),
    "split_head": call(u.split_head, MEAN),
    "reliability": {"equal widths": call(u.reliability, P[0], **IGNORED),
                    "equal counts": call(u.reliability, P[0], LABELS, adaptive=True),
                    "of a class": call(u.reliability, P[0], LABELS, of_class=1),
                    "errors": lambda place: (lambda r: (r.ece, r.mce))(u.reliability(*place((P[0], LABELS))))},
    "classwise_ece": call(u.classwise_ece, P[0], **IGNORED),
    "brier_score": call(u.brier_score, P[0], **IGNORED),
    "negative_log_likelihood": call(u.negative_log_likelihood, P[0], **IGNORED),
    "TemperatureScaling": {"": call(scaled, SHARP, LABELS), "ignored": call(scaled, SHARP, **IGNORED),
                           "still on the CPU": scaled_from_the_cpu},
    "lac_scores": call(u.lac_scores, P[0]),
    "aps_scores": {"": call(u.aps_scores, P[0]), "random": call(u.aps_scores, P[0], generator=GENERATOR)},
    "residual_scores": {"": call(u.residual_scores, MEAN, TARGET),
                        "scaled": call(u.residual_scores, MEAN, TARGET, sigma=LOG_VARIANCE.exp())},
    "true_class_scores": call(u.true_class_scores, P[0], **IGNORED),
    "conformal_quantile": call(u.conformal_quantile, random_numbers(50), 0.1),
    "conformal_interval": {"": call(u.conformal_interval, MEAN, 0.3),
                           "scaled": call(u.conformal_interval, MEAN, 0.3, sigma=LOG_VARIANCE.exp())},
    "false_negative_threshold": call(u.false_negative_threshold, random_numbers(5, 8, 8),
                                     random_numbers(5, 8, 8, seed=1) > 0.5, alpha=0.2),
    "risk_coverage": lambda place: area(u.risk_coverage(*place((random_numbers(20), random_numbers(20, seed=1))))),
    "referral": call(u.referral, random_numbers(20), 0.3),
    "Ensemble": ensemble,
    "mc_dropout": {"": call(passes, unet(dropout=0.3), IMAGE, passes=3, generator=GENERATOR),
                   "no image": call(passes, unet(dropout=0.3), IMAGE[:0], passes=3, generator=GENERATOR)},
}.items()}
