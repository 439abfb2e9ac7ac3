"""Bytes counted on the meta device are those that autograd keeps of real tensors."""
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from medlearn.nets import TransUNet, UNet, UNetPlusPlus
from medlearn.train import saved_bytes


def kept_of_real_tensors(net, shape):
    """Bytes of all storages that the hooks see in a real pass, by the place where they lie."""
    own, kept = {part.data_ptr() for part in (*net.parameters(), *net.buffers())}, {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = net.train()(torch.rand(shape))
    del answer
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("net, shape", [
    (UNet(1, 3, dim=3, widths=(4, 8, 16)), (2, 1, 16, 16, 16)), (UNet(2, 3, widths=(4, 8)), (3, 2, 20, 12)),
    (UNet(1, 3, widths=(4, 8), residual=True, deep_supervision=True), (1, 1, 16, 16)),
    (UNetPlusPlus(1, 2, widths=(4, 8, 16)), (1, 1, 16, 16)),
    (nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.Conv2d(4, 2, 1)), (5, 1, 9, 9)),
], ids=["3D", "2D", "residual", "unet++", "plain"])
def test_it_counts_what_autograd_keeps(net, shape):
    counted = saved_bytes(net, shape)
    assert counted == kept_of_real_tensors(net, shape) > 0


def test_by_hand_for_three_layers():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert saved_bytes(net, (2, 1, 8, 8)) == 4 * 2 * 64 * (1 + 4)          # ReLU's answer is the last one's input, once


def test_it_grows_with_the_batch_and_the_voxels():
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU())
    one = saved_bytes(net, (1, 1, 8, 8, 8))
    assert saved_bytes(net, (3, 1, 8, 8, 8)) == 3 * one and saved_bytes(net, (1, 1, 16, 8, 8)) == 2 * one


class Forgetful(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return checkpoint(self.block, x, use_reentrant=False)


def test_a_checkpointed_block_keeps_its_input_alone():
    block = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())
    assert saved_bytes(Forgetful(block), (2, 3, 10, 10)) == 4 * 2 * 3 * 100
    assert saved_bytes(block, (2, 3, 10, 10)) == 4 * 2 * 100 * (3 + 8 + 3)


def test_checkpointing_of_a_network_of_the_package_is_seen():
    plain, thrifty = (TransUNet(1, 2, image_size=64, checkpointing=on) for on in (False, True))
    assert saved_bytes(thrifty, (1, 1, 64, 64)) < 0.6 * saved_bytes(plain, (1, 1, 64, 64))


def test_the_network_stays_as_it_was_and_no_memory_is_taken():
    net = UNet(1, 2, dim=3, widths=(32, 64, 128)).eval()
    before = [weight.clone() for weight in net.state_dict().values()]
    assert saved_bytes(net, (1, 1, 512, 512, 700)) > 2 ** 37                # 137 GB, which no machine of tests has
    assert not net.training and all(map(torch.equal, before, net.state_dict().values()))
    assert all(weight.device.type == "cpu" and weight.grad is None for weight in net.parameters())


def test_gradients_that_are_switched_off_are_counted_all_the_same():
    net = nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        assert saved_bytes(net, (1, 1, 8, 8)) == 4 * 64


@pytest.mark.parametrize("net, shape, words", [
    (print, (1, 1, 8, 8), "net: expected an nn.Module, got "), (nn.Conv2d(1, 1, 1), 8, "shape: expected .*, got 8"),
    (nn.Conv2d(1, 1, 1), (1, 1, 0, 8), r"shape\[2\]: expected a whole number, 1 or more, got 0"),
    (UNet(1, 2), (1, 2, 8, 8), "image: expected"),
])
def test_what_cannot_be_is_refused(refused, net, shape, words):
    with refused(words):
        saved_bytes(net, shape)
