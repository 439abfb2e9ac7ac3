"""The U-Net of the page is the one of torch, voxel by voxel; what is painted is drawn as the cohort draws it."""
import numpy as np
import pytest
import torch
from helpers.live_page import array, content, float32
from torch import nn

from medlearn.data import BrainCohort, load_mni152
from medlearn.data.cohort import CORE_LOSS, CORE_MM, EDGE_MM
from medlearn.data.scan import standardise
from medlearn.export import read_page_network
from medlearn.uncertainty import class_entropy


def scans() -> dict[str, torch.Tensor]:
    """Real anatomy, a patient with lesions, and something that is no scan at all."""
    patient = BrainCohort(seed=99, size=128).batch([3]).image
    noise = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    return {"template": load_mni152().on_grid(128, z_mm=20).image, "patient": patient, "noise": noise}


@pytest.mark.parametrize("name", ["skips", "no_skips"])
def test_the_page_s_network_is_torch_s_voxel_by_voxel(page, name):
    net = read_page_network(content("network")[name])
    page.evaluate("(name) => { window.net = Live.unet(Live.files.network[name]); }", name)
    for kind, image in scans().items():
        got = page.evaluate("""(text) => {
            const x = net.standardise(new Float32Array(Live.bytes(text).buffer));
            const y = net.decode(net.encode(x, 128, 128)), p = net.probabilities(y), entropy = Array.from(net.entropies([p]).total);
            return {logits: Array.from(y), classes: Array.from(net.classes(p)), entropy};
        }""", float32(image))
        with torch.no_grad():
            logits = net(standardise(image))
        assert np.allclose(got["logits"], logits.flatten(), atol=2e-3, rtol=1e-4), kind
        assert got["classes"] == logits.argmax(1).flatten().tolist(), kind
        total = class_entropy(logits.softmax(1)[None]).total
        assert np.allclose(got["entropy"], total.flatten(), atol=2e-4), kind


def test_dropout_is_where_it_was_in_training(page):
    """The page draws the masks; torch gets them in the place of its own dropout."""
    page.evaluate("() => { window.net = Live.unet(Live.files.network.skips); }")
    image = scans()["patient"]
    got = page.evaluate("""(text) => {
        const x = new Float32Array(Live.bytes(text).buffer), seen = net.encode(net.standardise(x), 128, 128);
        const rng = Live.random(5), masks = [1, 2].map(() => net.draw(seen, rng.uniform));
        const { total, disagreement } = net.entropies(masks.map((m) => net.probabilities(net.decode(seen, m))));
        return {masks: masks.map((m) => m.map((level) => level && Array.from(level))),
                total: Array.from(total), disagreement: Array.from(disagreement)};
    }""", float32(image))
    page_network = content("network")["skips"]
    answers = []
    for masks in got["masks"]:
        net = read_page_network(page_network)
        for i, (mask, p) in enumerate(zip(masks, page_network["dropout"])):
            if mask is not None:
                assert abs(np.mean(np.array(mask) == 0) - p) < 0.02
                side = 128 >> i
                net.dropout[i] = Masked(torch.tensor(mask).reshape(1, -1, side, side))
        with torch.no_grad():
            answers.append(net(standardise(image)).softmax(1))
    entropies = class_entropy(torch.stack(answers))
    assert np.allclose(got["total"], entropies.total.flatten(), atol=1e-3)
    assert np.allclose(got["disagreement"], entropies.epistemic.flatten(), atol=1e-3)
    assert max(got["disagreement"]) > 0.01


class Masked(nn.Module):
    def __init__(self, mask: torch.Tensor):
        super().__init__()
        self.mask = mask

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask


def test_a_painted_lesion_is_drawn_as_the_cohort_s(page):
    got = page.evaluate("""() => {
        const b = Live.paintCanvas(), plaque = new Float32Array(b.n * b.n).fill(-99), mass = plaque.slice();
        Live.stamp(plaque, b, [80, 60], 6);
        Live.stamp(mass, b, [45, 70], 13);
        const made = Live.painted(b, plaque, mass), [image, truth, white, inside, t1] = [
            made.image, made.truth, b.white, b.inside, b.t1].map((values) => Array.from(values));
        return {image, truth, white, inside, t1, lesion: b.lesion, mm: b.mm};
    }""")
    x, y = np.meshgrid(np.arange(128), np.arange(128), indexing="ij")
    white, inside, image = (np.reshape(got[key], (128, 128)) for key in ("white", "inside", "t1"))
    for (a, b), radius, share, level in (((80, 60), 6, white, got["lesion"]["plaque"]), ((45, 70), 13, inside, None)):
        depth = radius - got["mm"] * np.hypot(x - a, y - b)
        core = 1 - CORE_LOSS * ((depth - CORE_MM[0]) / (CORE_MM[1] - CORE_MM[0])).clip(0, 1)
        level = got["lesion"]["mass"] * core if level is None else level
        image = image + (0.5 + depth / EDGE_MM).clip(0, 1) * share * (level - image)
    assert np.allclose(np.reshape(got["image"], (128, 128)), image, atol=1e-4)
    assert set(got["truth"]) == {0, 1, 2}


def test_the_shared_brain_is_the_package_s(page):
    real = load_mni152().on_grid(128, z_mm=20)
    t1 = array(page, "() => Live.paintCanvas().t1")
    assert np.abs(t1 - real.image.flatten().numpy()).max() <= 1.6 / 255
    assert (array(page, "() => Live.bytes(Live.files.slices.brain.tissue)") == real.tissue.flatten().numpy()).all()
