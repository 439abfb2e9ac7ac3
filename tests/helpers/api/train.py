import tempfile
from contextlib import contextmanager
from unittest.mock import patch

import torch
from accelerate.state import AcceleratorState
from torch.nn import functional as F

from helpers import tiny
from helpers.api.places import normal_numbers, random_labels, slope
from medlearn import runtime, train


@contextmanager
def training_at(place):
    """`fit` takes the GPU where there is one, and Accelerate stays with what it took first."""
    AcceleratorState._reset_state(reset_partial_state=True)
    with patch.object(runtime, "device", lambda verbose=True: place.device):
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


def fitted(*, data_there=False, **options):
    recipe = train.Recipe(steps=4, batch_size=4, accumulate=2, **{"precision": "fp32", **options})

    def run(place):
        data = [(x.to(place.device), y.to(place.device)) for x, y in samples()] if data_there else tiny.Pictures()
        net = tiny.tiny_net()
        with training_at(place):
            history = train.fit(net, data, loss=F.cross_entropy, recipe=recipe)
        return torch.tensor(history.column("loss"), device=place.device), tiny.weights_of(net)
    return run


def samples():
    pictures = tiny.Pictures()
    return [pictures[i] for i in range(len(pictures))]


def resumed(place):
    recipe = train.Recipe(steps=4, batch_size=4, precision="fp32")
    with tempfile.TemporaryDirectory() as folder, training_at(place):
        for _ in range(2):
            train.fit(tiny.tiny_net(), tiny.Pictures(), loss=F.cross_entropy, recipe=recipe, checkpoint=folder, every=2)
        return tiny.weights_of(train.load_weights(tiny.tiny_net(seed=1).to(place.device), folder))


def of_two_answers(coarse, fine, labels):
    return train.deep_supervision(F.cross_entropy)((fine, coarse), labels)


def autocast(place):
    x = normal_numbers(8, 8)
    with runtime.autocast(place.device):
        return (place(x) @ place(x)).float()


def saved(place):
    """A network that lies on the GPU keeps as many bytes."""
    return torch.tensor(train.saved_bytes(tiny.tiny_net().to(place.device), (2, 1, 16, 16)), device=place.device)


LOOP = {"fp32": fitted(), "data there": fitted(data_there=True), "a worker": fitted(workers=1)}
CALLS = {
    "train.fit": LOOP, "train.train_steps": {"fp32": LOOP["fp32"]}, "train.load_weights": {"": resumed},
    "train.deep_supervision": {"": slope(of_two_answers, normal_numbers(2, 3, 8, 8), normal_numbers(2, 3, 16, 16),
                                         random_labels(3, 2, 16, 16))},
    "train.saved_bytes": saved, "runtime.autocast": autocast,
}
