"""What files say of themselves, and folders of their files."""
import numpy as np
import pytest
from helpers import scans

from medlearn.cli import main
from medlearn.cli.info import described, info
from medlearn.data import Volume, write_volume


def test_a_file_says_where_it_lies_and_what_it_holds(tmp_path, capsys):
    volume = scans.scan(signs=(-1, 1, 1), spacing=(1.0, 1.5, 3.0))
    write_volume(tmp_path / "a.nii.gz", volume)
    assert main(["info", str(tmp_path / "a.nii.gz")]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["shape"] == "6 x 5 x 4" and rows["spacing"] == "1 x 1.5 x 3 mm" and rows["orientation"] == "LAS"
    assert rows["dtype"] == "int16" and rows["origin"] == "-20, 10, 5 mm" and "channels" not in rows
    assert rows["values"].startswith(f"{volume.array.min():g} to {volume.array.max():g}")


def test_channels_and_scaling_are_said(tmp_path):
    assert "channels     2" in described(scans.scan(channels=2))
    assert "values       none" in described(Volume(np.zeros((2, 0, 2)), scans.grid((2, 0, 2))))


def test_a_series_of_dicom_is_one_scan(tmp_path, capsys):
    pytest.importorskip("pydicom")
    scans.write_dicom(tmp_path / "series")
    assert info(tmp_path / "series") == 0
    out = capsys.readouterr().out
    assert "spacing      0.75 x 0.5 x 2 mm" in out and "1 x number + -1024" in out


def test_a_folder_is_read_to_its_end(own, capsys):
    data = own / "data"
    (data / "labelsTr" / "p01_scan.nii.gz").write_bytes(b"no scan")
    write_volume(data / "labelsTr" / "p02_scan.nii.gz", scans.scan(np.uint8))              # on another grid
    assert info(data) == 3
    out = capsys.readouterr().out
    assert "4 cases with labels, 2 without\nchannels: T1\nlabels: background, csf, grey, white" in out
    assert "4 read, 2 refused" in out and "p01_scan" in out and "expected one grid" in out
    assert "p05_scan: 30 x 32 x 23 voxels of" in out and "median spacing: " in out


def test_channels_that_the_folder_does_not_name_are_refused_as_training_does(own, capsys):
    write_volume(own / "data" / "imagesTr" / "p01_scan_0000.nii.gz", scans.scan(channels=2))
    assert info(own / "data") == 3
    out = capsys.readouterr().out
    assert "5 read, 1 refused" in out and "p01_scan_0000.nii.gz: expected 1 channels, T1, got 2" in out


def test_a_folder_without_names_says_how_many_channels_a_scan_has(tmp_path, capsys):
    write_volume(tmp_path / "a.nii.gz", scans.scan(channels=2))
    assert info(tmp_path) == 0
    assert "a: 6 x 5 x 4 voxels of " in (out := capsys.readouterr().out) and "RAS, 2 channels" in out


def test_a_doubt_is_one_line(tmp_path, capsys):
    write_volume(tmp_path / "a.nii", scans.scan())
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[123] = 3                                            # the unit is the micrometre
    (tmp_path / "a.nii").write_bytes(raw)
    assert main(["info", str(tmp_path / "a.nii")]) == 0
    said = f"medlearn info: {tmp_path / 'a.nii'}: its unit is not the millimetre; it is converted\n"
    assert capsys.readouterr().err == said


def test_a_folder_of_scans_alone_too(own, capsys):
    assert info(own / "data" / "imagesTs") == 0
    assert "orientations: RAS (1), LPS (1)" in capsys.readouterr().out
