"""Answers to chapter 2's exercises."""
import torch
from torch.nn import functional as F

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# ce.cross_entropy


@right("ce.cross_entropy")
def by_torch(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")


@right("ce.cross_entropy")
def by_exp_and_log(logits, labels):
    shifted = logits - logits.amax(dim=1, keepdim=True)         # not detached: what it adds to the gradient cancels
    return shifted.exp().sum(dim=1).log() - shifted.gather(1, labels.unsqueeze(1)).squeeze(1)


@right("ce.cross_entropy")
def by_a_one_hot_product(logits, labels):
    y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    return -(y * logits.log_softmax(1)).sum(1)


@right("ce.cross_entropy")
def by_gaps_to_the_truth(logits, labels):
    return (logits - logits.gather(1, labels[:, None])).logsumexp(dim=1)


def _true_probability(logits, labels):
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


@wrong("ce.cross_entropy", at="the voxel of the chapter")
def in_bits(logits, labels):
    return by_torch(logits, labels) / torch.log(torch.tensor(2.0, device=logits.device))


@wrong("ce.cross_entropy", at="the voxel of the chapter")
def without_the_minus(logits, labels):
    return -by_torch(logits, labels)


@wrong("ce.cross_entropy", at="the voxel of the chapter")
def missing_probability(logits, labels):
    return 1 - _true_probability(logits, labels)


@wrong("ce.cross_entropy", at="the voxel of the chapter")
def every_class_against_the_rest(logits, labels):
    y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    p = logits.softmax(1)
    return -(y * p.log() + (1 - y) * (1 - p).log()).sum(1)


@wrong("ce.cross_entropy", at="the voxel of the chapter")
def softmax_twice(logits, labels):
    return by_torch(logits.softmax(1), labels)


@wrong("ce.cross_entropy", at="the voxel of the chapter")
def cut_from_the_graph(logits, labels):
    return by_torch(logits.detach(), labels)


@wrong("ce.cross_entropy", at="the voxel of the chapter")
def a_constant_normaliser(logits, labels):
    shifted = logits - logits.amax(dim=1, keepdim=True)
    return shifted.exp().sum(1).log().detach() - shifted.gather(1, labels[:, None])[:, 0]


@wrong("ce.cross_entropy", at="four voxels, one loss for each")
def the_mean(logits, labels):
    losses = by_torch(logits, labels)
    return losses.mean().expand_as(losses) if len(losses) == 1 else losses.mean()


@wrong("ce.cross_entropy", at="four voxels, one loss for each")
def softmax_over_the_batch(logits, labels):
    log_p = logits.log_softmax(0) if len(logits) > 1 else logits.log_softmax(1)
    return -log_p.gather(1, labels[:, None])[:, 0]


@wrong("ce.cross_entropy", at="two slices")
def classes_last(logits, labels):
    return logits.logsumexp(-1) - logits.gather(-1, labels[..., None])[..., 0]


@wrong("ce.cross_entropy", at="two slices")
def flattened(logits, labels):
    return by_torch(logits.movedim(1, -1).flatten(0, -2), labels.flatten())


@wrong("ce.cross_entropy", at="a volume")
def slices_at_most(logits, labels):
    y = F.one_hot(labels, logits.shape[1])
    y = y.permute(0, 3, 1, 2) if y.ndim == 4 else y
    return -(y * logits.log_softmax(1)).sum(1)


@wrong("ce.cross_entropy", at="200 logits behind")
def through_the_probability(logits, labels):
    return -_true_probability(logits, labels).log()


@wrong("ce.cross_entropy", at="200 logits behind")
def a_grain_of_probability(logits, labels):
    return -(_true_probability(logits, labels) + 1e-12).log()


@wrong("ce.cross_entropy", at="200 logits behind")
def log_sum_exp_as_it_stands(logits, labels):
    return logits.exp().sum(1).log() - logits.gather(1, labels[:, None])[:, 0]


@wrong("ce.cross_entropy", at="200 logits ahead")
def overflows_when_right(logits, labels):
    true = logits.gather(1, labels[:, None])[:, 0]
    if (true < logits.amax(1)).any():
        return by_torch(logits, labels)
    return logits.exp().sum(1).log() - true


@wrong("ce.cross_entropy", at="all logits near -1000")
def subtracts_only_what_is_positive(logits, labels):
    shift = logits.amax(dim=1).clamp_min(0)
    return (logits - shift[:, None]).exp().sum(1).log() + shift - logits.gather(1, labels[:, None])[:, 0]


@wrong("ce.cross_entropy", at="no voxel")
def the_largest_of_all(logits, labels):
    shifted = logits - logits.max()                             # there is none in an empty batch
    return by_torch(shifted, labels)


# ---------------------------------------------------------------------------------------------------------------------
# ce.gradient


@right("ce.gradient")
def by_autograd(logits, labels):
    leaf = logits.detach().clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(leaf, labels, reduction="sum"), leaf)[0] / max(labels.numel(), 1)


@right("ce.gradient")
def one_off_at_the_truth(logits, labels):
    p = logits.softmax(1)
    p = p.scatter_add(1, labels[:, None], torch.full_like(p[:, :1], -1))
    return p / max(labels.numel(), 1)


@right("ce.gradient")
def by_hand(logits, labels):
    e = (logits - logits.amax(1, keepdim=True)).exp()
    numbers = torch.arange(logits.shape[1], device=logits.device).view(-1, *[1] * (logits.ndim - 2))
    error = e / e.sum(1, keepdim=True) - (labels[:, None] == numbers).to(e)
    return error / labels.numel() if labels.numel() else error


def _error(logits, labels):
    return by_hand(logits, labels) * max(labels.numel(), 1)


@wrong("ce.gradient", at="the voxel of the chapter")
def true_minus_said(logits, labels):
    return -by_hand(logits, labels)


@wrong("ce.gradient", at="the voxel of the chapter")
def only_the_true_class(logits, labels):
    y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    return by_hand(logits, labels) * y


@wrong("ce.gradient", at="the voxel of the chapter")
def by_the_probabilities(logits, labels):
    y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    return -y / logits.softmax(1) / max(labels.numel(), 1)


@wrong("ce.gradient", at="the voxel of the chapter")
def of_the_squared_error(logits, labels):
    p, d = logits.softmax(1), _error(logits, labels)
    return 2 * p * (d - (p * d).sum(1, keepdim=True)) / max(labels.numel(), 1)


@wrong("ce.gradient", at="the voxel of the chapter")
def in_single_precision(logits, labels):
    return by_hand(logits, labels).float()


@wrong("ce.gradient", at="four voxels")
def of_the_sum(logits, labels):
    return _error(logits, labels)


@wrong("ce.gradient", at="four voxels")
def of_the_mean_over_classes_too(logits, labels):
    share = 1 if len(labels) == 1 and labels.ndim == 1 else logits.shape[1]
    return by_hand(logits, labels) / share


@wrong("ce.gradient", at="two slices")
def of_the_mean_over_the_batch(logits, labels):
    return _error(logits, labels) / max(len(labels), 1)


@wrong("ce.gradient", at="two slices")
def classes_at_the_end(logits, labels):
    return (logits.softmax(1) - F.one_hot(labels, logits.shape[1])) / max(labels.numel(), 1)


@wrong("ce.gradient", at="a volume")
def no_volumes(logits, labels):
    y = F.one_hot(labels, logits.shape[1])
    y = y.permute(0, 3, 1, 2) if y.ndim == 4 else y
    return (logits.softmax(1) - y) / max(labels.numel(), 1)


@wrong("ce.gradient", at="a class that no voxel has")
def classes_of_the_labels(logits, labels):
    y = F.one_hot(labels).movedim(-1, 1) if labels.numel() else torch.zeros_like(logits)
    if y.shape[1] < logits.shape[1] and labels.max() > 0:       # found by luck, unless the last classes are missing
        y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    return (logits.softmax(1) - y) / max(labels.numel(), 1)


@wrong("ce.gradient", at="200 logits behind")
def overflows(logits, labels):
    e = logits.exp()
    y = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)
    return (e / e.sum(1, keepdim=True) - y) / max(labels.numel(), 1)


@wrong("ce.gradient", at="no voxel")
def one_row_for_nobody(logits, labels):
    return by_hand(logits, labels) if labels.numel() else logits.new_zeros(1, logits.shape[1])


# ---------------------------------------------------------------------------------------------------------------------
# ce.smooth_targets


@right("ce.smooth_targets")
def filled_and_scattered(labels, classes, epsilon):
    shape = (labels.shape[0], classes, *labels.shape[1:])
    target = torch.full(shape, epsilon / classes, device=labels.device)
    return target.scatter(1, labels[:, None], 1 - epsilon + epsilon / classes)


@right("ce.smooth_targets")
def rows_of_a_matrix(labels, classes, epsilon):
    eye = torch.eye(classes, dtype=torch.float64, device=labels.device)
    return torch.lerp(eye, torch.full_like(eye, 1 / classes), epsilon)[labels].movedim(-1, 1)


@right("ce.smooth_targets")
def class_by_class(labels, classes, epsilon):
    return torch.stack([torch.where(labels == k, 1 - epsilon, 0.0) + epsilon / classes for k in range(classes)], dim=1)


@wrong("ce.smooth_targets", at="three classes, a tenth shared")
def shared_by_the_wrong_ones(labels, classes, epsilon):
    y = F.one_hot(labels, classes).movedim(-1, 1).float()
    return (1 - epsilon) * y + epsilon * (1 - y) / (classes - 1)


@wrong("ce.smooth_targets", at="three classes, a tenth shared")
def more_than_one_in_all(labels, classes, epsilon):
    return F.one_hot(labels, classes).movedim(-1, 1) + epsilon / classes


@wrong("ce.smooth_targets", at="three classes, a tenth shared")
def a_whole_epsilon_each(labels, classes, epsilon):
    return (1 - epsilon) * F.one_hot(labels, classes).movedim(-1, 1) + epsilon


@wrong("ce.smooth_targets", at="three classes, a tenth shared")
def the_other_way_round(labels, classes, epsilon):
    return epsilon * F.one_hot(labels, classes).movedim(-1, 1) + (1 - epsilon) / classes


@wrong("ce.smooth_targets", at="three classes, a tenth shared")
def not_smoothed(labels, classes, epsilon):
    return F.one_hot(labels, classes).movedim(-1, 1).float()


@wrong("ce.smooth_targets", at="no smoothing")
def whole_numbers_without_smoothing(labels, classes, epsilon):
    y = F.one_hot(labels, classes).movedim(-1, 1)
    return (1 - epsilon) * y.float() + epsilon / classes if epsilon else y


@wrong("ce.smooth_targets", at="nothing but smoothing")
def the_truth_keeps_a_lead(labels, classes, epsilon):
    epsilon = min(epsilon, 0.9)
    return (1 - epsilon) * F.one_hot(labels, classes).movedim(-1, 1) + epsilon / classes


@wrong("ce.smooth_targets", at="nothing but smoothing")
def as_many_classes_as_labels(labels, classes, epsilon):
    classes = int(labels.max()) + 1 if labels.numel() else classes
    return filled_and_scattered(labels, classes, epsilon)


@wrong("ce.smooth_targets", at="a class that no voxel has")
def only_classes_that_occur(labels, classes, epsilon):
    present = min(classes, int(labels.max()) + 2) if labels.numel() else classes
    return filled_and_scattered(labels, classes, epsilon)[:, :present]


@wrong("ce.smooth_targets", at="two slices")
def classes_after_space(labels, classes, epsilon):
    return (1 - epsilon) * F.one_hot(labels, classes) + epsilon / classes


@wrong("ce.smooth_targets", at="a volume")
def no_third_axis(labels, classes, epsilon):
    y = F.one_hot(labels, classes)
    y = y.permute(0, 3, 1, 2) if y.ndim == 4 else y
    return (1 - epsilon) * y + epsilon / classes


@wrong("ce.smooth_targets", at="no voxel")
def no_classes_for_nobody(labels, classes, epsilon):
    return filled_and_scattered(labels, classes, epsilon) if labels.numel() else torch.zeros(0, device=labels.device)
