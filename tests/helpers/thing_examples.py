"""Maps and sets of things, and comparisons, that the tests of matching and of the scores share."""
from itertools import permutations

import numpy as np
import torch

from medlearn.tasks import InstanceSet


def random_maps(seed, things=4):
    """Two maps that are alike: the second is the first, with noise and other names."""
    random = np.random.default_rng(seed)
    shape = random.integers(1, 6, size=random.integers(2, 4))
    truth = random.integers(0, things + 1, size=shape)
    answer = np.where(random.random(shape) < random.uniform(0, 0.8), random.integers(0, things + 1, size=shape), truth)
    names = np.array([0, *random.permutation(np.arange(1, 3 * things))[:things]])
    return torch.from_numpy(truth), torch.from_numpy(names[answer])


def random_sets(seed, most=4, shape=(3, 4)):
    random = np.random.default_rng(seed)
    base = random.random((most, *shape)) < 0.5
    def one():
        masks = base ^ (random.random(base.shape) < 0.15)
        masks[:, 0, 0] = True
        n = random.integers(0, most + 1)
        return InstanceSet(torch.from_numpy(masks[:n]), torch.from_numpy(random.integers(1, 3, size=n)))
    return one(), one()


def as_set(ids):
    return InstanceSet.from_map(ids, (ids > 0).long())


def same(a, b):
    assert (a.tp, a.fp, a.fn, round(a.iou_sum, 12)) == (b.tp, b.fp, b.fn, round(b.iou_sum, 12))


def best_by_hand(gain):
    """The largest sum of gains over every one-to-one assignment, by trying them all."""
    gain = gain if gain.shape[0] <= gain.shape[1] else gain.T
    orders = permutations(range(gain.shape[1]), gain.shape[0])
    return max(sum(gain[i, j] for i, j in enumerate(order)) for order in orders)
