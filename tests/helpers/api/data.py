import torch

from helpers.api.places import GENERATOR, call, normal_numbers, random_labels, random_numbers
from medlearn import data
from medlearn.physics.projection import ParallelBeam

BEAM = ParallelBeam(32, range(0, 180, 30), pixel_mm=6.0)
SCAN = data.load_mni152().on_grid(48, z_mm=[0.0, 20.0])


def cohort(indices, **options):
    options = {"size": 48, **options}
    return lambda place: data.BrainCohort(seed=1, **options).batch(place(indices), place.device)


def earlier(place):
    flair = data.Protocol(contrast="FLAIR")
    return data.BrainCohort(seed=1, size=48, protocol=flair).earlier(place([0, 3]), new=1, device=place.device)


def uses_of_a_scan(place):
    scan = place(SCAN)
    return (scan, scan[1], scan[[0]], scan[torch.tensor([1])], scan[place(torch.tensor([1]))], scan.diagnosis,
            scan[:0].diagnosis, [grid.spacing_mm for grid in scan.grids], [*scan.samples()[0]])


def ellipses(make):
    def run(place):
        phantom = make(place).to(place.device)
        return phantom, phantom.image(32, 6.0), phantom.line_integrals(BEAM)
    return run


def augmented(transform, low=0.0, space=(16, 16)):
    def run(place):
        image, labels = place((random_numbers(2, 1, *space) + low, random_labels(3, 2, *space)))
        return data.augment_batch(image, labels, transforms=[transform], generator=place(GENERATOR))
    return run


def augmented_samples(place):
    torch.manual_seed(0)
    image, labels = place((random_numbers(1, 8, 8), random_labels(2, 8, 8)))
    return data.Augmented([(image, labels)], [data.Flip((0, 1)), data.Standardise()])[0]


CALLS = {f"data.{name}": calls for name, calls in {
    "BrainCohort": {"an earlier visit, FLAIR": earlier, "2D": cohort([0, 3, 5]), "3D": cohort([2], size=32, dim=3),
                    "indices there, rare": cohort(torch.arange(3), lesions=data.LesionSpec(prevalence=0.01))},
    "Scan": {"all uses": uses_of_a_scan},
    "Brain": {"2D": lambda place: data.load_mni152().on_grid(48).to(place.device)},
    "load_mni152": {"2D": lambda place: data.load_mni152().on_grid(32, z_mm=10.0).to(place.device)},
    "standardise": call(data.standardise, normal_numbers(2, 1, 8, 8) * 9 + 4),
    "as_samples": lambda place: [*data.as_samples(*place((random_numbers(3, 1, 8, 8), random_labels(2, 3, 8, 8))),
                                                  classes=2)[0]],
    "augment_batch": augmented(data.Standardise()),
    "Augmented": augmented_samples,
    "BiasField": augmented(data.BiasField()),
    "Flip": {"2D": augmented(data.Flip((0, 1))), "3D": augmented(data.Flip((0, 2)), space=(8, 8, 8))},
    "Intensity": augmented(data.Intensity()),
    "LowDose": augmented(data.LowDose(pixel_mm=8.0)),
    "RicianNoise": augmented(data.RicianNoise()),
    "Speckle": augmented(data.Speckle()),
    "Standardise": augmented(data.Standardise()),
    "Warp": {"2D": augmented(data.Warp()), "3D": augmented(data.Warp(), space=(8, 8, 8))},
    "hu_window": call(data.hu_window, normal_numbers(2, 1, 8, 8) * 300),
    "shepp_logan": ellipses(lambda place: data.shepp_logan()),
    "Ellipses": ellipses(lambda place: data.shepp_logan(visible=True)),
    "random_ellipses": ellipses(lambda place: data.random_ellipses(2, generator=place(GENERATOR))),
    "scatterers": call(data.scatterers, random_numbers(2, 1, 8, 8), 3.0, generator=GENERATOR),
    "cysts": lambda place: data.cysts(32, 1.0).to(place.device),
}.items()}
