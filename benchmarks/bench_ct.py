"""CT of 8 images of 256 x 256, 180 and 360 views, beside scikit-image and beside a projector made of grid_sample.

The images are the head of Shepp and Logan. scikit-image takes them one by one. The grid_sample projector turns the
batch view by view and sums it. Both see only the circle within the square; medlearn sees the corners too. Both sides
have to agree on the mass and the largest line integral of their sinograms, on the brain's attenuation, or on the
gradient in it. Behind the table stand the set-up, building the matrix (bar: 4 s), and how far both are from the
analytic sinogram.
"""
import sys
import time

from harness import Case, Setting, Side, main

SIZE, BATCH, WIDTH_MM = 256, 8, 200.0
VIEWS = (180, 360)
SETUP_S = 4.0


def example(views):
    import torch

    from medlearn.data.phantoms import shepp_logan
    from medlearn.physics.projection import ParallelBeam

    pixel = WIDTH_MM / SIZE
    beam = ParallelBeam(SIZE, torch.arange(views) * 180 / views, pixel_mm=pixel)
    return beam, shepp_logan(WIDTH_MM, visible=True).image(SIZE, pixel).repeat(BATCH, 1, 1, 1)


def medlearn_project(views):
    beam, images = example(views)
    return lambda: of_sinogram(beam.project(images))


def medlearn_fbp(views):
    beam, images = example(views)
    sinograms = beam.project(images)
    return lambda: of_image(beam.fbp(sinograms))


def medlearn_gradient(views):
    beam, images = example(views)
    return gradient(beam.project, images)


def skimage_project(views):
    radon, angles, images, _ = skimage(views)
    return lambda: of_sinogram([radon(image, angles).T * WIDTH_MM / SIZE for image in images])


def skimage_fbp(views):
    from skimage.transform import iradon

    radon, angles, images, _ = skimage(views)
    sinograms = [radon(image, angles) for image in images]
    return lambda: of_image([iradon(sinogram, angles) for sinogram in sinograms])


def skimage(views):
    from skimage.transform import radon

    beam, images = example(views)
    return radon, [-angle for angle in beam.angles_deg], [image.T.double().numpy() for image in images[:, 0]], beam


def grid_sample_gradient(views):
    import math

    import torch
    from torch.nn import functional as F

    beam, images = example(views)
    at = (torch.arange(SIZE) - (SIZE - 1) / 2) * (2 / SIZE)
    along, s = torch.meshgrid(at, at, indexing="ij")
    grids = []
    for angle in map(math.radians, beam.angles_deg):
        x, y = s * math.cos(angle) - along * math.sin(angle), s * math.sin(angle) + along * math.cos(angle)
        grids.append(torch.stack([y, x], -1)[None])

    def project(images):
        turned = (F.grid_sample(images, grid.expand(len(images), -1, -1, -1), align_corners=False) for grid in grids)
        return torch.stack([image.sum(2) for image in turned], 2) * WIDTH_MM / SIZE

    return gradient(project, images)


def gradient(project, images):
    import torch

    images = images.requires_grad_()

    def call():
        sinograms = project(images)
        found, = torch.autograd.grad(sinograms.square().sum() / 2, images)
        return [*of_sinogram(sinograms.detach()), round(found[:, :, 120:136, 120:136].mean().item() / 1e4, 1)]

    return call


def of_sinogram(sinograms):
    """The images' mass, to a percent, and the largest line integral, to ten: what two discretisations agree on."""
    import numpy as np

    values = np.stack([np.asarray(sinogram) for sinogram in sinograms])
    return [round(float(values.sum(-1).mean()) * WIDTH_MM / SIZE / 1e3, 1), round(float(values.max()) / 10)]


def of_image(images):
    """The brain's value."""
    import numpy as np

    values = np.stack([np.asarray(image).reshape(SIZE, SIZE) for image in images])
    return [round(float(values[:, 100:156, 100:156].mean()), 2)]


def set_up(views):
    """Seconds to build the matrix, and its bytes for each pixel and view."""
    beam, images = example(views)
    start = time.process_time()
    beam.project(images[:1])
    spent = time.process_time() - start
    (pair,) = beam._built.values()
    return spent, sum(part.nbytes for matrix in pair for part in matrix) / SIZE ** 2 / views


def errors(views):
    """How far both sinograms are from the analytic one; scikit-image's middle is the pixel SIZE // 2."""
    from dataclasses import replace

    import torch

    from medlearn.data.phantoms import random_ellipses, shepp_logan
    from medlearn.physics.projection import ParallelBeam

    radon, angles, _, beam = skimage(views)
    odd = ParallelBeam(SIZE + 1, beam.angles_deg, pixel_mm=beam.pixel_mm)
    first = odd.detectors // 2 - SIZE // 2
    phantoms = {"the head": shepp_logan(WIDTH_MM), "the visible head": shepp_logan(WIDTH_MM, visible=True)}
    for seed in range(4):
        phantoms[f"ellipses {seed}"] = random_ellipses(1, generator=torch.Generator().manual_seed(seed))
    for name, phantom in phantoms.items():
        image, truth = phantom.image(SIZE, beam.pixel_mm), phantom.line_integrals(beam)
        ours = (beam.project(image) - truth).norm() / truth.norm()
        theirs = torch.from_numpy(radon(image[0, 0].T.double().numpy(), angles).T * beam.pixel_mm)
        found = []
        for middle in (beam.pixel_mm / 2, 0):
            moved = replace(phantom, centre_mm=phantom.centre_mm - middle)
            truth = moved.line_integrals(odd)[0, 0, :, first:first + SIZE]
            found.append(((theirs - truth).norm() / truth.norm()).item())
        print(f"{name}: medlearn {ours:.3%}, "
              f"scikit-image {found[0]:.3%} ({found[1]:.3%} about the middle of the image)")


def cases(setting: Setting):
    for views in (8,) if setting.smoke else VIEWS:
        for title, what, package, theirs, bar in (
            ("projection", "project", "scikit-image", "skimage_project", 20),
            ("filtered back-projection", "fbp", "scikit-image", "skimage_fbp", 20),
            ("projection and gradient", "gradient", "torch", "grid_sample_gradient", 15),
        ):
            yield Case(f"{views} views, {title}", Side("medlearn", f"medlearn_{what}", {"views": views}),
                       Side(package, theirs, {"views": views}), faster=bar)


if __name__ == "__main__":
    if not main(__file__, "CT", __doc__, cases, "pip install scikit-image==0.26.0").smoke:
        for views in VIEWS:
            spent, size = set_up(views)
            print(f"{views} views: built in {spent:.2f} s, {size:.1f} bytes for each pixel and view")
            if spent > SETUP_S:
                sys.exit(f"set-up: expected {SETUP_S:g} s at most, got {spent:.2f}")
        errors(VIEWS[0])
