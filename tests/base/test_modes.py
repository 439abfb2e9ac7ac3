"""In evaluation for a while: each part comes back in the mode it was in, also after an error."""
import pytest
from torch import nn

from medlearn.base.modes import in_evaluation


def test_each_part_comes_back_in_its_mode():
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
    net[1].eval()
    before = [module.training for module in net.modules()]
    with pytest.raises(KeyError):
        with in_evaluation(net):
            assert not any(module.training for module in net.modules())
            raise KeyError
    assert [module.training for module in net.modules()] == before == [True, True, False, False, False]
