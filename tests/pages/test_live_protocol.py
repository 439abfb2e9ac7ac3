"""The painted lesion on another scanner: its physics is medlearn's, and its alarms ring where chapter 18 says."""
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.live_page import LIVE, array, content, float32, opened
from live_network import looks

from medlearn.data import BrainCohort, load_mni152
from medlearn.data.brain import sample
from medlearn.data.cohort import TISSUE_PARAMETERS
from medlearn.data.scan import grid_axes
from medlearn.physics import MR_PROTOCOLS, MRProtocol, acquire, relaxation_at, spoiled_gradient_echo

HOME = MR_PROTOCOLS["3 T"]
ROOT = "[data-instrument=protocol]"
SIGNALS = "(settings) => Live.scanner.signals(Live.files.slices.scanners, settings)"
NOISE = "const rng = Live.random(2), noise = Float32Array.from({length: 2 * 128 * 128}, rng.normal);"


def settings_of(protocol: MRProtocol) -> dict[str, float]:
    return {key: getattr(protocol, key) for key in ("field_t", "tr_ms", "te_ms", "flip_deg")}


def signals(protocol: MRProtocol) -> torch.Tensor:
    """Of fluid, grey and white matter, plaque and mass; white matter's is 1."""
    density, t1, t2star = torch.from_numpy(TISSUE_PARAMETERS)
    solid = relaxation_at(t1[1:], t2star[1:], field_t=protocol.field_t)
    t1, t2star = (torch.cat([all_[:1], part]) for all_, part in zip((t1, t2star), solid))
    signal = spoiled_gradient_echo(density, t1_ms=t1, t2star_ms=t2star, tr_ms=protocol.tr_ms, te_ms=protocol.te_ms,
                                   flip_deg=protocol.flip_deg)
    return signal / signal[2]


# The physics ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("protocol", [*MR_PROTOCOLS.values(), replace(HOME, flip_deg=4, field_t=0.5)])
def test_the_signal_of_every_tissue_is_that_of_the_signal_equation(page, protocol):
    assert np.allclose(array(page, SIGNALS, settings_of(protocol)), signals(protocol), rtol=1e-12)


@pytest.mark.parametrize("name", ["3 T", "low flip"])
def test_each_tissue_s_mean_is_moved_to_its_signal(page, name):
    signal, brain = signals(MR_PROTOCOLS[name]), load_mni152()
    points = np.stack(np.meshgrid(*grid_axes(128, 2, 20), indexing="ij"))[..., 0]
    shares = sample(brain.probabilities, brain.affine, torch.from_numpy(points).float()[None])[0]
    image = brain.on_grid(128, z_mm=20).image[0, 0].clone()
    for k, share in enumerate(shares):
        image += share * (signal[k] - brain.t1[brain.probabilities[k] > 0.95].mean() / brain.white_level)
    made = """(signal) => Live.scanner.withContrast(
        Live.paintCanvas(), Live.files.slices.scanners.levels, signal)"""
    got = array(page, f"(signal) => ({made})(signal).t1", signal)
    assert np.abs(got - image.flatten().numpy()).max() < 0.01           # the page's maps are of bytes
    lesion = page.evaluate(f"(signal) => ({made})(signal).lesion", signal.tolist())
    assert [lesion["plaque"], lesion["mass"]] == pytest.approx(signal[3:].tolist())


@pytest.mark.parametrize("voxel_mm", [1.625, 3.0, 7.0])
def test_the_waves_that_are_measured_are_those_of_medlearn(page, voxel_mm):
    image = BrainCohort(seed=4, size=128).batch([0]).image
    ours = acquire(image, 0.0, voxel_mm=voxel_mm, spacing_mm=1.625, generator=torch.Generator())
    got = page.evaluate(f"""([text, voxel_mm]) => {{
        {NOISE}
        const signal = new Float32Array(Live.bytes(text).buffer);
        return Array.from(Live.scanner.acquire(signal, Live.paintCanvas(), {{snr: Infinity, voxel_mm}}, noise));
    }}""", [float32(image), voxel_mm])
    assert np.allclose(got, ours.flatten(), atol=1e-5)


@pytest.mark.parametrize("voxel_mm", [1.625, 7.0])
def test_the_noise_of_the_air_is_as_large_as_the_snr_says(page, voxel_mm):
    air = array(page, f"""(voxel_mm) => {{
        {NOISE}
        return Live.scanner.acquire(new Float32Array(128 * 128), Live.paintCanvas(), {{snr: 5, voxel_mm}}, noise);
    }}""", voxel_mm)
    ours = acquire(torch.zeros(20, 1, 128, 128), 1 / 5, voxel_mm=voxel_mm, spacing_mm=1.625,
                   generator=torch.Generator().manual_seed(0)).square().mean().item()
    assert np.mean(air ** 2) == pytest.approx(ours, rel=0.1) == pytest.approx(2 / 5 ** 2, rel=0.1)


def test_the_shade_of_the_coil_is_as_strong_as_it_says_and_brightest_at_the_patient_s_left(page):
    log_field = np.log(array(page, "() => Live.scanner.coil(128, 0.5)")).reshape(128, 128)
    assert log_field.mean() == pytest.approx(0, abs=1e-6) and log_field.std() == pytest.approx(0.5, rel=1e-5)
    wave = np.cos(np.pi * (np.arange(128) + 0.5) / 128)                 # one of those of medlearn.physics.bias_field
    assert np.allclose(log_field, 0.5 * np.sqrt(2) * wave[:, None], atol=1e-6)


def test_the_looks_of_a_scan_are_those_that_the_alarm_was_set_on(page):
    scans = BrainCohort(seed=9, size=128).batch(range(3)).image
    known = content("network")["skips"]["alarms"]
    for image, ours in zip(scans, looks(scans)):
        got = page.evaluate("""(text) => {
            const found = Live.scanner.looks(new Float32Array(Live.bytes(text).buffer), 128);
            return [found, Live.scanner.strangeness(found, Live.files.network.skips.alarms)];
        }""", float32(image))
        assert got[0] == pytest.approx(ours.tolist(), rel=1e-4)
        z = (ours - torch.tensor(known["middle"])) / torch.tensor(known["spread"])
        assert got[1] == pytest.approx((z.abs().max() / known["looks"]).item(), rel=1e-3)


# What a reader meets -------------------------------------------------------------------------------------------------

@pytest.fixture
def scanner(chromium):
    page = opened(chromium)
    page.wait_for_selector(f"{ROOT}[data-answered]")
    yield page
    page.context.close()


def after(page, act) -> dict:
    """What the instrument says once the network has answered to this."""
    page.evaluate(f"document.querySelector('{ROOT}').removeAttribute('data-answered')")
    act()
    page.wait_for_selector(f"{ROOT}[data-answered]")
    return told(page)


def told(page) -> dict:
    result, alarms = page.inner_text(f"{ROOT} .ml-says"), page.inner_text(f"{ROOT} p[aria-live]")
    why = page.inner_text(f"{ROOT} p[aria-live] + p")
    return {"dice": float(re.search(r"Dice (\d\.\d+)", result)[1]), "why": why, "said": result + alarms,
            "rings": re.findall(r"(?:silent|rings)", alarms.split(":", 1)[1])}


def press(page, name: str) -> dict:
    return after(page, lambda: page.click(f"{ROOT} .ml-row button:text-is('{name}')"))


def slide(page, label: str, value: float) -> dict:
    move = "(s, value) => { s.value = value; s.dispatchEvent(new Event('input')); }"
    return after(page, lambda: page.query_selector(f"{ROOT} input[aria-label='{label}']").evaluate(move, value))


def test_at_home_the_answer_is_right_and_nothing_rings(scanner):
    first = told(scanner)
    assert first["dice"] > 0.9 and first["rings"] == ["silent", "silent"] and first["why"].startswith("At home: 3 T")
    moved = slide(scanner, "SNR", 3)
    assert moved["dice"] < 0.1
    assert press(scanner, "3 T")["said"] == first["said"]


def test_each_alarm_is_silent_where_the_other_one_rings(scanner):
    fast = press(scanner, "fast")
    assert fast["dice"] < 0.5 and fast["rings"] == ["silent", "rings"]
    press(scanner, "low flip")
    flat = slide(scanner, "flip angle", 8)
    assert flat["dice"] < 0.5 and flat["rings"] == ["rings", "silent"]
    shaded = press(scanner, "shaded")
    assert shaded["dice"] < 0.5 and shaded["rings"] == ["rings", "rings"]


def test_the_sentence_says_what_the_physics_did(scanner):
    bright, plaque = (round(100 * signals(MR_PROTOCOLS[name])[3].item()) for name in ("low flip", "3 T"))
    assert f"a plaque is {bright} % as bright as white matter, at home {plaque} %" in press(scanner, "low flip")["why"]
    assert "noise is 17 % of white matter's signal, at home 2 %" in press(scanner, "fast")["why"]
    assert "hears one edge of the picture 4.1 times as well" in press(scanner, "shaded")["why"]
    assert "shorter than 14.0 mm were not measured: 5 % of k-space" in press(scanner, "coarse")["why"]
    both = press(scanner, "0.55 T")["why"]
    assert "T₁ is shorter" in both and "noise is 11 %" in both


def test_the_buttons_are_the_chapter_s_protocols_and_the_sliders_reach_them(scanner):
    buttons = scanner.query_selector_all(f"{ROOT} .ml-row button")
    assert [button.inner_text() for button in buttons] == [*MR_PROTOCOLS]
    for name in MR_PROTOCOLS:
        press(scanner, name)
        assert [b.inner_text() for b in buttons if b.get_attribute("aria-pressed") == "true"] == [name]
    slide(scanner, "magnet", 2)
    assert not scanner.query_selector_all(f"{ROOT} [aria-pressed=true]")


def test_keys_paint_and_choose_a_scanner(scanner):
    canvas, before = scanner.query_selector(f"{ROOT} canvas"), told(scanner)["said"]
    canvas.focus()
    after(scanner, lambda: canvas.press("ArrowLeft"))
    assert after(scanner, lambda: canvas.press("Enter"))["said"] != before
    assert after(scanner, lambda: scanner.press(f"{ROOT} .ml-row button:text-is('coarse')", "Enter"))["why"]


def test_on_a_phone_the_answer_is_seen_while_a_slider_moves(chromium):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    try:
        page.goto((LIVE / "demo.html").as_uri())
        page.evaluate(f"Live.mount(document.querySelector('{ROOT}'))")
        page.wait_for_selector(f"{ROOT}[data-answered]")
        top, bottom = page.evaluate(f"""() => [
            document.querySelector('{ROOT} canvas').getBoundingClientRect().top,
            document.querySelector('{ROOT} input[aria-label="coil shade"]').getBoundingClientRect().bottom]""")
        assert bottom - top < 600
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    finally:
        context.close()
