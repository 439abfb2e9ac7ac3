"""Answers to the practice chapter "Design the loss"."""
import torch
from torch.nn import functional as F

from helpers.answers import right, wrong
from medlearn.losses import focal_loss, tversky_loss

ID, FIRST = "rare.loss", "a clinic you have not seen"


def soft_dice(p, y):
    return 2 * (p * y).sum() / (p.sum() + y.sum())


@right(ID)
def dice_by_hand(logits, labels):
    return 1 - soft_dice(logits.softmax(1)[:, 1], labels)


@right(ID)
def tversky(logits, labels):
    return tversky_loss(logits, labels, alpha_fp=0.7, beta_fn=0.3, include_background=False, batch=True)


@right(ID)
def log_dice(logits, labels):
    return -soft_dice(logits.softmax(1)[:, 1], labels).log()


@wrong(ID, at=FIRST)
def no_number_but_a_map(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")


@wrong(ID, at=FIRST)
def of_hard_answers(logits, labels):
    return 1 - soft_dice(logits.argmax(1).double(), labels)


@wrong(ID, at=FIRST)
def cut_off(logits, labels):
    return F.cross_entropy(logits.detach(), labels)


@wrong(ID, at=FIRST)
def nothing_returned(logits, labels):
    F.cross_entropy(logits, labels)


@wrong(ID, at=FIRST)
def not_finite(logits, labels):
    return -(logits.softmax(1)[:, 1] * 0).log().mean()


@wrong(ID, at=FIRST)
def a_python_number(logits, labels):
    return F.cross_entropy(logits, labels).item()


@wrong(ID, at=FIRST)
def labels_in_place_of_classes(logits, labels):
    return F.cross_entropy(logits, labels[:, None].expand_as(logits))


@wrong(ID, at=FIRST)
def cross_entropy(logits, labels):
    return F.cross_entropy(logits, labels)


@wrong(ID, at=FIRST)
def weighted_by_the_inverse_prevalence(logits, labels):
    return F.cross_entropy(logits, labels, weight=torch.tensor([1.0, 1000.0]))


@wrong(ID, at=FIRST)
def focal(logits, labels):
    return focal_loss(logits, labels, gamma=2.0)


@wrong(ID, at=FIRST)
def dice_of_the_background(logits, labels):
    return 1 - soft_dice(logits.softmax(1)[:, 0], 1 - labels)


@wrong(ID, at=FIRST)
def the_score_itself(logits, labels):
    return soft_dice(logits.softmax(1)[:, 1], labels)
