"""ONNX files answer as the network does, at sizes that they have not seen: the transformers too."""
import importlib.util

import pytest
import torch
from torch import nn

from medlearn.export import onnx_difference, write_onnx
from medlearn.nets import TransUNet, UNet, UNetPlusPlus, ViTSegmenter, folded

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
AGREE = 1e-4

# a network, an example, and shapes that it has not seen
NETS = {
    "UNet": (lambda: folded(UNet(1, 3, widths=(4, 8)).eval()), (1, 1, 16, 16), [(3, 1, 16, 16), (1, 1, 21, 34)]),
    "UNet 3D": (lambda: UNet(2, 3, dim=3, widths=(4, 8)), (1, 2, 8, 8, 8), [(2, 2, 8, 9, 12)]),
    "UNetPlusPlus": (lambda: UNetPlusPlus(1, 3, widths=(4, 8)), (1, 1, 16, 16), [(2, 1, 17, 24)]),
    "ViTSegmenter": (lambda: ViTSegmenter(classes=2, image_size=32, channels=8, heads=2, depth=1, hidden=8),
                     (1, 1, 32, 32),
                     [(2, 1, 32, 32), (1, 1, 40, 64)]),
    "TransUNet": (lambda: TransUNet.tiny(1, 2, image_size=32), (1, 1, 32, 32), [(2, 1, 32, 32), (1, 1, 64, 48)]),
}


def trained(net, seed=0):
    """Weights and running statistics as of a training, and logits of about 1: those of a fresh network are nearly 0."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.usefixtures("unchecked")
def test_a_file_answers_as_the_network_at_sizes_it_has_not_seen(name, tmp_path):
    make, shape, others = NETS[name]
    torch.manual_seed(0)
    net = trained(make())
    write_onnx(net, tmp_path / "net.onnx", image=torch.rand(shape))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    for seen in (shape, *others):
        image = torch.randn(seen)
        with torch.no_grad():
            spread = net(image).std()
        assert onnx_difference(tmp_path / "net.onnx", net, image=image) < AGREE * min(float(spread), 1)


def test_at_a_fixed_size_the_file_takes_that_alone(tmp_path, refused):
    net = nn.Conv2d(1, 2, 3, padding=1)
    write_onnx(net, tmp_path / "net.onnx", image=torch.rand(1, 1, 8, 8), dynamic=False)
    assert onnx_difference(tmp_path / "net.onnx", net, image=torch.rand(1, 1, 8, 8)) < AGREE
    with refused("net.onnx: expected an image that it takes"):
        onnx_difference(tmp_path / "net.onnx", net, image=torch.rand(1, 1, 8, 9))


def test_a_network_in_training_is_written_in_evaluation_and_stays_as_it_was(tmp_path):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5)).train()
    write_onnx(net, tmp_path / "net.onnx", image=torch.ones(2, 1, 8, 8), dynamic=False)
    assert net.training and net[1].training
    assert onnx_difference(tmp_path / "net.onnx", net, image=torch.ones(2, 1, 8, 8)) < AGREE


def test_another_networks_file_is_told_by_its_difference(tmp_path):
    net, other = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)
    write_onnx(net, tmp_path / "net.onnx", image=torch.rand(1, 1, 8, 8), dynamic=False)
    assert onnx_difference(tmp_path / "net.onnx", other, image=torch.rand(1, 1, 8, 8)) > AGREE


class OfItsValues(nn.Module):
    def forward(self, image):
        return image if image.sum() > 0 else -image


class Two(nn.Module):
    def forward(self, image):
        return image, image


@pytest.mark.parametrize("net, options, match", [
    (print, {}, "net: expected an nn.Module"),
    (nn.Identity(), dict(path="net.pt"), "expected a name that ends in .onnx"),
    (nn.Identity(), dict(image=torch.zeros(1, 1, 0, 8)), "image: expected an example with a voxel"),
    (nn.Identity(), dict(image=torch.zeros(1, 1, 8, 8, dtype=torch.int64)), "image: expected a float tensor"),
    (nn.Identity(), dict(image=torch.full((1, 1, 8, 8), torch.nan)), "image: expected finite"),
    (Two(), {}, "net: expected logits, one tensor"), (OfItsValues(), {}, "net: expected a network that is one graph"),
])
def test_what_is_refused_leaves_no_file(net, options, match, tmp_path, refused):
    path, image = tmp_path / options.get("path", "net.onnx"), options.get("image", torch.ones(1, 1, 8, 8))
    with refused(match):
        write_onnx(net, path, image=image)
    assert not list(tmp_path.iterdir())


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"onnx and onnxscript is not here: pip install 'medlearn\[onnx\]'"):
        write_onnx(nn.Identity(), tmp_path / "net.onnx", image=torch.ones(1, 1, 8, 8))
