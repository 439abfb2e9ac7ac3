"""Where a step of training waits for the GPU: each look at a number there has its place in a table, with its reason.

Whoever wants a number waits until the GPU has done all that it was told before, and meanwhile tells it nothing new.
It is seen on the CPU: one mode of torch sees the operations whose size or course depends on values, the gradient's
too, and another the methods that take numbers out of a tensor. What is copied from one device to another it cannot see.
"""
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.api import CALLS
from helpers.api.places import Place
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import medlearn
from medlearn import nets
from medlearn.losses import dice_ce_loss, trusted_values

HOUSE = Path(medlearn.__file__).parent
OPERATIONS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive",
              "unique_dim_consecutive", "equal", "bincount"}
BY_MASK = {"index", "index_put", "index_put_", "_index_put_impl_"}
METHODS = {"tolist", "cpu", "numpy", "__array__"}           # the others end in an operation

# file:function -> why it may; where `base` looks on someone's behalf, it is that one's look
AT_THE_DOOR = {         # `trusted_values()` leaves these out
    "losses/_answers.py:check_truth": "a label out of range would end the process on a GPU",
    "losses/_inputs.py:check_numbers": "one sum of the loss: NaN is refused before it is in the weights",
    "losses/_inputs.py:counted_logits": "the same, and NaN in ignored voxels is taken out",
    "losses/_inputs.py:class_numbers": "weights of classes that are a tensor: none below 0",
    "losses/boundary.py:boundary_loss": "NaN in the map of distances, which would be NaN in the weights",
    "losses/cldice.py:soft_skeleton": "called by itself it refuses what is no probability",
}
ALWAYS = {
    "losses/_one_pass.py:_log": "a probability too small for a float is rare, and its remedy a search; the fused "
                                "kernel needs neither",
    "nets/context.py:_identity_": "the first weights, when the module is made",
    "nets/joint_loss.py:tasks_loss": "labels out of range, and lesions below 0",
    "nets/joint_loss.py:_root_weights": "counts the voxels of each lesion; how many lesions there are decides sizes",
    "nets/targets.py:instance_targets": "the same; made by the data instead, these targets cost the GPU nothing",
    "nets/targets.py:_bumps": "the same",
    "nets/targets.py:semantic_target": "labels out of range",
}
IN_A_TRAINING = {
    "train/samples.py:Stream._sample": "the order of an epoch, on the CPU",
    "train/fingerprint.py:_means": "numbers of the first sample, once",
    "train/checkpoints.py:write_checkpoint": "a checkpoint is a file",
    "train/loop.py:_describe": "the labels of the first batch, once",
    "train/loop.py:_on": "torch's loader draws a seed, on the CPU",
    "train/loop.py:train_steps": "AdamW keeps the number of its steps, on the CPU",
    "train/run.py:_not_finite": "nothing that is not finite is saved",
    "train/run.py:Run._fetch_losses": "the losses of ten steps at once",
}
STEPS = [name for name in CALLS if name.lower().endswith(("loss", "cross_entropy", "overlap_counts"))
         or name.startswith("nets.") and isinstance(getattr(nets, name.removeprefix("nets.")), type)]


class Waits:
    """Counts who looked at values while it was on: the innermost function of a house, but for its ground floor."""

    def __init__(self, house=HOUSE):
        self.house, self.found = house, Counter()

    def note(self):
        frame = sys._getframe(2)
        while frame:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(self.house) and path.parent != HOUSE / "base":
                who = frame.f_code.co_qualname.partition(".<locals>")[0]
                self.found[f"{path.relative_to(self.house).as_posix()}:{who}"] += 1
                return
            frame = frame.f_back

    def __enter__(self):
        waits = self

        class Operations(TorchDispatchMode):
            def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
                name = operation._schema.name.partition("::")[2]
                masked = name in BY_MASK and any(x is not None and x.dtype == torch.bool for x in args[1])
                if name in OPERATIONS or masked:
                    waits.note()
                return operation(*args, **(kwargs or {}))

        class Methods(TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                if getattr(function, "__name__", "") in METHODS:
                    waits.note()
                return function(*args, **(kwargs or {}))

        self.modes = ExitStack()
        self.modes.enter_context(Methods())
        self.modes.enter_context(Operations())
        return self.found

    def __exit__(self, *error):
        self.modes.close()


def looks(names):
    with Waits() as found:
        for name in names:
            for run in CALLS[name].values():
                run(Place("cpu"))
    return found


def test_losses_and_networks_look_only_where_the_table_says_why():
    assert looks(STEPS).keys() == AT_THE_DOOR.keys() | ALWAYS.keys()


def test_trusted_values_leave_out_every_look_at_the_door():
    with trusted_values():
        assert looks(STEPS).keys() == ALWAYS.keys()


def test_a_loss_looks_once_at_its_labels_and_once_at_its_logits():
    logits, labels = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randint(0, 3, (2, 8, 8))
    with Waits() as found:
        dice_ce_loss(logits, labels).backward()
    assert found == {"losses/_answers.py:check_truth": 1, "losses/_inputs.py:check_numbers": 1,
                     "losses/_one_pass.py:_log": 1}


def test_a_training_looks_only_where_the_table_says_why(tmp_path):
    with Waits() as found:
        tiny.train(checkpoint=tmp_path, every=3, loss=dice_ce_loss)
    known = IN_A_TRAINING.keys() | AT_THE_DOOR.keys() | ALWAYS.keys()
    assert IN_A_TRAINING.keys() <= found.keys() <= known


LOOKS = {"item": lambda x: x.sum().item(), "bool": lambda x: bool(x.sum() > 0), "a mask": lambda x: x[x > 0],
         "nonzero": lambda x: x.nonzero(), "cpu": lambda x: x.cpu(), "tolist": lambda x: x.tolist(),
         "masked_select": lambda x: x.masked_select(x > 0), "unique": lambda x: x.unique(),
         "written to by a mask": lambda x: x.clone().__setitem__(x > 0, torch.ones(1))}
HARMLESS = {"masked_fill": lambda x: x.masked_fill(x > 0, 1), "where": lambda x: torch.where(x > 0, x, 0),
            "gather": lambda x: x.gather(0, torch.zeros(1, dtype=torch.int64)),
            "places": lambda x: x[torch.tensor([0])]}


@pytest.mark.parametrize("kind", [*LOOKS, *HARMLESS])
def test_the_modes_see_what_waits_and_nothing_else(kind):
    with Waits(Path(__file__).parent) as found:
        (LOOKS | HARMLESS)[kind](torch.tensor([1.0, -1.0]))
    assert bool(found) == (kind in LOOKS)
