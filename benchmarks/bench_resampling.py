"""A CT of 256 x 256 x 100 voxels in thick slices on a grid of 1 mm, beside SimpleITK and TorchIO.

Once its axes are those of the new grid, and once it lies oblique to it. Every side interpolates linearly onto the same
grid, from an array in float32 to one. The image is a ramp in mm, on which all are exact: each has to be within 0.01 mm
of it well inside the scan.
"""
import numpy as np
from harness import Case, Setting, Side, main

SHAPE, SPACING_MM = (256, 256, 100), (0.8, 0.8, 2.5)
SMALL = (16, 16, 8)
TURN_DEG = 10.0
RAMP, EXACT = np.array([1.0, 2.0, -0.5]), 0.01


def places(shape, oblique):
    """The affine of the scan, and shape and affine of the new grid around it, in RAS."""
    angle = np.deg2rad(TURN_DEG) if oblique else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    scan, grid = np.eye(4), np.eye(4)
    scan[:3, :3] = turn @ np.diag(SPACING_MM)
    size = [int(n * s) for n, s in zip(shape, SPACING_MM)]
    grid[:3, 3] = -(np.array(SPACING_MM) - 1) / 2           # edge to edge, where the axes are the same
    return scan, tuple(size), grid


def scan_and_grid(shape, oblique):
    """A ramp in float32, its affine, and shape and affine of the new grid."""
    scan, size, grid = places(shape, oblique)
    index = np.moveaxis(np.indices(shape), 0, -1)
    return ((index @ scan[:3, :3].T + scan[:3, 3]) @ RAMP).astype(np.float32), scan, size, grid


def medlearn(shape, oblique):
    from medlearn.base.grid import Grid
    from medlearn.data import Volume, resample

    array, affine, size, place = scan_and_grid(shape, oblique)
    volume, grid = Volume(array, Grid(tuple(shape), affine)), Grid(size, place)
    ramp = ramp_inside(shape, oblique)
    return lambda: numbers(resample(volume, grid).array, ramp)


def itk_image(array, affine):
    """Of an array (x, y, z) and its affine; ITK counts (z, y, x), to the left and back."""
    import SimpleITK

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def simpleitk(shape, oblique):
    import SimpleITK

    array, affine, size, place = scan_and_grid(shape, oblique)
    image, grid = itk_image(array, affine), itk_image(np.zeros(size, np.uint8), place)
    ramp = ramp_inside(shape, oblique)

    def call():
        new = SimpleITK.Resample(image, grid, SimpleITK.Transform(), SimpleITK.sitkLinear, 0.0)
        return numbers(SimpleITK.GetArrayFromImage(new).T, ramp)

    return call


def torchio(shape, oblique):
    import torch
    import torchio as tio

    array, affine, size, place = scan_and_grid(shape, oblique)
    image = tio.ScalarImage(tensor=torch.from_numpy(array)[None], affine=affine)
    like = tio.ScalarImage(tensor=torch.zeros(1, *size), affine=place)
    to_grid, ramp = tio.Resample(like, image_interpolation="linear"), ramp_inside(shape, oblique)
    return lambda: numbers(to_grid(image).data[0].numpy(), ramp)


def ramp_inside(shape, oblique):
    """The ramp on the new grid, NaN at less than two old voxels from the scan's border."""
    scan, size, grid = places(shape, oblique)
    place = np.moveaxis(np.indices(size), 0, -1) @ grid[:3, :3].T + grid[:3, 3]
    index = (place - scan[:3, 3]) @ np.linalg.inv(scan[:3, :3]).T
    inside = ((index >= 2) & (index <= np.array(shape) - 3)).all(-1)
    return np.where(inside, place @ RAMP, np.nan).astype(np.float32)


def numbers(array, ramp) -> list[float]:
    return [*map(float, array.shape), float(np.nanmax(np.abs(array - ramp)) < EXACT)]


def cases(setting: Setting):
    for oblique in (False, True):
        which = {"shape": SMALL if setting.smoke else SHAPE, "oblique": oblique}
        for package, prepare in (("SimpleITK", "simpleitk"), ("torchio", "torchio")):
            yield Case(f"{'oblique' if oblique else 'along the axes'}, beside {package}",
                       Side("medlearn", "medlearn", which), Side(package, prepare, which), faster=1.0)


if __name__ == "__main__":
    main(__file__, "Resampling", __doc__, cases, "pip install SimpleITK==2.5.7 torchio==1.2.1")
