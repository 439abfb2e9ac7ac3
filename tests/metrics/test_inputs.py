"""The door of the metrics: label maps, masks and maps of ids, from tensors and from arrays as files give them."""
import numpy as np
import pytest
import torch

from medlearn.metrics import confusion_counts
from medlearn.metrics._inputs import as_ids, as_label_maps, as_masks

flat = torch.zeros(1, 2, 2).long()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int32, np.int64, ">i2", torch.bool,
                                   torch.uint8, torch.int16, torch.int32, torch.uint16], ids=str)
def test_label_maps_of_any_integers_become_int64(dtype):
    labels = torch.tensor([[[0, 1], [1, 1]]])
    cast = labels.to(dtype) if isinstance(dtype, torch.dtype) else labels.numpy().astype(dtype)
    for pair in ((cast, cast), (cast, labels), (labels, cast)):
        for found in as_label_maps(*pair, 2):
            assert found.dtype == torch.int64 and torch.equal(found, labels)


@pytest.mark.parametrize(("arguments", "message"), [
    ((flat.float(), flat, 2), "prediction: expected an integer tensor or array .* got torch.float32 .*argmax"),
    ((flat.numpy() * 1.0, flat, 2), "prediction: expected an integer tensor or array .* got an array of float64"),
    ((flat, None, 2), "target: expected an integer tensor or array .* got NoneType"),
    ((flat, np.array([["a", "b"]]), 2), "target: expected an integer .* got an array of <U1"),
    ((flat, (flat + 200).byte().numpy(), 2), "target: expected labels of 0..1 .* got 200"),
    ((flat, np.full((1, 2, 2), 2**64 - 1, dtype=np.uint64), 2), "target: expected labels of 0..1 .* got -1"),
    ((flat[0], flat[0], 2), "prediction: expected .B, .S. .* got shape"),
    ((flat[:, :1], flat, 2), r"prediction: expected shape \(1, 2, 2\) .* got \(1, 1, 2\)"),
    ((flat.to("meta"), flat, 2), "prediction: expected .* on cpu, .* got .* on meta"),
    ((flat - 1, flat, 2), "prediction: expected labels of 0..1 .* got -1"),
    ((flat, flat + 2, 2), "target: expected labels of 0..1 .* got 2"),
    ((flat, flat, 1), "classes: expected a whole number, 2 or more, got 1"),
    ((flat, flat, 2.0), "classes: expected a whole number, got 2.0"),
    ((flat, flat, True), "classes: expected a whole number, got True"),
], ids=lambda value: value[:24] if isinstance(value, str) else "")
def test_what_are_no_label_maps_is_refused(arguments, message, refused):
    *maps, classes = arguments
    with refused(message):
        confusion_counts(*maps, classes=classes)


def test_masks_become_arrays_whatever_holds_them():
    mask = torch.tensor([[True, False], [False, True]])
    for one, other in ((mask, mask.numpy()), (mask.T, mask), (mask.numpy()[::-1], mask.flip(0))):
        found = as_masks(one, other)
        assert all(isinstance(array, np.ndarray) and array.dtype == bool for array in found)
        assert np.array_equal(*found)


def test_what_are_no_masks_is_refused(refused):
    for wrong, message in ((flat[0], "prediction: expected a bool mask .* got torch.int64"),
                           (flat.bool()[None], "prediction: expected one image .* got shape"),
                           (flat[0].numpy() * 1.0, "prediction: expected a bool mask .* got an array of float64"),
                           (flat[0, :1].bool(), r"prediction: expected shape \(2, 2\) .* got \(1, 2\)")):
        with refused(message):
            as_masks(wrong, flat[0].bool())


@pytest.mark.parametrize("dtype", [np.uint16, ">i2", torch.uint16, torch.int8], ids=str)
def test_maps_of_ids_keep_their_ids(dtype):
    ids = torch.tensor([[0, 7], [100, 7]])
    cast = ids.to(dtype) if isinstance(dtype, torch.dtype) else ids.numpy().astype(dtype)
    assert torch.equal(as_ids("ids", cast).long(), ids)


def test_what_are_no_ids_is_refused(refused):
    for wrong, message in ((flat[0].float(), r"ids: expected an integer tensor \(\*S\), got torch.float32"),
                           (flat[0].bool(), "ids: expected an integer tensor .* got torch.bool"),
                           (flat[0].numpy() * 1.0, "ids: expected an integer tensor .* got ndarray"),
                           (flat[None], r"ids: expected \(\*S\) with 2 or 3 axes of space, got shape")):
        with refused(message):
            as_ids("ids", wrong)
