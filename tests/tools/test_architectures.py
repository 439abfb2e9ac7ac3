"""Networks as drawings: what a box says is what its module does, and no weight is left out or counted twice."""
import re

import pytest
import torch
from architectures import ARCHITECTURES, after, drawn
from torch import nn

from medlearn.nets import UNet, receptive_field

NAMES = sorted(ARCHITECTURES)


def said(name: str) -> dict[str, dict[str, str]]:
    return {box.name: box.said for box in drawn(name)[0]}


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_of_the_network_is_in_one_box(name):
    with torch.device("meta"):
        whole = sum(p.numel() for p in ARCHITECTURES[name]().make().parameters())
    numbers = (re.fullmatch(r"[\d,]+", told["weights"]) for told in said(name).values())
    assert sum(int(number[0].replace(",", "")) for number in numbers if number) == whole


@pytest.mark.parametrize("name", NAMES)
def test_arrows_lead_from_box_to_box_and_leave_none_alone(name):
    boxes, arrows = drawn(name)
    names = [box.name for box in boxes]
    assert len(set(names)) == len(names) and len({box.at for box in boxes}) == len(boxes)
    assert {arrow.start for arrow in arrows} | {arrow.end for arrow in arrows} == set(names)


def test_the_published_transunet_is_the_one_that_is_drawn():
    told = said("transunet")
    assert told["transformer"]["shape"] == "768 × 14 × 14" and told["logits"]["shape"] == "9 × 224 × 224"
    assert told["root"]["sees"] == "7 × 7" and told["transformer"]["sees"] == told["logits"]["sees"] == "all of it"


def test_a_thin_twin_sees_as_far_as_the_network_itself():
    net = UNet(1, 4)
    field = receptive_field(net, (1, 256, 256))
    assert said("unet")["logits"]["sees"] == f"{field.size[0]} × {field.size[1]}"


def test_one_head_answers_for_the_whole_image_and_three_for_each_voxel():
    told = said("tasks")
    assert told["diagnosis"] == {"shape": "3", "weights": "195", "sees": "all of it"}
    assert [told[head]["shape"] for head in ("semantic", "centre", "offset")] == [f"{n} × 64 × 64" for n in (6, 1, 2)]
    assert {told[head]["sees"] for head in ("semantic", "centre", "offset")} == {told["y_0"]["sees"]}


def test_a_nested_head_sees_what_its_depth_sees():
    told = said("unetpp")
    assert [told[f"head {d}"]["sees"] for d in (1, 2, 3)] == [told[f"x_0,{d}"]["sees"] for d in (1, 2, 3)]
    assert told["head 3"]["sees"] == said("unet")["logits"]["sees"]


def test_attention_sees_one_place_before_its_weights_and_all_of_them_behind():
    told = said("attention")
    assert {told[name]["sees"] for name in "QKV"} == {"1 × 1"}
    assert {told[name]["sees"] for name in ("weights", "averages", "answer")} == {"all of it"}
    assert told["weights"] == {"shape": "4 heads, 256 × 256 pairs", "weights": "none of its own", "sees": "all of it"}


def test_what_is_asked_stops_at_its_module_and_what_does_not_run_is_an_error():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(3, 1, 1))      # the second cannot follow the first
    assert after("0")(net, torch.zeros(1, 1, 4, 4)).shape == (1, 2, 4, 4)
    net.unused = nn.Identity()
    net.forward = lambda image: net[0](image)
    with pytest.raises(LookupError, match="unused does not run"):
        after("unused")(net, torch.zeros(1, 1, 4, 4))
    with pytest.raises(LookupError, match="no architecture 'vgg'"):
        drawn("vgg")
