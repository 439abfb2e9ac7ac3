"""Ninety files that are damaged or say nonsense: each is refused in a sentence that begins with its name."""
import gzip
import re
import struct
import warnings

import nibabel as nib
import numpy as np
import pytest

from helpers.scans import grid, scan, write_dicom
from medlearn.data import Report, read_volume, write_volume


def nifti(**header):
    """The bytes of a sound file with some fields of its header, `offset=format, value`, set to something else."""
    image = nib.Nifti1Image(np.arange(120, dtype=np.int16).reshape(6, 5, 4), grid().affine)
    image.set_qform(grid().affine, 1)
    raw = bytearray(image.to_bytes())
    for place, (form, *values) in header.items():
        struct.pack_into(form, raw, OFFSETS[place], *values)
    return bytes(raw)


OFFSETS = {"sizeof_hdr": 0, "dim": 40, "datatype": 70, "bitpix": 72, "pixdim": 76, "vox_offset": 108, "slope": 112,
           "qform": 252, "sform": 254, "quaternion": 256, "srow": 280, "magic": 344}
NO_SFORM = dict(sform=("<h", 0))
ZEROS = dict(srow=("<12f", *[0.0] * 12))
FLAT = dict(srow=("<12f", 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0))
FLOATS = nib.Nifti1Image(np.full((3, 3, 3), np.nan, np.float32), np.eye(4)).to_bytes()
INFINITE = nib.Nifti1Image(np.full((3, 3, 3), -np.inf), np.eye(4)).to_bytes()
SOUND = nifti()


def flipped(raw, place):
    raw = bytearray(raw)
    raw[place] ^= 0x55
    return bytes(raw)


NIFTI = {
    "empty": (b"", "expected a NIfTI header, got 0 bytes"),
    "two bytes": (b"\1\2", "expected a NIfTI header"),
    "a text": (b"this is not a scan, it is a letter" * 20, "."),
    "half a header": (SOUND[:200], "expected a NIfTI header of 348 bytes, got 200"),
    "header only": (SOUND[:352], "got a file of 352 bytes"),
    "no magic": (nifti(magic=("4s", b"xxxx")), "expected a NIfTI file, got magic b'xxxx'"),
    "a pair's header": (nifti(magic=("4s", b"ni1\0")), "the header of a pair"),
    "header size": (nifti(sizeof_hdr=("<i", 17)), "begins with its size, 348 or 540"),
    "cut short": (SOUND[:-1], "holds .* at most"),
    "half": (SOUND[:-120], "holds .* at most"),
    "huge": (nifti(dim=("<4h", 3, 30000, 30000, 30000)), "expected 54000000000000 bytes"),
    "negative size": (nifti(dim=("<4h", 3, -5, 5, 4)), "."),
    "zero size": (nifti(dim=("<4h", 3, 0, 5, 4)), "."),
    "no axis": (nifti(dim=("<h", 0)), "."),
    "nine axes": (nifti(dim=("<h", 9)), "."),
    "one axis": (nifti(dim=("<4h", 1, 6, 1, 1)), "expected a volume"),
    "unknown type": (nifti(datatype=("<h", 9999)), "9999 not recognized"),
    "complex type": (nifti(datatype=("<h", 32), bitpix=("<h", 64)), "expected one real number a voxel, got complex64"),
    "colour type": (nifti(datatype=("<h", 128), bitpix=("<h", 24)), "expected one real number a voxel"),
    "quadruple precision": (nifti(datatype=("<h", 1536), bitpix=("<h", 128)), "."),
    "time": (nib.Nifti1Image(np.zeros((3, 3, 3, 5), np.int16), np.eye(4)).to_bytes(),
             r"expected three axes, got \(3, 3, 3, 5\)"),
    "six axes": (nib.Nifti1Image(np.zeros((2, 2, 2, 2, 2, 2), np.int16), np.eye(4)).to_bytes(), "expected a volume"),
    "offset inside the header": (nifti(vox_offset=("<f", 100.0)), "vox offset 100 too low"),
    "offset beyond the end": (nifti(vox_offset=("<f", 1e6)), "from byte 1000000 on"),
    "offset is no number": (nifti(vox_offset=("<f", float("nan"))), "."),
    "offset is infinite": (nifti(vox_offset=("<f", float("inf"))), "."),
    "no place": (nifti(qform=("<2h", 0, 0)), "qform_code and sform_code are 0"),
    "singular": (nifti(**ZEROS), r"singular affine \[0 0 0 0; 0 0 0 0; 0 0 0 0; 0 0 0 1\]$"),
    "flat": (nifti(**FLAT), "singular affine"),
    "infinite affine": (nifti(srow=("<f", float("inf"))), "expected an affine of finite numbers"),
    "affine is no number": (nifti(srow=("<f", float("nan"))), "expected an affine of finite numbers"),
    "zero zoom": (nifti(pixdim=("<4f", 1, 0, 1, 1), **NO_SFORM), "expected voxels wider than 0 mm, got .0.0, 1.0, 1.0"),
    "negative zoom": (nifti(pixdim=("<4f", 1, 1, -2, 1), **NO_SFORM), "expected voxels wider than 0 mm"),
    "zoom is no number": (nifti(pixdim=("<4f", 1, 1, 1, float("nan")), **NO_SFORM), "expected voxels wider than 0 mm"),
    "impossible quaternion": (nifti(quaternion=("<3f", 3, 3, 3), **NO_SFORM), "."),
    "NaN": (FLOATS, "expected finite numbers, got 27 that are not, of 27. In Python, .*nan=0"),
    "infinities": (INFINITE, "expected finite numbers, got 27 that are not"),
    "infinite slope": (nifti(slope=("<f", float("inf"))), "expected a finite scaling"),
    "intercept is no number": (nifti(slope=("<2f", 2, float("nan"))), "expected a finite scaling"),
}
ZIPPED = {
    "no gzip": (b"hello world, not a gzip", "expected a sound gzip file: Not a gzipped file"),
    "empty gzip": (gzip.compress(b""), "expected a NIfTI header, got 0 bytes"),
    "truncated gzip": (gzip.compress(nifti())[:90], "it is cut short. Copy it again"),
    "truncated at the checksum": (gzip.compress(SOUND)[:-4], "it is cut short. Copy it again"),
    "turned bit": (flipped(gzip.compress(SOUND), -20), "."),
    "wrong checksum": (flipped(gzip.compress(SOUND), -7), "CRC"),
    "wrong length": (flipped(gzip.compress(SOUND), -2), "."),
    "voxels missing": (gzip.compress(SOUND[:-10]), "it is cut short"),
    "huge": (gzip.compress(nifti(dim=("<4h", 3, 30000, 30000, 30000))), "expected 54000000000000 bytes"),
    "gzip of gzip": (gzip.compress(gzip.compress(SOUND)), "."),
    "no place": (gzip.compress(nifti(qform=("<2h", 0, 0))), "qform_code and sform_code are 0"),
}


def nrrd(values=np.arange(24, dtype="<i2").tobytes(), **said):
    fields = {"type": "short", "dimension": "3", "space": "RAS", "sizes": "2 3 4",
              "space directions": "(2,0,0) (0,3,0) (0,0,4)", "endian": "little", "encoding": "raw",
              "space origin": "(1,2,3)"}
    fields |= {name.replace("_", " "): value for name, value in said.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\n".join(["NRRD0005", *lines, "", ""]).encode() + values


NRRD = {
    "empty": (b"", "expected an NRRD header"),
    "no magic": (nrrd().replace(b"NRRD", b"DRRN"), "expected an NRRD header"),
    "no empty line": (nrrd().split(b"\n\n")[0], "expected an NRRD header and an empty line"),
    "no type": (nrrd(type=None), "a header that says type"),
    "unknown type": (nrrd(type="block"), "expected one real number a voxel, got type block"),
    "no space": (nrrd(space=None), "expected a place in space"),
    "another space": (nrrd(space="scanner-xyz"), "expected a place in space"),
    "no directions": (nrrd(space_directions=None), "expected a place in space"),
    "no origin": (nrrd(space_origin=None), "expected a place in space"),
    "two directions": (nrrd(space_directions="(2,0,0) (0,3,0)"), "expected 3 space directions, got 2"),
    "short direction": (nrrd(space_directions="(2,0) (0,3,0) (0,0,4)"), "expected three coordinates"),
    "singular": (nrrd(space_directions="(2,0,0) (0,3,0) (2,3,0)"), "singular affine"),
    "a direction of 0": (nrrd(space_directions="(2,0,0) (0,0,0) (0,0,4)"), "singular affine"),
    "NaN direction": (nrrd(space_directions="(nan,0,0) (0,3,0) (0,0,4)"), "affine of finite numbers"),
    "cut short": (nrrd()[:-3], "expected 48 bytes of voxels, got 45"),
    "huge": (nrrd(sizes="30000 30000 30000"), "expected 54000000000000 bytes"),
    "negative size": (nrrd(sizes="2 -3 4"), "expected at least one voxel"),
    "sizes are no numbers": (nrrd(sizes="2 x 4"), "."),
    "text": (nrrd(encoding="ascii"), "expected the encoding raw or gzip, got ascii"),
    "no gzip": (nrrd(encoding="gzip"), "."),
    "truncated gzip": (nrrd(gzip.compress(np.arange(24, dtype="<i2").tobytes())[:-4], encoding="gzip"), "cut short"),
    "turned bit": (nrrd(flipped(gzip.compress(np.arange(24, dtype="<i2").tobytes()), -6), encoding="gzip"), "."),
    "voxels elsewhere": (nrrd(data_file="a.raw"), "expected the voxels in the same file"),
    "NaN": (nrrd(np.full(24, np.nan, "<f4").tobytes(), type="float"), "expected finite numbers"),
}


def on_slice(n, **tags):
    def change(m, one):
        if m == n:
            for tag, value in tags.items():
                delattr(one, tag) if value is None else setattr(one, tag, value)
    return change


DICOM = {
    "a missing slice": (dict(positions=[0, 2, 4, 8, 10]),
                        r"expected even gaps, got 2 to 4 mm; the worst is 4 mm, between 002.dcm and 003.dcm"),
    "a slice that lies aside": (dict(change=on_slice(1, ImagePositionPatient=[-7, 20, 7])), "expected even gaps"),
    "a slice twice": (dict(positions=[0, 2, 2, 4]), "two at .* mm: 001.dcm and 002.dcm"),
    "one slice": (dict(positions=[0]), "expected at least two slices"),
    "no slice": (dict(positions=[]), "expected DICOM files with images, got none"),
    "two series": (dict(change=on_slice(1, SeriesInstanceUID="1.2.3")), "expected one series, got 2"),
    "a localiser": (dict(change=on_slice(1, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])),
                    "001.dcm: expected the direction"),
    "other pixels": (dict(change=on_slice(1, PixelSpacing=[1, 1])), "001.dcm: expected the direction and the pixels"),
    "another size": (dict(change=on_slice(1, Rows=2, Columns=6)), "001.dcm: expected 4 x 3 pixels .* got 2 x 6"),
    "frames": (dict(change=on_slice(1, NumberOfFrames=3)), "001.dcm: expected one slice a file, got 3 frames"),
    "colour": (dict(change=on_slice(1, SamplesPerPixel=3)), "001.dcm: .* got a colour image"),
    "no position": (dict(change=on_slice(1, ImagePositionPatient=None)), "001.dcm: .* got no ImagePositionPatient"),
    "no orientation": (dict(change=on_slice(2, ImageOrientationPatient=None)),
                       "002.dcm: .* got no ImageOrientationPatient"),
    "no spacing": (dict(change=on_slice(0, PixelSpacing=None)), "000.dcm: .* got no PixelSpacing"),
    "too few pixels": (dict(change=on_slice(1, PixelData=b"\0\0")), "001.dcm: "),
    "no rows": (dict(change=on_slice(1, Rows=None)), "."),
}


def spoiled(path, raw):
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("ending, raw, says", [
    *(pytest.param(".nii", *case, id=f"nii-{name}") for name, case in NIFTI.items()),
    *(pytest.param(".nii.gz", *case, id=f"nii.gz-{name}") for name, case in ZIPPED.items()),
    *(pytest.param(".nrrd", *case, id=f"nrrd-{name}") for name, case in NRRD.items())])
def test_a_bad_file_is_refused_by_name(tmp_path, ending, raw, says):
    path = spoiled(tmp_path / f"scan{ending}", raw)
    with warnings.catch_warnings():
        warnings.simplefilter("error")                      # numpy's own warnings would hide a number that was used
        with pytest.raises(ValueError, match=says) as refusal:
            read_volume(path)
    assert str(refusal.value).startswith(f"{path}: ") and len(str(refusal.value)) < 600


@pytest.mark.parametrize("series, says", DICOM.values(), ids=DICOM)
def test_a_bad_series_is_refused_by_name(tmp_path, series, says):
    folder = write_dicom(tmp_path / "series", **series)
    with pytest.raises(ValueError, match=says) as refusal:
        read_volume(folder)
    assert str(refusal.value).startswith(str(folder))


@pytest.mark.parametrize("name", ["scan.mha", "scan.img", "scan", "scan.gz", "scan.dcm"])
def test_other_endings_are_refused(tmp_path, name, refused):
    with refused(f"{name}: expected .nii, .nii.gz, .nrrd, or a folder of DICOM files"):
        read_volume(spoiled(tmp_path / name, SOUND))
    with refused(f"{name}: expected a name that ends in .nii or .nii.gz"):
        write_volume(tmp_path / name, scan())


def test_a_missing_file_is_named(tmp_path):
    for name in ("a.nii", "a.nii.gz", "a.nrrd"):
        with pytest.raises(FileNotFoundError, match=name):
            read_volume(tmp_path / name)


DOUBTFUL = {
    "two sizes": (nifti(pixdim=("<4f", 1, 9, 1.5, 3)),
                  "its sform says voxels of 1 x 1.5 x 3 mm and its pixdim 9 x 1.5 x 3 mm"),
    "zero zoom beside an sform": (nifti(pixdim=("<4f", 1, 0, 1.5, 3)),
                                  "its pixdim says voxels of 0 x 1.5 x 3 mm, which cannot be: .* 1 x 1.5 x 3 mm are"),
    "transposed": (nifti(srow=("<12f", 0.8, 0.6, 0, 0, -0.9, 1.2, 0, 0, 0, 0, 3, 0)), "not perpendicular"),
    "sheared": (nifti(srow=("<12f", 1, 0.5, 0, 0, 0, 1.5, 0, 0, 0, 0, 3, 0)), "not perpendicular"),
    "two places of one code": (nifti(sform=("<h", 1), srow=("<12f", -1, 0, 0, 0, 0, 1.5, 0, 0, 0, 0, 3, 0)),
                               "say two places .LAS and RAS"),
}


@pytest.mark.parametrize("raw, says", DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_doubtful_file_is_read_with_a_warning(tmp_path, raw, says):
    path = spoiled(tmp_path / "scan.nii", raw)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert np.array_equal(read_volume(path).array, np.arange(120).reshape(6, 5, 4))
    said = [str(one.message) for one in caught]
    assert any(re.search(says, one) for one in said) and all(one.startswith(f"{path}: ") for one in said)


def test_nan_may_be_replaced(tmp_path):
    values = np.array([1, np.nan, np.inf, 2], np.float32).reshape(1, 2, 2)
    path = spoiled(tmp_path / "scan.nii", nib.Nifti1Image(values, np.eye(4)).to_bytes())
    assert read_volume(path, nan=-1).array.ravel().tolist() == [1, -1, -1, 2]


def test_one_bad_file_never_stops_a_folder(tmp_path):
    cases = {**{f"{n:02d}.nii": raw for n, (raw, _) in enumerate(NIFTI.values())}, "good.nii": SOUND,
             "doubtful.nii": DOUBTFUL["sheared"][0]}
    paths = [spoiled(tmp_path / name, raw) for name, raw in cases.items()] + [tmp_path / "missing.nii"]
    report = Report()
    read = dict(report.over(paths, read_volume))
    assert sorted(path.name for path in read) == ["doubtful.nii", "good.nii"] and report.done == 2
    assert len(report.refused) == len(NIFTI) + 1
    assert all(str(path) in why for path, why in report.refused.items())
    assert [*report.warned] == [str(tmp_path / "doubtful.nii")]
    assert f"2 read, {len(NIFTI) + 1} refused, 1 with a warning" in str(report) and "missing.nii" in str(report)
