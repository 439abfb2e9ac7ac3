"""Predictions of volumes and files: MONAI's answer in less memory, flips, members, dropout, and the scan's own grid."""
import os
import re
import subprocess
import sys
from itertools import chain, combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from medlearn.base.grid import Grid
from medlearn.data import Volume, read_volume, to_ras, write_volume
from medlearn.inference import predict_file, predict_volume
from medlearn.nets import UNet
from medlearn.uncertainty import Ensemble, class_entropy

SHARE = 0.45                    # of MONAI's peak


def net(dim=3, seed=0, channels=1, dropout=0.0, classes=3):
    torch.manual_seed(seed)
    return UNet(channels, classes, dim=dim, widths=(4, 8), dropout=dropout).eval()


def volume(*shape, channels=0, seed=0):
    array = np.random.default_rng(seed).normal(size=(channels,) * bool(channels) + shape).astype(np.float32)
    return Volume(array, Grid.from_spacing(shape, (1.0, 2.0, 3.0)[:len(shape)]))


def monai(model, scan, patch, overlap=0.5):
    with torch.no_grad():
        return sliding_window_inference(scan.tensor()[None], patch, 1, model, overlap=overlap, mode="gaussian")[0]


@pytest.mark.parametrize("scan, patch", [(volume(20, 14, 12), (8, 8, 8)), (volume(30, 17), (8, 12)),
                                         (volume(5, 4, 6), (8, 8, 8)), (volume(12, 14, 9, channels=2), (8, 6, 8))],
                         ids=["3D", "2D", "smaller than a window", "two channels"])
def test_labels_and_probabilities_are_monais(scan, patch):
    model = net(scan.grid.dim, channels=scan.tensor().shape[0])
    logits = monai(model, scan, patch)
    said = predict_volume(model, scan, patch=patch, probabilities=True)
    assert said.labels.array.dtype == np.uint8 and said.labels.grid is scan.grid and said.labels.stored is None
    np.testing.assert_array_equal(said.labels.array, logits.argmax(0).numpy())
    np.testing.assert_allclose(said.probabilities.array, logits.softmax(0).numpy(), atol=1e-5)
    assert list(said.maps) == ["probabilities"]


def test_one_number_is_the_patch_along_each_axis():
    model, scan = net(), volume(14, 12, 10)
    same = [predict_volume(model, scan, patch=patch, probabilities=True).probabilities.array
            for patch in (8, (8, 8, 8))]
    np.testing.assert_array_equal(*same)


def test_flips_are_the_mean_over_all_ways_to_mirror():
    """nnU-Net's formula: the logits of every combination of the axes, mirrored back, and their mean."""
    model, scan = net(), volume(8, 8, 8)
    image = scan.tensor()[None]
    ways = list(chain.from_iterable(combinations((2, 4), n) for n in range(3)))
    with torch.no_grad():
        expected = sum(model(image.flip(way)).flip(way) for way in ways) / 4
    found = predict_volume(model, scan, patch=8, flips=(0, 2), probabilities=True)
    np.testing.assert_allclose(found.probabilities.array, expected.softmax(1)[0].numpy(), atol=1e-5)
    assert not np.allclose(found.probabilities.array,
                           predict_volume(model, scan, patch=8, probabilities=True).probabilities.array, atol=1e-3)


def test_members_are_those_of_class_entropy():
    members, scan = [net(seed=seed) for seed in range(3)], volume(14, 9, 12)
    said = predict_volume(Ensemble.of(members), scan, patch=8, probabilities=True)
    p = torch.stack([monai(member, scan, (8, 8, 8)).softmax(0) for member in members])
    parts = class_entropy(p[:, None])
    np.testing.assert_allclose(said.probabilities.array, p.mean(0).numpy(), atol=1e-5)
    np.testing.assert_array_equal(said.labels.array, p.mean(0).argmax(0).numpy())
    for name in ("aleatoric", "epistemic"):
        np.testing.assert_allclose(said.maps[name].array, getattr(parts, name)[0].numpy(), atol=1e-5)
    assert said.epistemic.array.max() > 0.01


def test_dropout_brings_a_map_that_its_seed_decides():
    model, scan = net(dropout=0.5), volume(14, 9, 12)
    first, again, other = (predict_volume(model, scan, patch=8, passes=4, generator=torch.Generator().manual_seed(seed))
                           for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.epistemic.array, again.epistemic.array)
    assert (first.epistemic.array != other.epistemic.array).any() and first.epistemic.array.min() >= 0
    assert not model.training


def test_a_network_in_training_answers_in_evaluation_and_stays_as_it_was():
    model, scan = net(), volume(12, 9, 8)
    expected = predict_volume(model, scan, patch=8).labels.array
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    model.down[0].eval()
    np.testing.assert_array_equal(predict_volume(model, scan, patch=8).labels.array, expected)
    assert model.training and model.up.training and not model.down[0].training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_volume_without_a_voxel():
    assert predict_volume(net(), volume(0, 9, 8), patch=8).labels.array.shape == (0, 9, 8)


def test_many_classes_have_room():
    class Coded(nn.Module):
        def forward(self, image):
            return -(image - torch.arange(300.0)[:, None, None]).abs()

    numbers = np.arange(300, dtype=np.int16).reshape(15, 20)
    labels = predict_volume(Coded(), Volume(numbers, Grid.from_spacing((15, 20), (1.0, 1.0))), patch=8).labels.array
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, numbers)


@pytest.mark.parametrize("options, match", [
    (dict(net=print), "net: expected an nn.Module"), (dict(scan=np.zeros((8, 8, 8))), "volume: expected a Volume"),
    (dict(patch=(8, 8)), "patch: expected 3 numbers"), (dict(flips=(3,)), "flips: expected"),
    (dict(flips=(0, 0)), "flips: expected"),
    (dict(passes=4), "passes: expected one network and a generator="),
    (dict(passes=1, generator=torch.Generator()), "passes: expected a whole number, 2 or more"),
    (dict(passes=4, generator=torch.Generator()), "net: expected a dropout layer"),
    (dict(net=Ensemble.of([net(seed=0), net(seed=1)]), passes=4, generator=torch.Generator()), "got Ensemble"),
    (dict(net=nn.Identity()), "two classes or more"),
])
def test_what_is_refused(refused, options, match):
    with refused(match):
        predict_volume(options.pop("net", net()), options.pop("scan", volume(8, 8, 8)), **{"patch": 8} | options)


@pytest.mark.parametrize("signs, order", [((-1, 1, 1), (0, 1, 2)), ((1, -1, -1), (2, 0, 1)), ((1, 1, 1), (1, 0, 2))])
def test_a_file_is_answered_on_its_own_grid(tmp_path, signs, order):
    """However its axes lie, the network sees RAS, and the labels lie on the scan."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag([1.5, 2.0, 3.0])[:, list(order)] * signs
    affine[:3, 3] = 7, -5, 30
    array = np.random.default_rng(0).normal(100, 20, (12, 10, 9)).astype(np.int16)
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "scan.nii.gz")
    predict_file(net(), tmp_path / "scan.nii.gz", target=tmp_path / "said.nii.gz", patch=8)
    said = nib.load(tmp_path / "said.nii.gz")
    assert said.get_data_dtype() == np.uint8 and np.allclose(said.affine, affine)
    seen = to_ras(read_volume(tmp_path / "scan.nii.gz"))
    image = torch.from_numpy(seen.array.astype(np.float32))
    image = (image - image.mean()) / image.std(correction=0)
    expected = monai(net(), Volume(image.numpy(), seen.grid), (8, 8, 8)).argmax(0).numpy()
    np.testing.assert_array_equal(to_ras(read_volume(tmp_path / "said.nii.gz")).array, expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["said.nii.gz", "scan.nii.gz"]


def test_at_another_spacing_the_answer_comes_back_onto_the_scan(tmp_path):
    """A network that says what is bright finds the same ball at any spacing."""
    class Bright(nn.Module):
        def forward(self, image):
            return torch.cat([torch.zeros_like(image), image - 1], dim=1)

    place = np.stack(np.meshgrid(*(np.arange(24) for _ in range(3)), indexing="ij"))
    ball = (np.square(place - 12).sum(0) < 64).astype(np.float32)
    write_volume(tmp_path / "scan.nii", Volume(ball, Grid((24, 24, 24), np.diag([-1.0, 1.0, 1.0, 1.0]))))
    predict_file(Bright(), tmp_path / "scan.nii", target=tmp_path / "said.nii", spacing_mm=(1.5, 1.5, 1.5), patch=8,
                 prepare=lambda image: 2 * image, probabilities=True)
    said, p = read_volume(tmp_path / "said.nii"), read_volume(tmp_path / "said.probabilities.nii.gz", channels=True)
    assert said.grid.orientation == "LAS" and p.array.shape == (2, 24, 24, 24)
    assert 2 * (said.array * ball).sum() / (said.array + ball).sum() > 0.9


def test_maps_stand_beside_the_labels(tmp_path):
    write_volume(tmp_path / "scan.nii.gz", volume(9, 8, 7))
    predict_file(Ensemble.of([net(seed=0), net(seed=1)]), tmp_path / "scan.nii.gz", target=tmp_path / "said.nii.gz",
                 patch=8)
    assert sorted(path.name for path in tmp_path.glob("said*")) == [
        "said.aleatoric.nii.gz", "said.epistemic.nii.gz", "said.nii.gz"]
    assert read_volume(tmp_path / "said.epistemic.nii.gz").array.max() > 0


def test_a_file_that_fails_leaves_none(tmp_path, refused):
    write_volume(tmp_path / "scan.nii.gz", volume(9, 8, 7))
    with refused("image: expected"):
        predict_file(net(channels=2), tmp_path / "scan.nii.gz", target=tmp_path / "said.nii.gz", patch=8)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


PEAK = """
import re, sys
from pathlib import Path
import numpy as np, torch
from torch import nn
from medlearn.base.grid import Grid
from medlearn.data import Volume
from medlearn.inference import predict_volume
from monai.inferers import sliding_window_inference
torch.set_num_threads(1)
torch.manual_seed(0)
net, image = nn.Conv3d(1, 30, 3, padding=1), torch.randn(1, 1, 96, 96, 96)
def monai(image):
    return sliding_window_inference(image, (36,) * 3, 1, net, overlap=0.5, mode="gaussian").argmax(1)[0].byte().numpy()
def medlearn(image):
    scan = Volume(image[0, 0].numpy(), Grid(tuple(image.shape[2:]), np.eye(4)))
    return predict_volume(net, scan, patch=36, overlap=0.5).labels.array
def kib(name):
    return int(re.search(rf"^{name}:\\s*(\\d+) kB", Path("/proc/self/status").read_text(), re.M)[1])
with torch.no_grad():
    run = globals()[sys.argv[1]]
    run(image[..., :40, :40, :40].contiguous())
    Path("/proc/self/clear_refs").write_text("5")
    before = kib("VmRSS")
    labels = run(image)
    print(kib("VmHWM") - before)
    np.save(sys.argv[2], labels)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process")
def test_the_peak_of_memory_is_a_part_of_monais_at_equal_answers(tmp_path):
    """The freed memory goes back at once in both, or the peak says nothing of what was needed."""
    peaks = {}
    for which in ("monai", "medlearn"):
        run = subprocess.run([sys.executable, "-c", PEAK, which, str(tmp_path / which)], capture_output=True, text=True,
                             check=False,
                             env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0",
                                  "OMP_NUM_THREADS": "1"})
        assert run.returncode == 0, run.stderr
        peaks[which] = int(re.findall(r"\d+", run.stdout)[-1])
    np.testing.assert_array_equal(*(np.load(tmp_path / f"{which}.npy") for which in peaks))
    assert peaks["medlearn"] <= SHARE * peaks["monai"], peaks


# Regions -------------------------------------------------------------------------------------------------------------

def filters(channels=1, classes=3):
    """A network whose answers are of either sign."""
    torch.manual_seed(0)
    return nn.Conv3d(channels, classes, 3, padding=1, bias=False).eval()


def nnunet_labels(p, order):
    """nnU-Net's convert_probabilities_to_segmentation: each region in its turn, over those before."""
    labels = np.zeros(p.shape[1:], np.uint8)
    for one, number in zip(p, order):
        labels[one > 0.5] = number
    return labels


def test_regions_are_written_as_nnunet_writes_them():
    model, scan = filters(), volume(14, 9, 12)
    p = monai(model, scan, (8, 8, 8)).sigmoid().numpy()
    said = predict_volume(model, scan, patch=8, regions=(1, 3, 2), probabilities=True)
    np.testing.assert_allclose(said.probabilities.array, p, atol=1e-5)
    np.testing.assert_array_equal(said.labels.array, nnunet_labels(p, (1, 3, 2)))
    np.testing.assert_array_equal(predict_volume(model, scan, patch=8, regions=(1, 3, 2)).labels.array,
                                  said.labels.array)
    assert len(np.unique(said.labels.array)) == 4


def test_one_region_is_enough_and_its_members_are_heard():
    members = [net(classes=1, seed=seed) for seed in range(3)]
    scan = volume(14, 9, 12)
    said = predict_volume(Ensemble.of(members), scan, patch=8, regions=(300,), probabilities=True)
    p = torch.stack([monai(member, scan, (8, 8, 8)).sigmoid() for member in members])
    np.testing.assert_array_equal(said.labels.array, 300 * (p.mean(0)[0] > 0.5).numpy())
    parts = class_entropy(torch.cat([1 - p, p], dim=1)[:, None])
    np.testing.assert_allclose(said.epistemic.array, parts.epistemic[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(said.aleatoric.array, parts.aleatoric[0].numpy(), atol=1e-5)


def test_regions_that_do_not_go_with_the_network_are_refused(refused):
    with refused("regions: expected a number for each of 3 logits, got .1, 2."):
        predict_volume(net(), volume(8, 8, 8), patch=8, regions=(1, 2))
    with refused("regions: expected a whole number, 1 or more"):
        predict_volume(net(), volume(8, 8, 8), patch=8, regions=(0, 1, 2))


def test_channels_in_files_of_their_own_are_one_scan(tmp_path):
    both = volume(12, 10, 9, channels=2)
    write_volume(tmp_path / "both.nii.gz", both)
    for c in range(2):
        write_volume(tmp_path / f"a_{c:04d}.nii.gz", Volume(both.array[c], both.grid))
    model = filters(channels=2)
    predict_file(model, [tmp_path / f"a_{c:04d}.nii.gz" for c in range(2)], target=tmp_path / "a.nii.gz", patch=8)
    predict_file(model, tmp_path / "both.nii.gz", target=tmp_path / "b.nii.gz", patch=8, channels=True)
    predict_file(model, [tmp_path / f"a_{c:04d}.nii.gz" for c in (1, 0)], target=tmp_path / "c.nii.gz", patch=8)
    one, same, other = (read_volume(tmp_path / f"{name}.nii.gz").array for name in "abc")
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
