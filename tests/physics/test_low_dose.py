"""A lower dose, added to an image, against a scan at that dose."""
import math

import numpy as np
import pytest
import torch

from medlearn.base.grid import Grid
from medlearn.base.private import TorchDispatchMode
from medlearn.data import BrainCohort
from medlearn.data.phantoms import Ellipses
from medlearn.physics import ct
from medlearn.physics.ct import (
    attenuation_to_hu,
    hu_to_attenuation,
    log_transform,
    low_dose,
    photon_counts,
)
from medlearn.physics.projection import ParallelBeam


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def water(size=64, pixel=4.0, radius=100.0):
    """A cylinder of water, in HU."""
    cylinder = Ellipses(torch.ones(1, 1), torch.full((1, 1, 2), radius), torch.zeros(1, 1, 2), torch.zeros(1, 1))
    return 1000 * (cylinder.image(size, pixel) - 1)


@pytest.mark.parametrize("fraction, sd", [(0.5, 0.0), (0.1, 0.0), (0.25, 30.0)])
def test_the_noise_added_is_what_a_scan_at_that_dose_has_more(fraction, sd):
    size, pixel, i0, n = 48, 5.0, 1e5, 120
    image = water(size, pixel)
    beam = ParallelBeam(size, torch.arange(180.0), pixel_mm=pixel)
    p = beam.project(hu_to_attenuation(image)).expand(n, -1, -1, -1)

    def scan(i0, seed):
        counts = photon_counts(p, i0, electronic_sd=sd, generator=seeded(seed))
        return attenuation_to_hu(beam.fbp(log_transform(counts, i0, electronic_sd=sd).line_integrals, "hann"))

    full, low = scan(i0, 0), scan(fraction * i0, 1)
    lowered = low_dose(full, fraction, pixel_mm=pixel, i0=i0, electronic_sd=sd, generator=seeded(2))
    middle, edge = (slice(20, 28), slice(20, 28)), (slice(20, 28), slice(6, 10))
    for place in (middle, edge):
        spread = lambda images: images[:, 0, *place].var(0).mean().sqrt().item()
        assert spread(lowered) == pytest.approx(spread(low), rel=0.07)
        assert spread(lowered) > 1.2 * spread(full)
    assert (lowered - full).mean().abs() < 3


def test_noise_is_greater_behind_dense_paths():
    bones = Ellipses(torch.tensor([[1.0, 3.0, 3.0]]), torch.tensor([[[100.0, 100], [15, 15], [15, 15]]]),
                     torch.tensor([[[0.0, 0], [-60, 0], [60, 0]]]), torch.zeros(1, 3))
    image = 1000 * (bones.image(64, 4.0) - 1)
    noise = low_dose(image.expand(20, -1, -1, -1), 0.2, pixel_mm=4.0, generator=seeded()) - image
    spread = noise.std((0, 1))
    between, aside = spread[30:34, 30:34].mean(), spread[30:34, 44:48].mean()      # on the line of both, and off it
    assert between > 1.5 * aside


def test_the_whole_dose_leaves_the_image_and_no_image_none():
    image = water()
    assert torch.equal(low_dose(image, 1.0, pixel_mm=4.0, electronic_sd=5.0, generator=seeded()), image)
    assert low_dose(image[:0], 0.5, pixel_mm=4.0, generator=seeded()).shape == (0, 1, 64, 64)


def test_each_image_has_its_own_dose_pixel_and_generator():
    image = water().expand(3, -1, -1, -1)
    settings = dict(pixel_mm=torch.tensor([4.0, 2.0, 4.0]), i0=torch.tensor([1e5, 1e5, 1e6]))
    fraction = torch.tensor([0.5, 0.5, 0.1])
    together = low_dose(image, fraction, **settings, generator=[seeded(n) for n in range(3)])
    for n in range(3):
        part = {name: value[n:n + 1] for name, value in settings.items()}
        alone = low_dose(image[n:n + 1], fraction[n:n + 1], **part, generator=[seeded(n)])
        torch.testing.assert_close(together[n:n + 1], alone, rtol=1e-4, atol=0.05)
    spread = (together - image).std((1, 2, 3))
    assert spread[0] > spread[2]                # a tenth of ten times the dose is more


def test_a_volume_is_a_stack_of_scans_and_slices_need_not_be_square():
    one = water()[:, :, 4:52]
    volume = torch.stack([one] * 20, -1)                                # 1 1 48 64 20, more than are done at a time
    noisy = low_dose(volume, 0.3, pixel_mm=4.0, generator=seeded())
    assert noisy.shape == volume.shape
    middle = slice(20, 28)
    spread = [(x - y)[0, 0, middle, middle].std().item() for x, y in ((noisy, volume), (low_dose(
        one.expand(1, 20, -1, -1), 0.3, pixel_mm=4.0, generator=seeded(1)), one))]
    assert spread[0] == pytest.approx(spread[1], rel=0.15)
    noise = (noisy - volume)[0, 0].flatten(0, 1)
    correlation = torch.corrcoef(noise.T)
    assert (correlation - torch.eye(20)).abs().max() < 0.15


def test_a_lower_dose_keeps_the_images_precision():
    image = water(32, 8.0).half()
    assert low_dose(image, 0.5, pixel_mm=8.0, generator=seeded()).dtype == torch.float16
    with torch.autocast("cpu", torch.bfloat16):
        assert low_dose(image.float(), 0.5, pixel_mm=8.0, generator=seeded()).dtype == torch.float32


def test_the_gradient_passes_through_the_noise():
    image = water(32, 8.0).requires_grad_()
    low_dose(image, 0.5, pixel_mm=8.0, generator=seeded()).sum().backward()
    assert image.grad.eq(1).all()


def test_starved_paths_stay_finite():
    steel = Ellipses(torch.tensor([[40.0]]), torch.full((1, 1, 2), 60.0), torch.zeros(1, 1, 2), torch.zeros(1, 1))
    image = 1000 * (steel.image(32, 5.0) - 1)
    assert low_dose(image, 0.01, pixel_mm=5.0, i0=1e4, electronic_sd=10.0, generator=seeded()).isfinite().all()


@pytest.mark.parametrize("changed, name", [
    (dict(dose_fraction=0.0), "dose_fraction"), (dict(dose_fraction=1e-30), "dose_fraction"),
    (dict(dose_fraction=1.5), "dose_fraction"),
    (dict(dose_fraction=-0.5), "dose_fraction"), (dict(dose_fraction=math.nan), "dose_fraction"),
    (dict(dose_fraction=torch.ones(2)), "dose_fraction"), (dict(pixel_mm=0.0), "pixel_mm"), (dict(i0=-1.0), "i0"),
    (dict(electronic_sd=-1.0), "electronic_sd"), (dict(window="box"), "window"), (dict(generator=None), "generator"),
], ids=lambda value: "" if isinstance(value, dict) else value)
def test_a_dose_that_cannot_be_is_refused(refused, changed, name):
    with refused(f"{name}: expected .* got"):
        low_dose(**(dict(image_hu=water(32), dose_fraction=0.5, pixel_mm=4.0, generator=seeded()) | changed))


def test_an_image_of_another_shape_is_refused(refused):
    with refused("image_hu: expected .* got"):
        low_dose(torch.zeros(8, 8), 0.5, pixel_mm=1.0, generator=seeded())


def test_the_images_grid_says_how_wide_a_pixel_is_and_which_axis_is_the_patients(refused):
    image = water(32, 8.0)
    lowered = low_dose(image, 0.5, pixel_mm=8.0, generator=seeded())
    for grid in (Grid.from_spacing((32, 32), (8.0, 8.0)), [Grid.from_spacing((32, 32), (8.0, 8.0))]):
        assert torch.equal(low_dose(image, 0.5, pixel_mm=grid, generator=seeded()), lowered)
    two, twice = [Grid.from_spacing((32, 32), (width, width)) for width in (8.0, 4.0)], image.expand(2, -1, -1, -1)
    assert torch.equal(low_dose(twice, 0.5, pixel_mm=two, generator=seeded()),
                       low_dose(twice, 0.5, pixel_mm=torch.tensor([8.0, 4.0]), generator=seeded()))
    scan = BrainCohort(size=32).batch([0, 1])
    assert low_dose(1000 * scan.image - 1000, 0.5, pixel_mm=scan.grids, generator=seeded()).isfinite().all()
    for wrong in (two, two[:0], [8.0], Grid.from_spacing((32, 31), (8.0, 8.0)), Grid.from_spacing((32, 32), (8.0, 7.0)),
                  Grid((32, 32), np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]))):
        with refused("pixel_mm: expected .* got"):
            low_dose(image, 0.5, pixel_mm=wrong, generator=seeded())


def test_a_volume_whose_slices_lie_along_the_first_axis_is_refused(refused):
    stack = water(16, 16.0)[:, :, None].expand(1, 1, 5, 16, 16)         # z first
    with refused("image_hu: expected .* last axis, got .*: move that axis to the end"):
        low_dose(stack, 0.5, pixel_mm=16.0, generator=seeded())
    z_first = np.array([[0, 16.0, 0, 0], [0, 0, 16.0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    with refused("pixel_mm: expected a Grid whose first two axes lie across the patient, got orientation SRA"):
        low_dose(stack, 0.5, pixel_mm=Grid((5, 16, 16), z_first), generator=seeded())
    moved, grid = stack.movedim(2, -1), Grid.from_spacing((16, 16, 5), (16.0, 16.0, 5.0))
    assert torch.equal(low_dose(moved, 0.5, pixel_mm=grid, generator=seeded()),
                       low_dose(moved, 0.5, pixel_mm=16.0, generator=seeded()))
    narrow = Grid.from_spacing((5, 16, 16), (16.0, 16.0, 5.0))          # and if it is so, a grid may say it
    assert low_dose(stack, 0.5, pixel_mm=narrow, generator=seeded()).shape == stack.shape


def test_an_image_is_looked_through_once():
    class Looks(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            if any(isinstance(a, torch.Tensor) and a.data_ptr() == image.data_ptr() for a in args):
                seen.append(str(operation))
            return operation(*args, **(kwargs or {}))

    seen, image = [], water(32, 8.0)
    with Looks():
        low_dose(image, 0.5, pixel_mm=8.0, generator=seeded())
    assert [name for name in seen if "min" in name or "max" in name or "isfinite" in name] == ["aten.aminmax.default"]


def test_one_scanner_is_kept_and_can_be_forgotten():
    for size in (16, 24):
        low_dose(water(size, 8.0), 0.5, pixel_mm=8.0, generator=seeded())
    assert ct._scanner.cache_info().currsize == 1
    ct.forget_scanner()
    assert ct._scanner.cache_info().currsize == 0


@pytest.mark.gpu
def test_a_gpu_gets_the_same_noise_from_the_same_generator():
    image = water(32, 8.0)
    there = low_dose(image.cuda(), 0.5, pixel_mm=8.0, generator=seeded())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), low_dose(image, 0.5, pixel_mm=8.0, generator=seeded()), rtol=1e-3, atol=0.1)
