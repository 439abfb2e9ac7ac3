"""Arrays as files give them become what `fit` trains on, or are refused in one sentence."""
import numpy as np
import pytest
import torch

from medlearn.data import as_samples, standardise

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(-1000, 2000, (3, 2, 6, 5)), RNG.integers(0, 4, (3, 6, 5))


@pytest.mark.parametrize("images", ["int16", "uint8", "float64", "float32", ">i2", "float16"])
@pytest.mark.parametrize("labels", ["uint8", "int32", "int64", "uint16", ">i4"])
def test_the_types_of_files_are_converted(images, labels):
    image, label = as_samples(IMAGES.astype(images), LABELS.astype(labels), classes=4)[:]
    expected = torch.from_numpy(IMAGES.astype(images).astype(np.float32))
    assert image.dtype == torch.float32 and label.dtype == torch.int64
    torch.testing.assert_close(image, standardise(expected))
    assert label.tolist() == LABELS.tolist()


@pytest.mark.parametrize("shape", [(2, 1, 6, 5), (2, 1, 6, 5, 4)])
def test_masks_volumes_and_tensors_too(shape):
    image = torch.randn(shape)
    turned = image.numpy().transpose(0, 1, *range(len(shape) - 1, 1, -1)).swapaxes(-1, -2).swapaxes(-1, -2)
    for given in (image, turned):
        mask = np.asarray(given)[:, 0] > 0
        samples = as_samples(given, mask, classes=2)
        assert len(samples) == 2 and samples[0][1].tolist() == mask[0].astype(int).tolist()


def test_no_scan_gives_no_sample():
    assert len(as_samples(IMAGES[:0], LABELS[:0], classes=4)) == 0


@pytest.mark.parametrize("images, labels, classes, says", [
    (IMAGES, LABELS.astype(float), 4, "labels: expected whole numbers or bool, got torch.float32"),
    (IMAGES, LABELS, 3, r"labels: expected labels of 0\.\.2 for 3 classes, got 3"),
    (IMAGES, LABELS - 1, 4, r"labels: expected labels of 0\.\.3 for 4 classes, got -1"),
    (IMAGES[:, 0], LABELS, 4, r"images: expected \(N, C, \*S\) with 2 or 3 axes of space, got shape \(3, 6, 5\)"),
    (IMAGES, LABELS[:2], 4, r"labels: expected shape \(3, 6, 5\) for images \(3, 2, 6, 5\), got \(2, 6, 5\)"),
    (IMAGES.astype(complex), LABELS, 4, "images: expected an array of numbers, got complex128"),
    ([[1]], LABELS, 4, "images: expected an array of numbers, got list"),
    (np.where(IMAGES == IMAGES[0, 0, 0, 0], np.nan, IMAGES), LABELS, 4, "image: expected finite numbers"),
    (IMAGES, LABELS, 1, "classes: expected a whole number, 2 or more, got 1"),
])
def test_what_cannot_be_trained_on_is_refused(images, labels, classes, says, refused):
    with refused(says):
        as_samples(images, labels, classes=classes)
