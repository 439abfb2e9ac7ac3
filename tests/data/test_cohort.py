"""The cohort: a subject depends on its seed and number alone, its labels are exact, and it looks like a real brain."""
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from medlearn.data import NO_LESIONS, BrainCohort, LesionSpec, Protocol, Scan, load_mni152, standardise
from medlearn.data.brain import most_probable, sample
from medlearn.physics import MR_PROTOCOLS

QUIET = Protocol(bias=(0.0, 0.0), noise=(0.0, 0.0))
TOUCHING = LesionSpec(touching=0.8)


def same(a, b):
    return all(torch.equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Scan))


@pytest.fixture(scope="module")
def slices():
    return BrainCohort(seed=3, size=64, lesions=TOUCHING).batch(range(48))


@pytest.fixture(scope="module")
def volumes():
    return BrainCohort(seed=3, size=48, dim=3, lesions=TOUCHING).batch(range(3))


@pytest.fixture(params=["slices", "volumes"])
def scans(request):
    return request.getfixturevalue(request.param)


# ---------------------------------------------------------------------------------------------------------------------
# A function of seed and number alone

@settings(max_examples=12, deadline=None)
@given(indices=st.lists(st.integers(0, 47), min_size=1, max_size=9))
def test_a_subject_is_the_same_in_every_company(slices, indices):
    assert same(BrainCohort(seed=3, size=64, lesions=TOUCHING).batch(indices), slices[indices])


def test_a_volume_is_the_same_in_every_company(volumes):
    cohort = BrainCohort(seed=3, size=48, dim=3, lesions=TOUCHING)
    assert same(cohort.batch([2, 0]), volumes[[2, 0]])


def test_more_subjects_than_are_made_at_a_time_are_one_batch(monkeypatch, slices):
    monkeypatch.setattr("medlearn.data.cohort.CHUNK_VOXELS", 5 * 64 * 64)
    assert same(BrainCohort(seed=3, size=64, lesions=TOUCHING).batch(range(48)), slices)


@pytest.mark.parametrize("indices", [[4, 1], (4, 1), np.array([4, 1]), torch.tensor([4, 1]), iter([4, 1])],
                         ids=["list", "tuple", "array", "tensor", "iterator"])
def test_numbers_may_come_in_any_collection(slices, indices):
    assert same(BrainCohort(seed=3, size=64, lesions=TOUCHING).batch(indices), slices[[4, 1]])


def test_the_global_seed_is_neither_read_nor_moved(slices):
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    assert same(BrainCohort(seed=3, size=64, lesions=TOUCHING).batch([7]), slices[7])
    assert torch.equal(torch.rand(1), before)


def test_an_autocast_region_changes_nothing(slices):
    with torch.autocast("cpu", torch.bfloat16):
        assert same(BrainCohort(seed=3, size=64, lesions=TOUCHING).batch(range(4)), slices[:4])


def test_seeds_and_numbers_give_different_subjects(slices):
    assert len({image.numpy().tobytes() for image in slices.image}) == 48
    other = BrainCohort(seed=4, size=64, lesions=TOUCHING).batch(range(48))
    assert not any(torch.equal(a, b) for a, b in zip(other.tissue, slices.tissue))
    assert not any(torch.equal(a, b) for a, b in zip(other.tissue[:-1], slices.tissue[1:]))     # nor seed + number


def test_other_lesions_leave_the_anatomy_and_the_scanner_as_they_were(slices):
    healthy = BrainCohort(seed=3, size=64, lesions=NO_LESIONS).batch(range(48))
    assert torch.equal(healthy.tissue, slices.tissue) and healthy.diagnosis.max() == 0
    away = torch.from_numpy(~binary_dilation(slices.lesion.numpy() > 0, np.ones((1, 3, 3)), iterations=3))
    assert torch.equal(healthy.image[:, 0][away], slices.image[:, 0][away])


def test_the_same_subject_at_another_size_has_the_same_brain_and_lesions():
    small, large = (BrainCohort(seed=0, size=size, lesions=TOUCHING).batch(range(8)) for size in (64, 128))
    assert torch.equal(small.diagnosis, large.diagnosis)
    share = lambda scan: ((scan.lesion > 0).float().mean((1, 2)))
    torch.testing.assert_close(share(small), share(large), rtol=0.3, atol=1e-3)
    assert np.corrcoef(small.image.flatten(), torch.nn.functional.avg_pool2d(large.image, 2).flatten())[0, 1] > 0.95


def test_an_earlier_visit_lacks_the_last_lesions_and_has_noise_of_its_own(slices):
    cohort = BrainCohort(seed=3, size=64, lesions=TOUCHING)
    before, now = cohort.earlier(range(48), new=2), slices
    assert torch.equal(before.tissue, now.tissue) and torch.equal(before.affine, now.affine)
    fewer = now.instance.flatten(1).amax(1) - before.instance.flatten(1).amax(1)
    assert fewer.max() == 2 and (fewer[now.diagnosis > 0] > 0).all() and (fewer[now.diagnosis == 0] == 0).all()
    assert not ((before.lesion > 0) & (now.lesion == 0)).any()              # what was there is there
    changed = (before.lesion != now.lesion)[:, None]
    noise = (before.image - now.image)[now.tissue[:, None] == 0]
    assert noise.std() > 0.005
    assert (now.image[changed] - before.image[changed]).mean() < -0.1       # on T1 plaques are dark
    quiet = BrainCohort(seed=3, size=64, lesions=TOUCHING, protocol=QUIET)
    assert same(quiet.earlier(range(6), new=0), quiet.batch(range(6)))


def test_an_earlier_visit_cannot_hold_a_prevalence(refused):
    with refused("prevalence: expected None for an earlier visit, got 0.003"):
        BrainCohort(size=32, lesions=LesionSpec(prevalence=0.003)).earlier([0], new=1)


@pytest.mark.parametrize("contrast, order", [("T1", ["csf", "plaque", "grey", "white"]),
                                             ("T2", ["white", "grey", "plaque", "csf"]),
                                             ("FLAIR", ["csf", "white", "grey", "plaque"])])
def test_each_contrast_has_its_order_of_brightness(contrast, order):
    only_plaques = LesionSpec(diagnosis=(0.0, 1.0, 0.0), plaque_mm=(14.0, 20.0))
    protocol = replace(QUIET, contrast=contrast)
    scan = BrainCohort(seed=5, size=128, lesions=only_plaques, protocol=protocol).batch(range(8))
    plain = BrainCohort(seed=5, size=128, lesions=only_plaques, protocol=QUIET).batch(range(8))
    assert torch.equal(scan.lesion, plain.lesion) and torch.equal(scan.tissue, plain.tissue)
    median = {name: scan.image[:, 0][(scan.tissue == k) & (scan.lesion == 0)].median().item()
              for k, name in enumerate(("csf", "grey", "white"), start=1)}
    median["plaque"] = scan.image[:, 0][scan.lesion == 1].median().item()
    assert sorted(median, key=median.get) == order
    assert median["white"] == pytest.approx(1, abs=0.08)


def test_other_contrasts_have_one_field(refused):
    with refused("field_t: expected 3 T with FLAIR, whose relaxation times were measured there, got 1.5"):
        Protocol(contrast="FLAIR", field_t=1.5)


@pytest.mark.gpu
def test_a_gpu_makes_the_same_subjects_up_to_rounding(slices):
    gpu = BrainCohort(seed=3, size=64, lesions=TOUCHING).batch(range(48), device="cuda")
    assert gpu.image.device.type == "cuda"
    for name in ("tissue", "lesion", "instance"):
        assert (getattr(gpu, name).cpu() != getattr(slices, name)).float().mean() < 1e-3
    assert (gpu.image.cpu() - slices.image).abs().mean() < 1e-4


# ---------------------------------------------------------------------------------------------------------------------
# Labels

def test_instances_are_numbered_without_gaps_and_each_has_one_class(scans):
    for lesion, instance in zip(scans.lesion, scans.instance):
        assert instance.unique().tolist() == list(range(instance.max() + 1))
        assert torch.equal(instance > 0, lesion > 0)
        for n in range(1, instance.max() + 1):
            assert lesion[instance == n].unique().numel() == 1


def test_plaques_lie_in_white_matter_and_masses_in_the_brain(scans):
    assert (scans.tissue[scans.lesion == 1] == 3).all()
    assert (scans.tissue[scans.lesion == 2] > 0).all()
    assert (scans.lesion == 1).any() and (scans.lesion == 2).any()


def test_tissue_is_the_most_probable_one_at_the_deformed_points():
    cohort, brain = BrainCohort(seed=2, size=40), load_mni152()
    from medlearn.data.cohort import _Subject

    subject = _Subject.draw(cohort, 5)
    scan = cohort.batch([5])
    voxels = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0), [0.0], [1.0], indexing="ij")).reshape(4, -1)
    x, y, z = (scan.affine[0].numpy() @ voxels)[:3]
    one_by_one = zip(x[:, None], y[:, None], z[:, None])
    points = np.stack([subject.deformation(point).reshape(3) for point in one_by_one], axis=1)
    points = torch.as_tensor(points, dtype=torch.float32)[None]
    expected = most_probable(sample(brain.probabilities, brain.affine, points)).reshape(40, 40)
    assert (scan.tissue[0] == expected).float().mean() > 0.999           # float32 may tip a voxel on a border


def touching_share(scans):
    touch, every = 0, 0
    for lesion, instance in zip(scans.lesion.numpy(), scans.instance.numpy()):
        for n in np.unique(instance[lesion == 1]):
            around = binary_dilation(instance == n, np.ones([3] * instance.ndim))
            touch += bool(((instance != n) & (lesion == 1) & around).any())
            every += 1
    return touch / every


def test_as_many_plaques_touch_as_were_asked_for(slices):
    batch = lambda touching: BrainCohort(seed=1, size=64, lesions=LesionSpec(touching=touching)).batch(range(40))
    assert touching_share(batch(0.0)) == 0
    assert 0.75 < touching_share(slices) < 0.95
    assert touching_share(batch(1.0)) > 0.95


def test_a_plaque_is_several_voxels_large_even_at_size_64(slices):
    sizes = np.array([(instance == n).sum().item() for lesion, instance in zip(slices.lesion, slices.instance)
                      for n in instance[lesion == 1].unique()])
    assert np.median(sizes) >= 6 and (sizes <= 2).mean() < 0.05


@pytest.mark.parametrize("dim, size, subjects", [(2, 64, 150), (3, 48, 8)])
def test_the_diagnoses_have_their_shares_and_the_ill_have_several_plaques(dim, size, subjects):
    scans = BrainCohort(seed=11, size=size, dim=dim).batch(range(subjects))
    if dim == 2:
        shares = torch.bincount(scans.diagnosis, minlength=3) / subjects
        np.testing.assert_allclose(shares, (0.2, 0.5, 0.3), atol=0.1)
    number = scans.instance.flatten(1).amax(1)[scans.diagnosis == 1].float()
    assert number.min() >= 2 and 4.5 < number.mean() < 7


@pytest.mark.parametrize("prevalence", [0.001, 0.0003])
def test_lesions_fill_the_share_of_all_voxels_that_was_asked_for(prevalence):
    spec = LesionSpec(prevalence=prevalence)
    shares = (BrainCohort(seed=5, size=64, lesions=spec).batch(range(200)).lesion > 0).float().mean((1, 2))
    assert shares.mean().item() == pytest.approx(prevalence, rel=0.1)
    ill = shares[shares > 0]
    assert ill.max() < 2 * spec.prevalence_of_the_ill + 1 / 64 ** 2


def test_lesions_fill_that_share_of_a_volume_too():
    spec = LesionSpec(prevalence=0.001, diagnosis=(0, 0.7, 0.3))
    scans = BrainCohort(seed=5, size=48, dim=3, lesions=spec).batch(range(4))
    np.testing.assert_allclose((scans.lesion > 0).float().mean((1, 2, 3)), 0.001, rtol=0.05)


def test_the_patient_of_the_first_chapter_has_touching_plaques():
    patient = BrainCohort(seed=1, size=96, dim=3, lesions=TOUCHING).batch([0])
    assert patient.instance.max() >= 6 and touching_share(patient) > 0.5


# ---------------------------------------------------------------------------------------------------------------------
# Images

@pytest.mark.parametrize("dim, size", [(2, 128), (3, 64)])
def test_tissues_have_the_contrast_of_the_real_scan(dim, size):
    real = load_mni152().on_grid(size, dim=dim)
    cohort = BrainCohort(seed=0, size=size, dim=dim, lesions=NO_LESIONS, protocol=QUIET)
    scans = cohort.batch(range(12 if dim == 2 else 2))
    level = lambda scan, b, k: scan.image[b, 0][scan.tissue[b] == k].mean().item()
    for k in (1, 2, 3):
        mean = np.mean([level(scans, b, k) for b in range(len(scans))])
        assert mean == pytest.approx(level(real, 0, k), abs=0.08)
    assert scans.image[:, 0][scans.tissue == 3].mean().item() == pytest.approx(0.97, abs=0.03)


def test_contrast_differs_between_subjects_around_that_of_the_real_scan():
    real = load_mni152().on_grid(128)
    scans = BrainCohort(seed=0, size=128, lesions=NO_LESIONS).batch(range(32))
    level = lambda scan, b, k: scan.image[b, 0][scan.tissue[b] == k].mean().item()
    ratio = lambda scan, b: level(scan, b, 2) / level(scan, b, 3)
    ratios = [ratio(scans, b) for b in range(32)]
    assert min(ratios) < ratio(real, 0) < max(ratios) and np.std(ratios) > 0.01


def test_lesions_are_darker_than_the_white_matter_around_them_and_masses_darker_than_plaques():
    scans = BrainCohort(seed=0, size=128, lesions=TOUCHING, protocol=QUIET).batch(range(24))
    image = scans.image[:, 0]
    white = image[(scans.tissue == 3) & (scans.lesion == 0)].mean()
    assert image[scans.lesion == 2].mean() < image[scans.lesion == 1].mean() - 0.1 < white - 0.25


def test_a_lesions_intensity_has_a_soft_border_and_its_label_a_crisp_one():
    arguments = dict(seed=0, size=208, protocol=QUIET)
    with_mass = BrainCohort(lesions=LesionSpec(diagnosis=(0, 0, 1)), **arguments).batch(range(4))
    without = BrainCohort(lesions=NO_LESIONS, **arguments).batch(range(4))
    change = (without.image - with_mass.image)[:, 0].abs()
    outside = change[(with_mass.lesion == 0) & (with_mass.tissue == 3)]
    assert (outside > 0.01).any() and outside.max() < 0.6 * change.max()
    assert with_mass.lesion.dtype == torch.int64


def test_images_are_magnitudes_and_noise_and_bias_are_the_protocols():
    clean, noisy, uneven = (
        BrainCohort(seed=0, size=64, lesions=NO_LESIONS, protocol=protocol).batch(range(4)) for protocol in
        (QUIET, Protocol(noise=(0.05, 0.05), bias=(0, 0)), Protocol(noise=(0, 0), bias=(0.2, 0.2))))
    assert noisy.image.min() >= 0 and clean.image.isfinite().all()
    air = noisy.image[:, 0][(noisy.tissue == 0) & (clean.image[:, 0] == 0)]
    assert air.mean().item() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.03)
    field = (uneven.image / clean.image)[clean.image > 0.1].log()
    assert 0.1 < field.std() < 0.3


def test_the_template_is_never_a_subject():
    heights = [float(z) for z in range(0, 41, 2)]
    real = load_mni152().on_grid(64, dim=2, z_mm=heights)
    scans = BrainCohort(seed=0, size=64, lesions=NO_LESIONS, protocol=QUIET).batch(range(64))
    overlap = torch.stack([(scans.tissue[:, None] == real.tissue)[b][:, :].float().mean((1, 2)) for b in range(64)])
    assert overlap.max() < 0.97                             # of all voxels, air included, at the most similar height


def test_subjects_are_as_like_the_template_as_people_are():
    real = standardise(load_mni152().on_grid(64, dim=2, z_mm=[float(z) for z in range(0, 41, 5)]).image).flatten(1)
    scans = standardise(BrainCohort(seed=0, size=64, lesions=NO_LESIONS).batch(range(24)).image).flatten(1)
    best = (scans @ real.T / scans.shape[1]).amax(1)
    assert best.min() > 0.7 and best.max() < 0.99


@pytest.mark.parametrize("dim, subjects", [(2, 200), (3, 12)])
def test_every_head_lies_inside_the_field_of_view(dim, subjects):
    inside = BrainCohort(seed=0, size=40, dim=dim, lesions=NO_LESIONS).batch(range(subjects)).tissue > 0
    for d in range(1, inside.ndim):
        assert not inside.select(d, 0).any() and not inside.select(d, -1).any()


def test_slices_lie_at_different_heights_through_ventricles_and_white_matter(slices):
    heights = slices.affine[:, 2, 3]
    assert 0 <= heights.min() < 8 and 32 < heights.max() <= 40
    white = (slices.tissue == 3).float().mean((1, 2))
    assert white.min() > 0.08 and torch.linalg.det(slices.affine).sub(3.25 ** 2).abs().max() < 1e-6


# ---------------------------------------------------------------------------------------------------------------------
# Nobody, and what is refused

@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("lesions", [LesionSpec(), LesionSpec(prevalence=0.001), NO_LESIONS],
                         ids=["default", "prevalence", "none"])
def test_no_number_gives_an_empty_scan(dim, lesions):
    scans = BrainCohort(size=32, dim=dim, lesions=lesions).batch([])
    assert scans.image.shape == (0, 1, *[32] * dim) and scans.affine.shape == (0, 4, 4)
    assert scans.diagnosis.shape == (0,) and scans.image.dtype == torch.float32


@pytest.mark.parametrize("wrong", [dict(seed=-1), dict(seed=0.5), dict(seed=True), dict(dim=4), dict(dim=1),
                                   dict(size=16), dict(size=64.0), dict(size="64"), dict(dim=2.0),
                                   dict(dim="2"), dict(dim=None), dict(seed="0")],
                         ids=lambda value: "-".join(map(str, value.items())))
def test_a_cohort_that_cannot_be_is_refused(refused, wrong):
    with refused(f"{next(iter(wrong))}: expected .* got"):
        BrainCohort(**wrong)


@pytest.mark.parametrize("wrong", [dict(tr_ms=(20.0, 10.0)), dict(noise=(-0.1, 0.1)), dict(bias=0.1),
                                   dict(noise=(0.1,)), dict(te_ms=(3.0, 30.0)), dict(flip_deg=(20.0, 200.0)),
                                   dict(noise=(0.0, float("nan"))), dict(bias=(0.0, float("inf"))),
                                   dict(tr_ms=(0.0, 20.0)), dict(bias=(0.0, 1e30)), dict(noise=(0.0, 1e30)),
                                   dict(noise="01"), dict(noise=None),
                                   dict(bias=(True, True)), dict(bias=("0", "1")), dict(contrast="PD")],
                         ids=lambda value: "-".join(map(str, value.items())))
def test_a_protocol_that_cannot_be_is_refused(refused, wrong):
    with refused(f"{next(iter(wrong))}: expected .* got"):
        Protocol(**wrong)


def test_numbers_of_numpy_are_numbers():
    ours, theirs = BrainCohort(seed=3, size=32), BrainCohort(seed=np.int64(3), size=np.int32(32), dim=np.int8(2))
    assert ours == theirs
    for indices in (np.array([0, 2]), torch.tensor([0, 2]), [np.int64(0), np.int64(2)], range(0, 3, 2)):
        assert torch.equal(theirs.batch(indices).image, ours.batch([0, 2]).image)
    assert Protocol(noise=(np.float64(0), np.float64(0.1))).noise[1] == 0.1


def test_a_number_that_is_none_is_refused(refused):
    cohort = BrainCohort(size=32)
    with refused("indices: expected a whole number, 0 or more, got -1"):
        cohort.batch([0, -1])
    for wrong in ([0.5], ["0"], [None], [True], torch.tensor([1.0]), torch.tensor([True]), 3, "3", None):
        with refused("indices: expected .* got"):
            cohort.batch(wrong)


def test_a_device_that_does_not_exist_is_torchs_to_refuse():
    with pytest.raises(RuntimeError):
        BrainCohort(size=32).batch([0], device="abacus")


# ---------------------------------------------------------------------------------------------------------------------
# Named scanners

@pytest.mark.parametrize("name", list(MR_PROTOCOLS))
def test_a_named_scanner_changes_the_image_and_nothing_else(name):
    here, there = (BrainCohort(seed=1, size=64, protocol=Protocol.of(one)).batch(range(3)) for one in ("3 T", name))
    assert torch.equal(here.tissue, there.tissue) and torch.equal(here.lesion, there.lesion)
    assert torch.equal(here.image, there.image) == (name == "3 T")
    assert there.image.min() >= 0 and there.image.isfinite().all()


def test_a_weak_magnet_darkens_fluid_and_a_low_flip_lifts_it():
    quiet = {name: replace(Protocol.of(name), noise=(0.0, 0.0), bias=(0.0, 0.0))
             for name in ("3 T", "0.55 T", "low flip")}
    scans = {name: BrainCohort(seed=0, size=64, lesions=NO_LESIONS, protocol=one).batch(range(4))
             for name, one in quiet.items()}
    fluid = {name: scan.image[:, 0][scan.tissue == 1].mean().item() for name, scan in scans.items()}
    assert fluid["0.55 T"] < fluid["3 T"] < fluid["low flip"]


def test_a_scanner_that_nobody_named_is_refused(refused):
    with refused("settings: expected .* got '7 T'"):
        Protocol.of("7 T")


def test_large_voxels_blur_the_border():
    sharp, coarse = (BrainCohort(seed=0, size=64, lesions=NO_LESIONS,
                                 protocol=replace(QUIET, voxel_mm=width)).batch([0])
                     for width in (None, 8.0))
    steps = [scan.image.diff(dim=-1).abs().max() for scan in (sharp, coarse)]
    assert steps[1] < 0.7 * steps[0]
