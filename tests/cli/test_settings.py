"""Settings are checked when they are made, and the network follows from them."""
from pathlib import Path

import pytest
import torch

from medlearn.cli.settings import DataSettings, NetSettings, RegionLoss, Settings, SliceBySlice, patient_from
from medlearn.cli.strict import read_strict
from medlearn.data import BiasField, Flip, Intensity, LabelRegion, LowDose, RicianNoise, Speckle, Warp, hu_window
from medlearn.losses import DiceCELoss
from medlearn.nets import UNet, UNetPlusPlus


def settings(*words):
    return read_strict(Settings, ["data.folder=a", *words])


@pytest.mark.parametrize("word, message", [
    ("data.patch=[8]", "data.patch: expected 2 or 3 numbers"), ("data.fold=5", r"data.fold: expected .*0\.\.4, got 5"),
    ("data.folds=1", "data.folds: expected .*2 or more"),
    ("data.patient=p", "data.patient: expected a pattern with a"),
    ("data.patient=(", "data.patient: expected a regular expression"),
    ("recipe.batch_size=0", "recipe.batch_size: expected"),
    ("net.name=vit", "net.name: expected one of unet, unetpp, got 'vit'"), ("every=0", "every: expected"),
    ("data.cache_gb=0", "data.cache_gb: expected"), ("loss=focal", "loss: expected one of dice_ce"),
    ("augment.rician=[0.2, 0.1]", "augment.share: expected"), ("augment.speckle=[0, 2]", "augment.strength: expected"),
    ("augment.low_dose=[0.2, 1]", "augment.low_dose: expected data.spacing_mm with square pixels.* got None"),
])
def test_what_cannot_be_is_refused_by_its_name(word, message):
    with pytest.raises(ValueError, match=message):
        settings(word)


def test_residual_blocks_are_the_unets():
    with pytest.raises(ValueError, match="residual: expected false for unetpp"):
        NetSettings(name="unetpp", residual=True)


@pytest.mark.parametrize("name, kind", [("unet", UNet), ("unetpp", UNetPlusPlus)])
def test_the_network_has_the_dimension_of_the_patch(name, kind):
    for patch, image in {"[8,8]": torch.rand(1, 2, 8, 8), "[8,8,8]": torch.rand(1, 2, 8, 8, 8)}.items():
        net = settings(f"net.name={name}", "net.widths=[2,4]", f"data.patch={patch}").new_net(2, classes=3)
        assert isinstance(net, kind) and net.eval()(image).shape == (1, 3, *image.shape[2:])


def test_the_loss_leaves_out_what_is_ignored_at_every_resolution():
    loss = settings("loss=cross_entropy").new_loss(9)
    logits, labels = torch.randn(1, 2, 4, 4), torch.zeros(1, 4, 4).long()
    labels[0, 0, 0] = 9
    changed = logits.clone()
    changed[..., 0, 0] = 50.0
    assert loss(logits, labels) == loss(changed, labels)
    assert loss((logits, logits[..., 1::2, 1::2]), labels).isfinite()


def test_transforms_are_those_that_change_something():
    def kinds(*words):
        return [type(one) for one in settings(*words).augment.transforms((1.0, 1.0, 2.0))]
    assert kinds() == [Warp, Intensity] and kinds("augment.flip=[0]")[0] is Flip
    assert kinds("augment.rotate_deg=0", "augment.elastic_mm=0", "augment.scale=[1, 1]",
                 "augment.intensity=false") == []
    assert settings().augment.transforms((1.0, 1.0, 2.0))[0].spacing_mm == (1.0, 1.0, 2.0)


def test_the_scanners_noise_comes_in_the_order_of_the_scanner():
    spacing = (0.8, 0.8, 2.0)
    told = settings("augment.rician=[0, 0.1]", "augment.bias_field=[0.1, 0.2]", "augment.speckle=[0, 1]",
                    "augment.low_dose=[0.25, 1]", "data.spacing_mm=[0.8, 0.8, 2]")
    assert told.augment.noise(spacing) == [BiasField((0.1, 0.2)), RicianNoise((0.0, 0.1)), Speckle((0.0, 1.0)),
                                           LowDose((0.25, 1.0), 0.8)]
    assert settings().augment.noise(None) == []
    assert told == read_strict(Settings, toml_words(told))


def toml_words(told):
    """What is printed is read back."""
    def shown(value):
        if isinstance(value, bool | None):
            return str(value).lower()
        return list(value) if isinstance(value, tuple) else value
    return [f"{name}={shown(value)}" for name, value in told.plain().items()]


def test_the_loss_of_regions_is_that_of_their_maps():
    regions = (LabelRegion("whole", (1, 2), 1), LabelRegion("core", (2,), 2))
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 2, 6, 6), torch.randint(0, 4, (2, 6, 6))
    masks = torch.stack([(labels == 1) | (labels == 2), labels == 2], 1)
    judged = (labels != 3)[:, None].expand(2, 2, 6, 6)
    loss = settings("loss=dice_ce").new_loss(3, regions)
    assert loss(logits, labels) == DiceCELoss()(logits, masks, where=judged)
    assert RegionLoss(DiceCELoss(), regions)(logits, labels) == DiceCELoss()(logits, masks)
    assert loss((logits, logits[..., 1::2, 1::2]), labels).isfinite()


def test_the_whole_scan_is_seen_as_a_patch_is():
    image = torch.randn(1, 1, 4, 4, 4) * 100
    windowed = DataSettings(folder=Path("a"), window=(40.0, 80.0))
    assert torch.equal(windowed.prepare(image), hu_window(image, (40.0, 80.0)))
    assert DataSettings(folder=Path("a")).prepare(image).std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_slice_by_slice_is_the_network_of_each_slice():
    net, image = UNet(1, 3, widths=(2, 4)).eval(), torch.rand(2, 1, 8, 8, 1)
    assert torch.equal(SliceBySlice(net)(image)[..., 0], net(image[..., 0]))


def test_a_patient_is_found_or_missed_by_name():
    assert patient_from(None) is None and patient_from(r"(\d+)_")("a12_3") == "12"
    with pytest.raises(ValueError, match="expected to find .* in the name of each case, got 'x'"):
        patient_from(r"(\d+)_")("x")
