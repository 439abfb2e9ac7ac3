"""Patches: the voxels of the scan, around its classes, the same for the same seed, whatever file is bad."""
import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.scans import grid, scan
from medlearn.data import (ArrayCache, Patches, RicianNoise, Volume, folds_by_patient, read_folder, read_volume,
                           to_ras, write_folder, write_volume)
from medlearn.train import Recipe, fit

SHAPE = (20, 18, 16)


def cases(count=3, channels=1):
    """Scans, each in its own orientation, whose values say where they lie; a small lesion of class 2 in each."""
    for n in range(count):
        at = grid(SHAPE, (1.0, 1.0, 2.0), origin=(0, 0, 0), signs=[(1, 1, 1), (-1, 1, 1), (-1, -1, 1)][n % 3])
        values = np.arange(np.prod(SHAPE)).reshape(SHAPE) + 10000 * n
        label = np.zeros(SHAPE, np.uint8)
        label[2:9, 3:9, 4:9], label[15, 14, 13] = 1, 2
        image = Volume(np.stack([values + c for c in range(channels)]).astype(np.int32), at)
        yield f"p{n}", image, Volume(label, at)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "set", cases(), channels=["CT"], labels=["background", "organ", "lesion"])


def at_seed(patches, i, seed):
    torch.manual_seed(seed)
    return patches[i]


@pytest.mark.parametrize("patch", [(8, 6, 4), (20, 18, 16), (1, 1, 1)])
def test_a_patch_is_a_part_of_its_scan_in_ras(tmp_path, folder, patch):
    patches = Patches(folder, patch=patch, cache=tmp_path / "cache", raw=True)
    assert len(patches) == 3
    for n, case in enumerate(folder.cases):
        image, labels = at_seed(patches, n, 1)
        whole, truth = to_ras(read_volume(case.images[0])).array, to_ras(read_volume(case.label)).array
        assert image.dtype == torch.float32 and labels.dtype == torch.int64 and image.shape == (1, *patch)
        place = np.argwhere(whole == image[0, 0, 0, 0].item())[0]
        box = tuple(slice(s, s + p) for s, p in zip(place, patch))
        assert np.array_equal(image[0].numpy(), whole[box]) and np.array_equal(labels.numpy(), truth[box])


def test_every_class_is_as_likely_and_the_rest_lies_anywhere(tmp_path, folder):
    torch.manual_seed(0)
    on = Patches(folder, patch=(3, 3, 3), cache=tmp_path / "cache", foreground=1.0, per_case=100)
    seen = [labels.unique().tolist() for _, labels in (on[i] for i in range(300))]
    assert all(set(one) & {1, 2} for one in seen)
    assert 110 < sum(2 in one for one in seen) < 190
    anywhere = Patches(folder, patch=(3, 3, 3), cache=tmp_path / "cache", foreground=0.0, per_case=100)
    share = sum(2 in anywhere[i][1] for i in range(300))
    assert share < 30


def test_the_same_seed_gives_the_same_patch_and_another_another(tmp_path, folder):
    patches = Patches(folder, patch=(5, 5, 5), cache=tmp_path / "cache")
    a, b, c = (at_seed(patches, 1, seed)[0] for seed in (3, 3, 4))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_images_are_standardised_with_their_whole_scan_or_seen_through_a_window(tmp_path, folder):
    whole = Patches(folder, patch=SHAPE, cache=tmp_path / "cache")[0][0]
    assert abs(whole.mean()) < 1e-4 and abs(whole.std(correction=0) - 1) < 1e-4
    seen = Patches(folder, patch=SHAPE, cache=tmp_path / "cache", window=(2880.0, 5760.0))[0][0]
    assert seen.min() == 0 and seen.max() < 1 and len(seen.unique()) == np.prod(SHAPE)


def test_a_patch_larger_than_the_scan_is_filled_up(tmp_path, folder):
    image, labels = Patches(folder, patch=(24, 18, 30), cache=tmp_path / "cache", raw=True)[0]
    assert torch.equal(image[0, 2:22, :, 7:23].flatten().sort().values, torch.arange(np.prod(SHAPE)).float())
    assert (image[0, :2] == 0).all() and (labels[:2] == 0).all() and labels.max() == 2


def test_noise_is_put_on_before_a_patch_is_standardised_with_its_whole_scan(tmp_path, folder):
    """Its seed decides it, and what is seen is the noisy patch with the mean and deviation of the scan without it."""
    options = dict(patch=(8, 6, 4), cache=tmp_path / "cache")
    noise = [RicianNoise((0.2, 0.2))]
    clean, noisy, again = (at_seed(Patches(folder, noise=part, **options), 0, 1) for part in ((), noise, noise))
    assert torch.equal(noisy[0], again[0]) and torch.equal(clean[1], noisy[1]) and not torch.equal(clean[0], noisy[0])
    raw = at_seed(Patches(folder, noise=noise, raw=True, **options), 0, 1)[0]
    whole = torch.from_numpy(to_ras(read_volume(folder.cases[0].images[0])).array.astype(np.float32))
    assert torch.allclose(noisy[0], (raw - whole.mean()) / whole.std(correction=0), atol=1e-3)
    assert (raw >= 0).all() and (raw != raw.round()).any()
    flat = at_seed(Patches(folder, patch=(8, 6), cache=tmp_path / "cache", noise=noise), 0, 1)[0]
    assert flat.shape == (1, 8, 6)


def test_slices_of_volumes_and_pictures(tmp_path, folder):
    image, labels = Patches(folder, patch=(8, 8), cache=tmp_path / "cache", foreground=1.0)[0]
    assert image.shape == (1, 8, 8) and labels.shape == (8, 8) and labels.any()


def test_another_spacing(tmp_path, folder):
    image, labels = Patches(folder, patch=(10, 9, 16), cache=tmp_path / "cache", spacing_mm=(2.0, 2.0, 2.0),
                            raw=True)[0]
    assert image.shape == (1, 10, 9, 16) and labels.max() >= 1
    Patches(folder, patch=(4, 4, 4), cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.json"))) == 6      # one entry for each spacing


def test_channels_of_either_layout_are_the_same(tmp_path):
    made = [write_folder(tmp_path / layout, cases(1, channels=2), channels=["a", "b"],
                         labels=["background", "organ", "lesion"],
                         layout=layout) for layout in ("nnunet", "decathlon")]
    one, other = (at_seed(Patches(folder, patch=(4, 4, 4), cache=tmp_path / f"c{n}", raw=True), 0, 5)
                  for n, folder in enumerate(made))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert torch.equal(one[0][1], one[0][0] + 1)


def test_a_bad_file_is_reported_and_the_others_are_used(tmp_path, folder):
    (folder.root / "imagesTr" / "p1_0000.nii.gz").write_bytes(b"no scan")
    patches = Patches(folder, patch=(4, 4, 4), cache=tmp_path / "cache")
    assert [case.name for case in patches.cases] == ["p0", "p2"] and patches.report.done == 2
    assert list(patches.report.refused) == ["p1"] and "p1_0000.nii.gz: " in patches.report.refused["p1"]
    with pytest.raises(ValueError,
                       match="cases: expected at least one that can be read, got none of 1\n0 read, 1 refused"):
        Patches(folder, [folder.cases[1]], patch=(4, 4, 4), cache=tmp_path / "cache")


@pytest.mark.parametrize("spoil, says", [
    (lambda image, label: label.with_array(label.array.astype(np.int16) * 3),
     "p0.nii.gz: expected labels of 0..2, got 3"),
    (lambda image, label: label.with_array(label.array * np.float32(0.5)),
     "p0.nii.gz: expected whole numbers as labels, got others, as 0.5"),
    (lambda image, label: scan(np.uint8, shape=SHAPE), "expected one grid, got"),
    (lambda image, label: label.with_array(label.array.astype(np.float32) * np.nan),
     "p0.nii.gz: expected finite numbers"),
])
def test_labels_that_do_not_go_with_the_scan_are_reported(tmp_path, folder, spoil, says):
    write_volume(folder.cases[0].label,
                 spoil(read_volume(folder.cases[0].images[0]), read_volume(folder.cases[0].label)))
    report = Patches(folder, patch=(4, 4, 4), cache=tmp_path / "cache").report
    assert report.done == 2 and says in report.refused["p0"]


def test_a_second_look_reads_no_scan(tmp_path, folder, monkeypatch):
    first = at_seed(Patches(folder, patch=(4, 4, 4), cache=tmp_path / "cache"), 0, 0)

    def never(*_, **__):
        raise AssertionError("read again")
    monkeypatch.setattr("medlearn.data.patches.read_volume", never)
    again = at_seed(Patches(folder, patch=(4, 4, 4), cache=tmp_path / "cache"), 0, 0)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


def test_a_cache_too_small_for_the_folder_still_works(tmp_path, folder):
    cache = ArrayCache(tmp_path / "cache", max_gb=30e-6)
    patches = Patches(folder, patch=(4, 4, 4), cache=cache)
    assert len(list((tmp_path / "cache").glob("*.json"))) == 1
    assert all(torch.equal(at_seed(patches, i, 0)[0],
                           at_seed(Patches(folder, patch=(4, 4, 4), cache=tmp_path / "c"), i, 0)[0])
               for i in range(3))


def test_fit_trains_on_patches_with_workers_and_to_the_same_bits_without(tmp_path, folder):
    train, _ = folds_by_patient(folder.cases, 3)[0]
    weights = []
    for workers in (0, 2):
        torch.manual_seed(0)
        net = torch.nn.Conv3d(1, 3, 3, padding=1)
        patches = Patches(folder, train, patch=(4, 4, 4), cache=tmp_path / f"cache{workers}", per_case=2)
        fit(net, patches, loss=torch.nn.functional.cross_entropy, recipe=Recipe(steps=3, batch_size=2, workers=workers))
        weights.append(net.weight.detach().clone())
    assert torch.equal(*weights)
    images, labels = next(iter(DataLoader(patches, batch_size=4)))
    assert images.shape == (4, 1, 4, 4, 4) and labels.shape == (4, 4, 4, 4)


def test_the_label_of_nobody_is_kept_and_never_a_centre(tmp_path, folder):
    told = json.loads((folder.root / "dataset.json").read_text())
    told["labels"] = {"background": 0, "organ": 1, "ignore": 2}
    (folder.root / "dataset.json").write_text(json.dumps(told))
    patches = Patches(read_folder(folder.root), patch=(1, 1, 1), cache=tmp_path / "cache", foreground=1.0, per_case=30)
    assert {patches[i][1].item() for i in range(90)} == {1}
    assert Patches(read_folder(folder.root), patch=SHAPE, cache=tmp_path / "cache")[0][1].max() == 2


@pytest.mark.parametrize("said, says", [
    (dict(patch=(4,)), "patch: expected 2 or 3 numbers of voxels"), (dict(patch=(4, 0, 4)), r"patch\[1\]"),
    (dict(foreground=1.5), "foreground: expected 0..1"), (dict(per_case=0), "per_case: expected a whole number"),
    (dict(raw=True, window="lung"), "raw, window: expected one of them"), (dict(window="heart"), "window: expected"),
])
def test_what_cannot_be_is_refused(tmp_path, folder, said, says, refused):
    with refused(says):
        Patches(folder, **{"patch": (4, 4, 4), "cache": tmp_path / "cache", **said})
    with pytest.raises(IndexError):
        Patches(folder, patch=(4, 4, 4), cache=tmp_path / "cache")[3]
