"""Scans made up for the tests, and their files."""
import numpy as np
from scipy.spatial.transform import Rotation

from medlearn.base.grid import Grid
from medlearn.data import Volume


def grid(shape=(6, 5, 4), spacing=(1.0, 1.5, 3.0), turn=(0.0, 0.0, 0.0), origin=(-20.0, 10.0, 5.0), signs=(1, 1, 1)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(turn).as_matrix() @ np.diag(np.array(spacing) * signs)
    affine[:3, 3] = origin
    return Grid(shape, affine)


def scan(dtype=np.int16, seed=0, channels=None, **place):
    at = grid(**place)
    rng = np.random.default_rng(seed)
    shape = at.shape if channels is None else (channels, *at.shape)
    if np.dtype(dtype).kind == "f":
        return Volume(rng.normal(size=shape).astype(dtype), at)
    info = np.iinfo(dtype)
    return Volume(rng.integers(max(info.min, -30000), min(info.max, 30000), shape, dtype=dtype), at)


def ramp(at, direction=(1.0, 2.0, -0.5)):
    """An image whose value is a linear function of the place, however its grid lies."""
    return Volume(at.to_world(np.moveaxis(np.indices(at.shape), 0, -1).astype(float)) @ np.array(direction) + 7, at)


def sitk_image(volume):
    """The same voxels in the same places for SimpleITK, which counts (z, y, x) and looks to the left and back."""
    import SimpleITK

    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(volume.array.T))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def from_sitk(image):
    """Its array (x, y, z) and its affine in RAS."""
    import SimpleITK

    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def write_dicom(folder, positions=(0.0, 2.0, 4.0), *, change=lambda n, one: None, name="{:03d}.dcm",
                spacing=(0.5, 0.75),
                shape=(4, 3), orientation=(1, 0, 0, 0, 1, 0)):
    """A series of slices at these heights; `change(n, dataset)` spoils slice n before it is written."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    for n, height in enumerate(positions):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.SeriesInstanceUID = series
        one.Modality, one.Rows, one.Columns = "CT", *shape
        one.PixelSpacing, one.SpacingBetweenSlices = list(spacing), 2.0
        one.ImageOrientationPatient = list(orientation)
        one.ImagePositionPatient = (np.array([-10.0, 20.0, 5.0]) + np.cross(row, column) * height).tolist()
        one.RescaleSlope, one.RescaleIntercept = 1, -1024
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
        pixels = np.arange(shape[0] * shape[1], dtype="<u2").reshape(shape) + 100 * n
        one.PixelData = pixels.tobytes()
        change(n, one)
        pydicom.dcmwrite(folder / name.format(n), one, enforce_file_format=False)
    return folder
