"""Sliding windows: where they lie, what they weigh, and that blending is MONAI's, plane by plane."""
import pytest
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import sliding_window_inference
from torch import nn

from medlearn.inference import blended_planes, gaussian_window, window_starts


def net(dim=3, classes=3, channels=1):
    torch.manual_seed(0)
    conv = nn.Conv3d if dim == 3 else nn.Conv2d
    return nn.Sequential(conv(channels, 4, 3, padding=1), nn.ReLU(), conv(4, classes, 3, padding=1))


def blended(net, image, **options):
    """The planes put together: `(M, K, *S)`."""
    whole = None
    for place, logits in blended_planes(lambda windows: [net(windows)], image, **options):
        whole = logits.new_full((*logits.shape[:2], *image.shape[1:]), torch.nan) if whole is None else whole
        whole[(slice(None), slice(None), *place)] = logits
    return whole


@pytest.mark.parametrize("size, patch, overlap", [(10, 4, 0.5), (11, 4, 0.5), (64, 16, 0.25), (7, 7, 0.5), (20, 6, 0.0),
                                                  (20, 6, 0.8), (9, 2, 0.75)])
def test_windows_begin_where_monais_do(size, patch, overlap):
    step = patch if size == patch else max(1, int(patch * (1 - overlap)))
    expected = [s[0].start for s in dense_patch_slices((size,), (patch,), (step,))]
    assert window_starts(size, patch, overlap=overlap) == expected


@pytest.mark.parametrize("patch", [(5,), (8, 6), (8, 16, 4), (1, 3)])
def test_weights_are_monais(patch):
    expected = compute_importance_map(patch, mode="gaussian", sigma_scale=0.125, dtype=torch.float32)
    torch.testing.assert_close(gaussian_window(patch), expected)


@pytest.mark.parametrize("size, patch, overlap", [
    ((20, 18, 33), (8, 6, 10), 0.5), ((33, 12, 14), (8, 8, 8), 0.25), ((12, 40, 9), (8, 8, 8), 0.7),
    ((5, 7, 20), (8, 6, 8), 0.5), ((3, 3, 3), (8, 8, 8), 0.5), ((21, 30), (8, 12), 0.5), ((5, 30), (8, 12), 0.25)])
def test_blending_is_monais(size, patch, overlap):
    model, image = net(len(size), channels=2), torch.randn(2, *size)
    with torch.no_grad():
        expected = sliding_window_inference(image[None], patch, 1, model, overlap=overlap, mode="gaussian")
        for batch in (1, 5):
            found = blended(model, image, patch=patch, overlap=overlap, batch=batch)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_half_precision_rounds_to_a_thousandth():
    model, image = net(), torch.randn(1, 20, 12, 12)
    whole, half = (blended(model, image, patch=(8, 8, 8), dtype=dtype) for dtype in (torch.float32, torch.float16))
    assert half.dtype == torch.float32 and 0 < (half - whole).abs().max() < 2e-3 * whole.abs().max()


@torch.no_grad()
def test_the_ring_is_as_deep_as_a_window_and_runs_where_it_is_smallest():
    shapes = []
    zeros = torch.Tensor.new_zeros

    def noted(tensor, *args, **options):
        made = zeros(tensor, *args, **options)
        shapes.append(tuple(made.shape))
        return made

    torch.Tensor.new_zeros = noted
    try:
        blended(net(), torch.randn(1, 12, 40, 10), patch=(8, 8, 8))
    finally:
        torch.Tensor.new_zeros = zeros
    assert (8, 3, 12, 10) in shapes and not any(40 in shape for shape in shapes)


@torch.no_grad()
def test_members_are_blended_each_for_itself():
    first, second = net(), net().requires_grad_(False)
    second[2].bias += 1.0
    image = torch.randn(1, 12, 10, 9)
    planes = list(blended_planes(lambda windows: (model(windows) for model in (first, second)), image, patch=(6, 6, 6)))
    assert all(torch.allclose(logits[1], logits[0] + 1, atol=1e-5) for _, logits in planes)


@torch.no_grad()
def test_an_image_without_a_voxel():
    for shape, planes in (((5, 0), 5), ((0, 5), 5), ((0, 0), 0)):
        found = list(blended_planes(lambda windows: [net(2)(windows)], torch.zeros(1, *shape), patch=(4, 4)))
        assert len(found) == planes and sum(logits.numel() for _, logits in found) == 0


@pytest.mark.parametrize("options, match", [
    (dict(patch=(4, 4)), "patch: expected 3 numbers"), (dict(patch=8), "patch: expected 3 numbers"),
    (dict(patch=(0, 4, 4)), "patch.0.: expected a whole number, 1 or more"),
    (dict(overlap=1.0), "overlap: expected .* below 1"), (dict(overlap=-0.1), "overlap: expected"),
    (dict(batch=0), "batch: expected"), (dict(dtype=torch.float64), "dtype: expected torch.float32 or torch.float16"),
    (dict(answers=lambda x: []), "answers: expected at least one"),
    (dict(answers=lambda x: ["logits"]), "expected logits, one tensor, got str"),
    (dict(answers=lambda x: [x[:, :0]]), "K at least 1"),
    (dict(answers=lambda x: [x.expand(-1, 3, -1, -1, -1)[..., 1:]]), "logits: expected shape"),
    (dict(answers=lambda x: [x.expand(-1, 3, -1, -1, -1) * torch.nan]), "logits: expected finite"),
    (dict(answers=lambda x: [x.expand(-1, 3, -1, -1, -1) + 1e6], dtype=torch.float16), "logits: expected finite"),
    (dict(image=torch.zeros(8, 8, 8, 8, dtype=torch.int64)), "image: expected a float tensor"),
    (dict(image=torch.full((1, 8, 8, 8), torch.nan)), "image: expected finite"),
])
def test_what_is_refused(refused, options, match):
    image = options.pop("image", torch.zeros(1, 8, 8, 8))
    answers = options.pop("answers", lambda x: [net()(x)])
    with refused(match):
        list(blended_planes(answers, image, **{"patch": (4, 4, 4)} | options))


@torch.no_grad()
def test_members_that_come_and_go_are_refused(refused):
    turns = iter(range(100))
    with refused("answers: expected 2 for each window, got 1"):
        list(blended_planes(lambda x: [net()(x)] * (2 if next(turns) == 0 else 1), torch.zeros(1, 8, 8, 8),
                            patch=(4, 4, 4)))
