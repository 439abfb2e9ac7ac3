"""Rician noise for a batch of images, drawn where the batch is, beside MONAI's transform image by image.

2D is 32 images of 256 x 256, 3D 4 volumes of 96^3; float32. Both add noise of 0.2 to a signal of 1. MONAI draws in
NumPy on the CPU, medlearn with PyTorch's generator: the numbers differ, their mean and their spread must not.
Where there is a GPU it is measured besides, with the batch on it.
"""
from harness import Case, Setting, Side, main

SHAPES = {"2D": (32, 1, 256, 256), "3D": (4, 1, 96, 96, 96)}
SMALL = {"2D": (4, 1, 128, 128), "3D": (2, 1, 32, 32, 32)}
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


def cases(setting: Setting):
    for name, shape in (SMALL if setting.smoke else SHAPES).items():
        for device in ("cpu", "cuda") if setting.gpu else ("cpu",):
            at = {"shape": shape, "device": device}
            yield Case(name + " on the GPU" * (device == "cuda"), Side("medlearn", "medlearn", at),
                       Side("monai", "monai", at))


if __name__ == "__main__":
    main(__file__, "Rician noise", __doc__, cases, "pip install monai==1.6.1")
