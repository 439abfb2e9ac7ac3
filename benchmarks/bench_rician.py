"""Rician noise for a batch of images, drawn where the batch is, beside MONAI's transform image by image.

2D is 32 images of 256 x 256, 3D 4 volumes of 96^3; float32. Both add noise of 0.2 to a signal of 1. MONAI draws in
NumPy on the CPU, medlearn with PyTorch's generator: the numbers differ, their mean and their spread must not.
Where there is a GPU it is measured besides, with the batch on it.
"""
import importlib.util
from functools import partial

from harness import Case, Side, main

SHAPES = {"2d": (32, 1, 256, 256), "3d": (4, 1, 96, 96, 96)}
SIGMA = 0.2


def medlearn(shape, device="cpu"):
    import torch

    from medlearn.physics.mri import rician_noise

    images, generator = torch.ones(shape, device=device), torch.Generator(device).manual_seed(0)
    return lambda: moments(rician_noise(images, SIGMA, generator=generator))


def monai(shape, device="cpu"):
    import torch
    from monai.transforms import RandRicianNoise

    images = torch.ones(shape, device=device)
    transform = RandRicianNoise(prob=1.0, std=SIGMA, sample_std=False).set_random_state(0)
    return lambda: moments(torch.stack([transform(image) for image in images]))


def moments(noisy):
    """To as many digits as the chance of two million voxels leaves alone: theory says 1.0202 and 0.1979."""
    return [round(noisy.mean().item(), 2), round(noisy.std().item(), 2)]


for name, size in SHAPES.items():
    globals().update({f"medlearn_{name}": partial(medlearn, size), f"monai_{name}": partial(monai, size),
                      f"medlearn_{name}_gpu": partial(medlearn, size, "cuda"),
                      f"monai_{name}_gpu": partial(monai, size, "cuda")})


def cases(gpu):
    for d in SHAPES:
        yield Case(d.upper(), Side("medlearn", f"medlearn_{d}"), Side("monai", f"monai_{d}"))
        if gpu:
            yield Case(f"{d.upper()} on the GPU", Side("medlearn", f"medlearn_{d}_gpu"),
                       Side("monai", f"monai_{d}_gpu"))


if __name__ == "__main__":
    gpu = False
    if importlib.util.find_spec("torch"):
        import torch

        gpu = torch.cuda.is_available()
    main(__file__, "Rician noise", __doc__, list(cases(gpu)), "pip install monai==1.6.1")
