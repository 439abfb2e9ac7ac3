"""A U-Net for a page: whole numbers of eight bits that are the network again."""
import json
from base64 import b64decode, b64encode

import pytest
import torch

from medlearn.export import page_network, quantised, read_page_network
from medlearn.nets import UNet, UNetPlusPlus


def net(**options) -> UNet:
    """Untrained, but with norms and biases that are not those of the first moment."""
    generator = torch.Generator().manual_seed(0)
    made = UNet(1, 3, **({"widths": (4, 8, 16)} | options))
    for name, value in made.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) * (0.3 if "weight" in name else 0.1) + 0.05)
    return made.eval()


@pytest.mark.parametrize("skips", [True, False])
def test_the_network_comes_back(skips):
    given = net(skips=skips, dropout=(0.0, 0.1, 0.2))
    again = read_page_network(json.loads(json.dumps(page_network(given))))
    image = torch.randn(2, 1, 16, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, got = given(image), again(image)
    assert (got - expected).abs().max() < 0.02 * expected.abs().max()
    assert not again.training and again.skips is skips and [d.p for d in again.dropout] == [0.0, 0.1, 0.2]


def test_the_given_network_stays_as_it_is():
    given = net().train()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    page_network(given)
    assert given.training and all(torch.equal(value, before[name]) for name, value in given.state_dict().items())


def test_a_weight_takes_one_byte():
    page = page_network(net())
    down, narrow = [(4, 9), (4, 36), (8, 36), (8, 72), (16, 72), (16, 144)], [(4, 8), (8, 16)]
    up, head = [(4, 72), (4, 36), (8, 144), (8, 72)], [(3, 4)]
    assert len(b64decode(page["weights"])) == sum(8 * o + o * n for o, n in [*down, *narrow, *up, *head])


def test_quantised_is_half_a_step_off_at_most():
    sizes = torch.tensor([1e-4, 1.0, 30.0, 0.0, 1.0])[:, None, None, None]
    weight = sizes * torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    q, scale = quantised(weight)
    assert q.dtype == torch.int8 and q.shape == weight.shape
    assert ((q * scale.reshape(-1, 1, 1, 1) - weight).abs() <= 0.5001 * scale.reshape(-1, 1, 1, 1)).all()
    assert q.flatten(1).abs().amax(1).tolist() == [127, 127, 127, 0, 127] and scale[3] == 0


def test_quantised_of_nothing_is_nothing():
    q, scale = quantised(torch.zeros(2, 0))
    assert q.shape == (2, 0) and scale.tolist() == [0, 0]


@pytest.mark.parametrize("weight, says", [
    (torch.tensor(1.0), "weight: expected an axis of output channels, got a single number"),
    (torch.tensor([1, 2]), "weight: expected .*float"),
    (torch.tensor([[float("nan")]]), "weight: expected .*nan"),
])
def test_quantised_refuses(refused, weight, says):
    with refused(says):
        quantised(weight)


@pytest.mark.parametrize("wrong", [
    UNet(1, 2, widths=(4, 8), dim=3), UNet(2, 2, widths=(4, 8)), UNet(1, 2, widths=(4, 8), residual=True),
    UNet(1, 2, widths=(4, 8), deep_supervision=True),
])
def test_a_network_that_the_page_cannot_run_is_refused(refused, wrong):
    with refused("net: expected a plain UNet"):
        page_network(wrong)


def test_anything_but_a_u_net_is_refused(refused):
    with refused("net: expected a UNet, got UNetPlusPlus"):
        page_network(UNetPlusPlus(widths=(4, 8)))


def test_nan_is_not_written(refused):
    broken = net()
    broken.heads[0].weight.data[0] = torch.nan
    with refused("weight: expected .*nan"):
        page_network(broken)


def test_bytes_of_another_network_are_refused(refused):
    page = page_network(net())
    page["weights"] = b64encode(b64decode(page["weights"])[:-1]).decode()
    with refused(r"expected \d+ bytes for widths \[4, 8, 16\]"):
        read_page_network(page)
