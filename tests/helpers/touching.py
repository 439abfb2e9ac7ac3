"""Things that touch each other, and what a network without a fault would say of them."""
import numpy as np
import torch
from torch.nn import functional as F

from medlearn.nets import TaskAnswers, instance_targets

SMALL = (4, 6)


def balls(shape, centres, radius):
    """Each voxel within the radius belongs to the nearest centre: things that touch where they are near."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid[..., None, :] - np.array(centres), axis=-1)
    return torch.from_numpy(np.where(distance.min(-1) <= radius, distance.argmin(-1) + 1, 0))


def renumbered(things):
    """The ids in the order in which they first appear, so that two maps of the same things are equal."""
    flat = things.flatten().tolist()
    order = {0: 0}
    return torch.tensor([order.setdefault(i, len(order)) for i in flat]).view(things.shape)


def two_touching(dim=2):
    shape, centres = ((12, 16), [(6, 5), (6, 10)]) if dim == 2 else ((8, 10, 14), [(4, 5, 4), (4, 5, 9)])
    return balls(shape, centres, 3)[None]


def perfect_answers(instance, classes=None, height=1.0):
    """What a network without a fault would say; `classes` of each voxel, 4 for all things when left out."""
    targets = instance_targets(instance)
    labels = torch.where(instance > 0, 4, 0) if classes is None else classes
    semantic = F.one_hot(labels, 6).movedim(-1, 1).float() * 9
    return TaskAnswers(torch.zeros(len(instance), 3), semantic, targets.centre * height, targets.offset)


def truth_of(instance, diagnosis=1):
    return dict(diagnosis=torch.full((len(instance),), diagnosis), semantic=torch.where(instance > 0, 4, 0),
                instance=instance)
