"""What the live instruments are shown is what the tool writes from the package's own brain, and is small."""
import gzip
import json
from base64 import b64decode
from pathlib import Path

import live_data
import live_network
import numpy as np
import pytest

from medlearn.data import load_mni152
from medlearn.export import read_page_network

LIVE = Path(__file__).resolve().parents[2] / "book/_static/live"


def content(name: str) -> dict:
    text = (LIVE / f"{name}.js").read_text(encoding="utf-8")
    assert text.startswith(f'Live.file("{name}", ')
    return json.loads(text[text.index("{"):text.rindex(")")])


def array(packed: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(gzip.decompress(b64decode(packed)), np.uint8).reshape(shape, order="F")


def test_the_slice_of_the_brain_is_what_the_tool_writes():
    written, made = content("slices")["brain"], json.loads(json.dumps(live_data.brain_slice()))
    for key in ("n", "mm", "z_mm", "t1_range", "lesion"):
        assert written[key] == made[key]
    for key in ("t1", "white", "grey", "inside"):           # another version of torch may round one step otherwise
        a, b = (np.frombuffer(b64decode(each[key]), np.uint8).astype(int) for each in (written, made))
        assert np.abs(a - b).max() <= 1
    a, b = (np.frombuffer(b64decode(each["tissue"]), np.uint8) for each in (written, made))
    assert (a != b).mean() < 1e-3


def test_the_scanners_are_those_of_the_package():
    written, made = content("slices")["scanners"], live_data.scanners()
    assert written.pop("levels") == pytest.approx(made.pop("levels"), rel=1e-6)
    assert written == made


def test_the_volume_of_the_brain_lies_where_the_brain_lies():
    volume, brain = content("volume-brain"), load_mni152()
    image, labels = (array(volume[key], volume["shape"]) for key in ("image", "labels"))
    place = np.array([-24, -17, 20])
    coarse = np.rint((place - volume["origin_mm"]) / volume["spacing_mm"]).astype(int)
    fine = np.rint(place - brain.affine[:3, 3]).astype(int)
    assert volume["names"][labels[tuple(coarse)] - 1] == "white matter" and brain.labels[tuple(fine)] == 3
    t1 = brain.t1[tuple(fine)].item() / brain.white_level
    assert volume["step"] * image[tuple(coarse)] == pytest.approx(t1, abs=0.1)
    millilitres = np.bincount(labels.ravel(), minlength=4)[2:] * np.prod(volume["spacing_mm"]) / 1000
    assert millilitres == pytest.approx([1091, 636], rel=0.04)


def test_the_torso_s_organs_are_as_dense_as_their_names_say():
    volume = content("volume-torso")
    image, labels = (array(volume[key], volume["shape"]) for key in ("image", "labels"))
    assert volume["names"] == list(live_data.ORGANS)
    live_data.check_organs(volume["low"] + volume["step"] * image.astype(int), labels)


def test_labels_of_another_numbering_are_refused():
    hu, organs = np.zeros((2, 2, 2)), np.arange(8).reshape(2, 2, 2).astype(np.uint8)
    with pytest.raises(SystemExit, match="lung: expected -900..-500 HU, got 0"):
        live_data.check_organs(hu, organs)


def test_no_organ_is_named_twice():
    numbers = [number for parts in live_data.ORGANS.values() for number in parts]
    assert len(numbers) == len(set(numbers))


def test_the_notice_stands_beside_the_data_and_the_files_are_small():
    notice = (LIVE / "NOTICE.txt").read_text()
    for path in LIVE.glob("*.js"):
        if path.name.startswith(("slices", "volume", "network")):
            assert path.name in notice
    limits_kb = {"slices": 50, "network": 250, "volume-brain": 350, "volume-torso": 800}
    for name, limit in limits_kb.items():
        assert len(gzip.compress((LIVE / f"{name}.js").read_bytes())) < 1000 * limit, name


def test_both_networks_found_the_lesions_of_patients_they_had_not_seen():
    networks = content("network")
    for net in networks.values():
        assert net["dice"] > 0.8 and abs(net["dice"] - net["dice_int8"]) < 0.005
    assert networks["skips"]["dice"] > networks["no_skips"]["dice"]
    assert networks["no_skips"]["parameters"] == pytest.approx(networks["skips"]["parameters"], rel=0.01)


def test_the_alarms_ring_for_one_in_twenty_of_the_patients_that_they_were_set_on():
    patients = live_network.calibration()
    for net in content("network").values():
        made = live_network.alarms(read_page_network(net), patients)
        assert {*net["alarms"]} == {*made}
        for name, value in made.items():
            assert net["alarms"][name] == pytest.approx(value, rel=1e-3), name
