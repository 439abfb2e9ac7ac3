"""Answers to chapter 4's exercises."""
import torch
import torch.nn.functional as F

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# imbalance.soft_dice


@right("imbalance.soft_dice")
def class_by_class(probabilities, labels):
    columns = []
    for k in range(probabilities.shape[1]):
        p, y = probabilities[:, k].flatten(1), (labels == k).flatten(1).to(probabilities.dtype)
        size = p.sum(1) + y.sum(1)
        columns.append(torch.where(size == 0, torch.ones_like(size), 2 * (p * y).sum(1) / size.clamp_min(1e-30)))
    return torch.stack(columns, dim=1)


@right("imbalance.soft_dice")
def by_what_is_wrong(probabilities, labels):
    y = F.one_hot(labels, probabilities.shape[1]).movedim(-1, 1).to(probabilities.dtype)
    space = tuple(range(2, probabilities.ndim))
    size = (probabilities + y).sum(space)
    wrong_part = (probabilities + y - 2 * probabilities * y).sum(space)
    return 1 - wrong_part / (size + (size == 0))


@right("imbalance.soft_dice")
def image_by_image(probabilities, labels):
    def score(p, y):
        size = p.sum() + y.sum()
        return 2 * (p * y).sum() / size if size > 0 else p.sum() * 0 + 1
    return torch.stack([torch.stack([score(p, (one == k).to(p.dtype)) for k, p in enumerate(image)])
                        for image, one in zip(probabilities, labels)])


def _parts(probabilities, labels):
    p = probabilities.flatten(2)
    y = F.one_hot(labels.flatten(1), p.shape[1]).movedim(-1, 1).to(p.dtype)
    return p, y


def _ratio(above, below):
    return torch.where(below > 0, above / torch.where(below > 0, below, 1), 1)


@wrong("imbalance.soft_dice", at="two masks")
def intersection_over_union(probabilities, labels):
    p, y = _parts(probabilities, labels)
    both = (p * y).sum(2)
    return _ratio(both, p.sum(2) + y.sum(2) - both)


@wrong("imbalance.soft_dice", at="two masks")
def without_the_two(probabilities, labels):
    p, y = _parts(probabilities, labels)
    return _ratio((p * y).sum(2), p.sum(2) + y.sum(2))


@wrong("imbalance.soft_dice", at="two masks")
def the_loss(probabilities, labels):
    return 1 - class_by_class(probabilities, labels)


@wrong("imbalance.soft_dice", at="two masks")
def smoothed_by_one(probabilities, labels):
    p, y = _parts(probabilities, labels)
    return (2 * (p * y).sum(2) + 1) / (p.sum(2) + y.sum(2) + 1)


@wrong("imbalance.soft_dice", at="probabilities")
def of_the_most_probable(probabilities, labels):
    p = F.one_hot(probabilities.argmax(1), probabilities.shape[1]).movedim(-1, 1).to(probabilities.dtype)
    return class_by_class(p, labels)


@wrong("imbalance.soft_dice", at="probabilities")
def with_squares(probabilities, labels):
    p, y = _parts(probabilities, labels)
    return _ratio(2 * (p * y).sum(2), p.square().sum(2) + y.sum(2))


@wrong("imbalance.soft_dice", at="several images, several classes")
def over_the_batch(probabilities, labels):
    p, y = _parts(probabilities, labels)
    return _ratio(2 * (p * y).sum((0, 2)), (p + y).sum((0, 2)))[None]


@wrong("imbalance.soft_dice", at="several images, several classes")
def lesion_against_the_rest(probabilities, labels):
    return class_by_class(torch.stack([probabilities[:, 0], probabilities[:, 1:].sum(1)], dim=1), (labels > 0).long())


@wrong("imbalance.soft_dice", at="a volume")
def two_axes_of_space(probabilities, labels):
    y = F.one_hot(labels, probabilities.shape[1]).movedim(-1, 1).to(probabilities.dtype)
    return _ratio(2 * (probabilities * y).sum((2, 3)), (probabilities + y).sum((2, 3)))


@wrong("imbalance.soft_dice", at="a class that is not there")
def nothing_over_nothing(probabilities, labels):
    p, y = _parts(probabilities, labels)
    return 2 * (p * y).sum(2) / (p.sum(2) + y.sum(2))


@wrong("imbalance.soft_dice", at="a class that is not there")
def nothing_scores_zero(probabilities, labels):
    p, y = _parts(probabilities, labels)
    return 2 * (p * y).sum(2) / (p.sum(2) + y.sum(2)).clamp_min(1e-30)


@wrong("imbalance.soft_dice", at="a false alarm")
def absent_is_always_right(probabilities, labels):
    p, y = _parts(probabilities, labels)
    return torch.where(y.sum(2) > 0, _ratio(2 * (p * y).sum(2), p.sum(2) + y.sum(2)), 1)


@wrong("imbalance.soft_dice", at="the gradient")
def denominator_detached(probabilities, labels):
    p, y = _parts(probabilities, labels)
    return _ratio(2 * (p * y).sum(2), (p.sum(2) + y.sum(2)).detach())


@wrong("imbalance.soft_dice", at="the gradient")
def in_single_precision(probabilities, labels):
    return class_by_class(probabilities.float(), labels)


@wrong("imbalance.soft_dice", at="the gradient beside an absent class")
def nan_on_the_way_back(probabilities, labels):
    p, y = _parts(probabilities, labels)
    size = p.sum(2) + y.sum(2)
    return torch.where(size > 0, 2 * (p * y).sum(2) / size, 1)


# ---------------------------------------------------------------------------------------------------------------------
# imbalance.tversky


@right("imbalance.tversky")
def one_minus_the_wrong(tp, fp, fn, alpha, beta):
    wrong_part = alpha * fp + beta * fn
    whole = tp + wrong_part
    return 1 - wrong_part / (whole + (whole == 0))


@right("imbalance.tversky")
def over_the_last_axis(tp, fp, fn, alpha, beta):
    columns = []
    for k in range(len(alpha)):
        whole = tp[..., k] + alpha[k] * fp[..., k] + beta[k] * fn[..., k]
        columns.append((tp[..., k] / whole.clamp_min(1e-30)).where(whole > 0, torch.ones_like(whole)))
    return torch.stack(columns, dim=-1)


@right("imbalance.tversky")
def by_a_matrix_product(tp, fp, fn, alpha, beta):
    whole = torch.einsum("...kc,kc->...k", torch.stack([tp, fp, fn], dim=-1),
                         torch.stack([torch.ones_like(alpha), alpha, beta], dim=-1))
    empty = whole == 0
    return tp.masked_fill(empty, 1) / whole.masked_fill(empty, 1)


def _index(tp, wrong_part):
    whole = tp + wrong_part
    return torch.where(whole > 0, tp / torch.where(whole > 0, whole, 1), 1)


@wrong("imbalance.tversky", at="one half each")
def with_a_two(tp, fp, fn, alpha, beta):
    return _index(2 * tp, alpha * fp + beta * fn)


@wrong("imbalance.tversky", at="one half each")
def as_a_loss(tp, fp, fn, alpha, beta):
    return 1 - _index(tp, alpha * fp + beta * fn)


@wrong("imbalance.tversky", at="one half each")
def jaccard_always(tp, fp, fn, alpha, beta):
    return _index(tp, fp + fn)


@wrong("imbalance.tversky", at="misses cost more")
def prices_exchanged(tp, fp, fn, alpha, beta):
    return _index(tp, beta * fp + alpha * fn)


@wrong("imbalance.tversky", at="misses cost more")
def always_dice(tp, fp, fn, alpha, beta):
    return _index(tp, (fp + fn) / 2)


@wrong("imbalance.tversky", at="prices that do not sum to one")
def prices_made_to_sum_to_one(tp, fp, fn, alpha, beta):
    return _index(tp, (alpha * fp + beta * fn) / (alpha + beta))


@wrong("imbalance.tversky", at="a price for each class")
def the_first_price_for_all(tp, fp, fn, alpha, beta):
    return _index(tp, alpha[0] * fp + beta[0] * fn)


@wrong("imbalance.tversky", at="a price for each class")
def the_mean_price(tp, fp, fn, alpha, beta):
    return _index(tp, alpha.mean() * fp + beta.mean() * fn)


@wrong("imbalance.tversky", at="counts of many networks")
def two_axes_only(tp, fp, fn, alpha, beta):
    images, classes = tp.shape
    return _index(tp, alpha.expand(images, classes) * fp + beta.expand(images, classes) * fn)


@wrong("imbalance.tversky", at="nothing to count")
def zero_over_zero(tp, fp, fn, alpha, beta):
    return tp / (tp + alpha * fp + beta * fn)


@wrong("imbalance.tversky", at="nothing to count")
def nothing_is_worth_nothing(tp, fp, fn, alpha, beta):
    return tp / (tp + alpha * fp + beta * fn).clamp_min(1e-30)


@wrong("imbalance.tversky", at="the gradient beside nothing")
def hidden_nan(tp, fp, fn, alpha, beta):
    whole = tp + alpha * fp + beta * fn
    return torch.where(whole > 0, tp / whole, 1)


@wrong("imbalance.tversky", at="the gradient")
def numerator_only(tp, fp, fn, alpha, beta):
    whole = (tp + alpha * fp + beta * fn).detach()
    return torch.where(whole > 0, tp / torch.where(whole > 0, whole, 1), 1)


# ---------------------------------------------------------------------------------------------------------------------
# imbalance.gradient_share


@right("imbalance.gradient_share")
def by_autograd(logits, labels):
    z = logits.detach().clone().requires_grad_()
    gradient, = torch.autograd.grad(F.cross_entropy(z, labels, reduction="sum"), z)
    mass = gradient.abs().sum(1)
    shares = torch.stack([(mass * (labels == k)).sum() for k in range(logits.shape[1])])
    return shares / shares.sum() if shares.sum() > 0 else shares


@right("imbalance.gradient_share")
def by_p_minus_y(logits, labels):
    y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    mass = (logits.softmax(1) - y).abs().sum(1, keepdim=True)
    masses = (mass * y).transpose(0, 1).flatten(1).sum(1)
    return masses / (masses.sum() + (masses.sum() == 0))


@right("imbalance.gradient_share")
def by_a_weighted_histogram(logits, labels):
    mass = 1 - logits.softmax(1).gather(1, labels[:, None])
    masses = torch.bincount(labels.flatten(), weights=mass.flatten().double(), minlength=logits.shape[1])
    return (masses / masses.sum().clamp_min(1e-30)).to(logits.dtype)


def _masses(logits, labels, power=1):
    y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    return (logits.softmax(1) - y).abs().pow(power), y


@wrong("imbalance.gradient_share", at="an undecided network")
def each_class_alike(logits, labels):
    mass, y = _masses(logits, labels)
    means = (mass.sum(1, keepdim=True) * y).transpose(0, 1).flatten(1).sum(1) / y.transpose(0, 1).flatten(1).sum(1)
    return means / means.sum()


@wrong("imbalance.gradient_share", at="an undecided network")
def masses_not_shares(logits, labels):
    mass, y = _masses(logits, labels)
    return (mass.sum(1, keepdim=True) * y).transpose(0, 1).flatten(1).sum(1)


@wrong("imbalance.gradient_share", at="an undecided network")
def by_the_logit_not_the_label(logits, labels):
    mass, _ = _masses(logits, labels)
    shares = mass.transpose(0, 1).flatten(1).sum(1)
    return shares / shares.sum()


@wrong("imbalance.gradient_share", at="an answer")
def prevalence_always(logits, labels):
    counts = torch.bincount(labels.flatten(), minlength=logits.shape[1])
    return counts.to(logits.dtype) / counts.sum()


@wrong("imbalance.gradient_share", at="an answer")
def share_of_the_squares(logits, labels):
    mass, y = _masses(logits, labels, power=2)
    shares = (mass.sum(1, keepdim=True) * y).transpose(0, 1).flatten(1).sum(1)
    return shares / shares.sum()


@wrong("imbalance.gradient_share", at="an answer")
def share_of_the_loss(logits, labels):
    loss = F.cross_entropy(logits, labels, reduction="none")
    shares = torch.stack([loss[labels == k].sum() for k in range(logits.shape[1])])
    return shares / shares.sum()


@wrong("imbalance.gradient_share", at="an answer")
def logits_for_probabilities(logits, labels):
    y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    mass = (logits.sigmoid() - y).abs().sum(1, keepdim=True)
    shares = (mass * y).transpose(0, 1).flatten(1).sum(1)
    return shares / shares.sum()


@wrong("imbalance.gradient_share", at="several classes")
def lesion_logit_only(logits, labels):
    mass, y = _masses(logits, labels)
    shares = (mass[:, 1:2] * y).transpose(0, 1).flatten(1).sum(1)
    return shares / shares.sum().clamp_min(1e-30)


@wrong("imbalance.gradient_share", at="a volume")
def two_axes_of_the_image(logits, labels):
    _, k, height, width = logits.shape
    return by_autograd(logits.view(-1, k, height, width), labels)


@wrong("imbalance.gradient_share", at="a class without voxels")
def only_the_classes_present(logits, labels):
    mass = 1 - logits.softmax(1).gather(1, labels[:, None])[:, 0]
    shares = torch.stack([mass[labels == k].sum() for k in labels.unique()])
    if shares.sum() == 0:
        return torch.zeros(logits.shape[1], device=logits.device)
    return shares / shares.sum()


@wrong("imbalance.gradient_share", at="a perfect answer")
def none_over_none(logits, labels):
    mass, y = _masses(logits, labels)
    shares = (mass.sum(1, keepdim=True) * y).transpose(0, 1).flatten(1).sum(1)
    return shares / shares.sum()


@wrong("imbalance.gradient_share", at="a healthy patient")
def zero_without_a_lesion(logits, labels):
    return by_autograd(logits, labels) * labels.any()
