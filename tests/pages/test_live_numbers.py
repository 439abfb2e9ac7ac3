"""The numbers that the live instruments compute are those of medlearn and torch."""
import math
from base64 import b64decode
from functools import partial

import numpy as np
import pytest
import torch
from helpers.live_page import array, content
from torch import nn
from torch.nn import functional as F

from medlearn.losses import cross_entropy, dice_loss
from medlearn.metrics import assd, hausdorff, hausdorff95, nsd, surface_distances
from medlearn.nets import UNetPlusPlus, coverage
from medlearn.physics import (ParallelBeam, Pulse, attenuation_to_hu, envelope, hu_to_attenuation, log_compress,
                              log_transform, radio_frequency, rice_logpdf, to_kspace)
from medlearn.tasks import connected_components
from medlearn.train import Machine, Workload, ring_all_reduce_s, step_time, training_hours
from medlearn.uncertainty import conformal_quantile, reliability, risk_coverage, total_variance


def test_softmax_and_its_gradient(page):
    z = torch.tensor([[0.5, -1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = cross_entropy(z, torch.tensor([1]))
    loss.backward()
    assert np.allclose(array(page, "(z) => Live.softmax(z)", z.detach()), z.softmax(1).detach(), atol=1e-12)
    assert array(page, "(z) => [Live.crossEntropy(z, 1)]", z.detach()) == pytest.approx(loss.item())
    assert np.allclose(array(page, "(z) => Live.gradient(z, 1)", z.detach()), z.grad, atol=1e-12)


def test_the_lesion_s_share_of_the_gradient(page):
    labels = (torch.arange(1000) < 20).long()[None]
    for p in (0.5, 0.05):
        one = torch.tensor([0.0, math.log(p / (1 - p))], dtype=torch.float64)
        logits = one[None, :, None].repeat(1, 1, 1000).requires_grad_()
        soft_dice = partial(dice_loss, include_background=False, smooth=0)
        for key, loss in {"crossEntropy": cross_entropy, "dice": soft_dice}.items():
            gradient, = torch.autograd.grad(loss(logits, labels), logits)
            mass = gradient.abs().sum(1)
            share = (mass[labels == 1].sum() / mass.sum()).item()
            assert array(page, f"(p, pi) => [Live.lesionShare(p, pi).{key}]", p, 0.02) == pytest.approx(share)


@pytest.mark.parametrize("rates", [(3, 3, 3), (1, 2, 5), (2, 2)])
def test_reach_and_holes(page, rates):
    seen = coverage(nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=r, dilation=r) for r in rates]), (1, 41, 41))
    along = array(page, "(rates) => Live.paths(rates)", list(rates)) > 0
    inside = slice(20 - len(along) // 2, 21 + len(along) // 2)
    assert (seen.numpy()[inside, inside] == np.outer(along, along)).all()
    assert seen.sum() == along.sum() ** 2


def test_convolution(page):
    image, kernel = torch.randn(16, 16, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    for rate in (1, 3):
        ours = F.conv2d(image[None, None], kernel[None, None], padding=rate, dilation=rate)[0, 0]
        got = array(page, "(x, w, rate) => Live.convolve(x, w, 16, rate)", image, kernel, rate)
        assert np.allclose(got, ours.flatten(), atol=1e-5)


def test_halving_keeps_the_largest_label(page):
    labels = torch.randint(0, 4, (16, 16), generator=torch.Generator().manual_seed(0))
    for times in (1, 3):
        back = F.interpolate(F.max_pool2d(labels[None, None].float(), 2 ** times), size=(16, 16))
        assert (array(page, "(x, times) => Live.halved(x, 16, times)", labels, times) == back.flatten().numpy()).all()


def test_the_weights_of_every_depth(page):
    net = UNetPlusPlus.zhou2018(deep_supervision=True)
    for depth in (1, 2, 3, 4):
        weights = sum(w.numel() for w in net.prune(depth).parameters())
        assert array(page, "(d) => [Live.prunedWeights(d)]", depth) == weights


def test_attention_is_a_softmax_over_distances(page):
    image = torch.rand(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    look = F.unfold(image[None, None], kernel_size=3, padding=1)[0].T / 0.25
    place = torch.cartesian_prod(torch.arange(12.0), torch.arange(12.0)).double() * 3.25 / 10
    f = torch.cat([place, look], 1)
    weights = (-(f - f[30]).square().sum(1) / 2).softmax(0)
    got = array(page, "(x) => Live.attention(Live.tokens(x, 12, {mm: 3.25, place: 10, look: 0.25}), 30)", image)
    assert np.allclose(got, weights, atol=1e-12)


def test_components(page):
    mask = torch.rand(20, 30, generator=torch.Generator().manual_seed(1)) < 0.4
    ids = array(page, "(m) => Live.components(m, 30, 20).ids", mask)
    ours = connected_components(mask).flatten().numpy()
    assert len({*zip(ids, ours)}) == ours.max() + 1


def test_surface_distances(page):
    x, y = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    truth, answer = (x - 11) ** 2 + (y - 12) ** 2 <= 36, (x - 13) ** 2 + (y - 12) ** 2 <= 49
    answer[2, 2] = True
    d = surface_distances(answer, truth, spacing_mm=(0.5, 0.5))
    got = page.evaluate("([a, t]) => Live.surfaceMetrics(Live.surfaceDistances(a, t, 24, 24, 0.5), 1)",
                        [part.flatten().int().tolist() for part in (answer, truth)])
    ours = {"hausdorff": hausdorff(d), "hausdorff95": hausdorff95(d), "assd": assd(d), "nsd": nsd(d, 1.0)}
    assert got == pytest.approx(ours)


@pytest.mark.parametrize("window", ["ramp", "hann"])
def test_ct_from_scan_to_image(page, window):
    stored = np.frombuffer(b64decode(content("slices")["torso"]["hu"]), "<i2")
    hu = torch.from_numpy(stored.reshape(128, 128).astype(np.float64)).clamp_min(-1000)
    beam, mu = ParallelBeam(128, np.arange(180), pixel_mm=3.0), hu_to_attenuation(hu)
    sinogram = beam.project(mu[None, None])
    got = page.evaluate("""([hu, hann]) => {
        const beam = Live.parallelBeam(128, 180, 3), p = beam.project(hu.map(Live.toAttenuation));
        return {detectors: beam.detectors, sinogram: Array.from(p), hu: Array.from(beam.fbp(p, hann), Live.toHU)};
    }""", [hu.flatten().tolist(), window == "hann"])
    assert got["detectors"] == beam.detectors
    assert np.allclose(got["sinogram"], sinogram.flatten(), atol=1e-4)
    image = attenuation_to_hu(beam.fbp(sinogram, window))
    assert np.abs(np.array(got["hu"]) - image.flatten().numpy()).max() < 2       # HU: the page interpolates the strips
    counts = torch.tensor([[0.0, 1.0, 20.0, 1000.0]], dtype=torch.float64)
    measured = log_transform(counts, 1000.0).line_integrals
    assert np.allclose(array(page, "(n) => Live.logTransform(n, 1000)", counts), measured.flatten())


def test_photons_are_poisson(page):
    for mean in (0.5, 8.0, 700.0):
        rays = "Array(20000).fill(Math.log(1e4 / mean))"
        counts = array(page, f"(mean) => Live.photonCounts({rays}, 1e4, Live.random(1))", mean)
        assert counts.mean() == pytest.approx(mean, rel=0.03) and counts.var() == pytest.approx(mean, rel=0.05)
        assert (counts == counts.round()).all()


def test_rice(page):
    m = torch.linspace(0.01, 4, 50, dtype=torch.float64)
    for nu, sigma in ((0.0, 0.3), (1.0, 0.2), (1.0, 1.0), (2.0, 0.05)):
        got = array(page, "(m, nu, s) => m.map((x) => Live.riceLogPdf(x, nu, s))", m, nu, sigma)
        assert np.allclose(got, rice_logpdf(m, nu, sigma), atol=1e-6)


def test_k_space_there_and_back(page):
    image = torch.randn(1, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    k = to_kspace(image).flatten()
    there = "const k = Live.toKSpace(x, new Float64Array(256), 16)"
    for part, ours in {"re": k.real, "im": k.imag}.items():
        assert np.allclose(array(page, f"(x) => {{ {there}; return k.{part}; }}", image), ours, atol=1e-10)
    back = array(page, f"(x) => {{ {there}; return Live.fromKSpace(k.re, k.im, 16).re; }}", image)
    assert np.allclose(back, image.flatten(), atol=1e-10)


def test_ultrasound_from_scatterers_to_decibels(page):
    scatterers = torch.randn(1, 1, 64, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rf = radio_frequency(scatterers, Pulse(), spacing_mm=(0.04, 0.1))
    assert np.allclose(array(page, "(s) => Live.radioFrequency(s, 64, 40)", scatterers), rf.flatten(), atol=1e-9)
    a = envelope(rf)
    assert np.allclose(array(page, "(r) => Live.envelope(r, 64, 40)", rf), a.flatten(), atol=1e-9)
    assert np.allclose(array(page, "(a) => Live.logCompress(a, 40)", a), log_compress(a, 40.0).flatten(), atol=1e-9)


def test_two_kinds_of_variance(page):
    means, variances = torch.tensor([1.0, 1.5, 0.7]).double(), torch.tensor([0.2, 0.3, 0.1]).double()
    ours = total_variance(means, variances)
    got = page.evaluate("([m, v]) => Live.totalVariance(m, v)", [means.tolist(), variances.tolist()])
    assert got == pytest.approx({name: value.item() for name, value in ours._asdict().items()})


def test_ridge(page):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    got = np.array(page.evaluate("([x, y]) => Array.from(Live.ridge(x, y, 0.7))", [x.tolist(), y.tolist()]))
    assert np.allclose(got, np.linalg.solve(x.T @ x + 0.7 * np.eye(4), x.T @ y))


def test_calibration_error(page):
    z = 2 * torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels, p = torch.randint(0, 3, (500,), generator=torch.Generator().manual_seed(1)), z.softmax(1)
    sure, said = p.max(1)
    ours = reliability(p, labels, bins=15)
    assert array(page, "(c, r) => [Live.reliability(c, r, 15).ece]", sure, said == labels) == pytest.approx(ours.ece)


def test_conformal_quantile(page):
    scores = torch.rand(99, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for alpha in (0.01, 0.1, 0.37):
        ours = conformal_quantile(scores, alpha)
        assert array(page, "(s, a) => [Live.conformalQuantile(s, a)]", scores, alpha) == pytest.approx(ours)
    assert array(page, "(s, a) => [Live.conformalQuantile(s, a)]", scores[:5], 0.1) == math.inf


def test_risk_and_coverage(page):
    generator = torch.Generator().manual_seed(0)
    uncertainty, error = torch.rand(2, 40, generator=generator, dtype=torch.float64)
    uncertainty = (8 * uncertainty).round()
    ours = risk_coverage(uncertainty, error)
    got = page.evaluate("([u, e]) => Live.riskCoverage(u, e)", [uncertainty.tolist(), error.tolist()])
    assert np.allclose(got["risk"], ours.risk) and np.allclose(got["best"], ours.best_risk)


@pytest.mark.parametrize("processes", [1, 2, 64])
@pytest.mark.parametrize("overlap, storage", [(0.0, 1e9), (0.7, 5e9), (0.1, 3e7)])
def test_a_training_on_paper(page, processes, overlap, storage):
    work = Workload(scans=1e6, looks=20, batch=2, patch_s=0.1, patch_bytes=8e6, gradient_bytes=120e6,
                    critical_batch=500)
    machine = Machine(processes=processes, link_bytes_per_s=2e9, latency_s=1e-5, storage_bytes_per_s=storage,
                      overlap=overlap)
    given = [{"scans": 1e6, "looks": 20, "batch": 2, "patch": 0.1, "patchBytes": 8e6, "gradientBytes": 120e6,
              "critical": 500},
             {"processes": processes, "link": 2e9, "latency": 1e-5, "storage": storage, "overlap": overlap}]
    got = page.evaluate("""([work, machine]) => ({ring: Live.scaling.ringAllReduce(work.gradientBytes, machine),
        step: Live.scaling.stepTime(work, machine), hours: Live.scaling.trainingHours(work, machine)})""", given)
    step = step_time(work, machine)
    assert got["ring"] == pytest.approx(ring_all_reduce_s(120e6, processes=processes, link_bytes_per_s=2e9,
                                                          latency_s=1e-5))
    assert got["step"] == pytest.approx({"compute": step.compute_s, "exchange": step.exchange_s, "wait": step.wait_s,
                                         "starve": step.starve_s, "total": step.total_s})
    assert got["hours"] == pytest.approx(training_hours(work, machine))


def test_the_plan_of_the_page_is_that_of_the_table(page):
    """The instrument begins with the assumptions of the chapter's table, and says the same hours at 64."""
    at_64 = Machine(processes=64, link_bytes_per_s=10 ** 1.4 * 1e9, latency_s=1e-5, storage_bytes_per_s=10 ** 0.7 * 1e9,
                    overlap=0.7)
    plan = Workload(scans=1e6, looks=20, batch=2, patch_s=0.1, patch_bytes=8e6, gradient_bytes=120e6,
                    critical_batch=10 ** 2.7)
    slider = page.query_selector("[data-instrument=scaling] input")
    slider.evaluate("(s) => { s.value = 6; s.dispatchEvent(new Event('input')); }")
    says = "[data-instrument=scaling] .ml-says"
    page.wait_for_function(f"document.querySelector('{says}').textContent.startsWith('64 GPUs')")
    hours = training_hours(plan, at_64)
    assert page.inner_text(says).startswith(f"64 GPUs: {hours:.3g} hours")
