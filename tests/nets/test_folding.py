"""What a network becomes for inference: the same answers, with fewer layers."""
import pytest
import torch
from torch import nn

from medlearn.nets.blocks import ConvBlock, DoubleConv, ResidualBlock
from medlearn.nets.folding import folded

BLOCKS = (ConvBlock, DoubleConv, ResidualBlock)
SHAPES = {2: (6, 5), 3: (5, 4, 3)}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_folded_block_answers_as_before_and_has_no_norm(block, dim):
    torch.manual_seed(0)
    net = block(2, 3, dim=dim)
    for _ in range(3):                                          # so that the norms have something to do
        net(1 + 2 * torch.randn(4, 2, *SHAPES[dim]))
    net.eval()
    before, x = {k: v.clone() for k, v in net.state_dict().items()}, torch.randn(2, 2, *SHAPES[dim])
    small = folded(net.train())
    assert net.training and not small.training
    assert torch.allclose(small(x), net.eval()(x), atol=1e-5)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in small.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_folding_takes_the_simpler_form_that_a_module_offers():
    class Twice(nn.Module):
        def plain(self):
            return nn.Identity()
    assert isinstance(folded(Twice()), nn.Identity)
    assert isinstance(folded(nn.Sequential(nn.ReLU(), Twice()))[1], nn.Identity)


def test_a_norm_that_follows_no_convolution_stays():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.BatchNorm2d(2))
    assert [type(m) for m in folded(net)] == [type(m) for m in net]
