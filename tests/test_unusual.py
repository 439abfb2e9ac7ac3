"""Nested, quantised and sparse tensors: every door takes the plain one and refuses these by name, in one sentence."""
import pytest
import torch
from torch import nn

from medlearn.base.grid import as_affine, as_spacing
from medlearn.base.validation import as_tensor, is_unusual, kind_of
from medlearn.data import as_samples
from medlearn.losses import cross_entropy, dice_loss, signed_distance_mm
from medlearn.metrics import confusion_counts, panoptic_quality, surface_distances, surface_report
from medlearn.physics import rician_noise, spin_echo, to_kspace
from medlearn.physics.rician import background_sigma
from medlearn.train.samples import first_sample
from medlearn.uncertainty import Ensemble
from medlearn.viz.arrays import check_array

UNUSUAL = {
    "nested": lambda x: torch.nested.nested_tensor([x, x]),
    "jagged": lambda x: torch.nested.nested_tensor([x.reshape(-1)] * 2, layout=torch.jagged),
    "quantised": lambda x: torch.quantize_per_tensor(x.float(), 1.0, 0, torch.qint32),
    "sparse": torch.Tensor.to_sparse,
}
LOGITS, LABELS, MASK = torch.zeros(2, 3, 8, 8), torch.ones(2, 8, 8).long(), torch.ones(8, 8).bool()
IMAGE, GENERATOR = torch.ones(2, 1, 8, 8), torch.Generator()
TISSUE = {"t1_ms": 900.0, "t2_ms": 80.0, "tr_ms": 500.0, "te_ms": 10.0}
DOORS = {
    "labels of a loss": (LABELS, lambda x: dice_loss(LOGITS, x)),
    "labels of regions": (LOGITS.bool(), lambda x: dice_loss(LOGITS, x)),
    "labels of distances": (LABELS, lambda x: signed_distance_mm(x, classes=3, spacing_mm=(1, 1))),
    "where": (LOGITS.bool(), lambda x: cross_entropy(LOGITS, LOGITS.bool(), where=x)),
    "prediction": (LABELS, lambda x: confusion_counts(x, LABELS, classes=3)),
    "target": (LABELS, lambda x: surface_report(LABELS, x, classes=3, spacing_mm=(1, 1))),
    "target of masks": (MASK, lambda x: surface_distances(MASK, x, spacing_mm=(1, 1))),
    "prediction of ids": (LABELS[0], lambda x: panoptic_quality(x, LABELS[0])),
    "spacing_mm": (torch.ones(2), lambda x: as_spacing(x, 2)),
    "affine": (torch.eye(4), as_affine),
    "sigma": (torch.ones(2), lambda x: rician_noise(IMAGE, x, generator=GENERATOR)),
    "proton_density": (torch.ones(2), lambda x: spin_echo(x, **TISSUE)),
    "image": (IMAGE, to_kspace),
    "air": (MASK.expand(2, 8, 8), lambda x: background_sigma(IMAGE, x)),
    "images": (IMAGE, lambda x: as_samples(x, LABELS, classes=3)),
    "labels of samples": (LABELS, lambda x: as_samples(IMAGE, x, classes=3)),
    "data": (IMAGE[0], lambda x: first_sample([(x, LABELS[0])], 0)),
    "data with a target": (LABELS[0], lambda x: first_sample([(IMAGE[0], x)], 0)),
    "image shown": (IMAGE[0, 0], lambda x: check_array(x, "image")),
    "x": (LABELS, lambda x: as_tensor("x", x)),
}


@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("door", DOORS)
def test_the_plain_one_is_taken_and_these_are_refused(door, kind, refused):
    plain, call = DOORS[door]
    call(plain)
    with refused(f"^{door.split()[0]}: expected .* got a (nested tensor|tensor of layout)"):
        call(UNUSUAL[kind](plain))


# Where no tensor will do

@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("name, call", [
    ("generator", lambda x: rician_noise(IMAGE, 1.0, generator=x)),
    ("nets", Ensemble.of), (r"nets\[0\]", lambda x: Ensemble.of([x])),
    ("where", lambda x: cross_entropy(LOGITS, LABELS, where=x)),
    ("data", lambda x: first_sample(x, 0)), ("data", lambda x: first_sample([x], 0)),
], ids=["generator", "nets", "a net", "where", "data", "a sample"])
def test_they_are_named_where_no_tensor_will_do(name, call, kind, refused):
    with refused(f"^{name}: expected .* got a (nested tensor|tensor of layout)"):
        call(UNUSUAL[kind](torch.zeros(2, 2)))


@pytest.mark.parametrize("shape", [(), (2,), (2, 2)])
def test_a_tensor_is_no_row_of_networks(shape, refused):
    with refused("nets: expected networks in a row, got torch.float32 of shape"):
        Ensemble.of(torch.zeros(shape))
    assert len(Ensemble.of(iter([nn.Linear(2, 1)])).members) == 1


def test_what_is_unusual_is_a_tensor():
    assert not any(map(is_unusual, (IMAGE, IMAGE.mT, nn.Parameter(IMAGE), IMAGE.to("meta"), IMAGE.numpy(), None)))
    assert all(is_unusual(make(LABELS)) for make in UNUSUAL.values())
    assert kind_of(UNUSUAL["nested"](LABELS)) == "a nested tensor"
