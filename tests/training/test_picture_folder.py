"""Sizes from the headers of image files, and VRD with its pictures."""

import collections
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from vinfer.errors import TrainingError
from vinfer.training.picture_folder import HEADER_BYTES, PictureFolder, picture_size
from vinfer.training.vrd import load_vrd

SAMPLE = Path(__file__).with_name("vrd_sample.json")


def write(path: Path, height: int, width: int, *options: int) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), noise, options)
    return path


def exif(orientation: int) -> bytes:
    """A JPEG segment that says how the picture is to be turned."""
    tiff = b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0) + bytes(4)
    payload = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (30, 47), (300, 20)])
def test_sizes_are_those_of_the_decoded_picture(
    tmp_path: Path, name: str, height: int, width: int
) -> None:
    path = write(tmp_path / name, height, width)
    assert picture_size(path) == (height, width)


def test_progressive_jpeg_and_fill_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", 30, 47, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert picture_size(path) == (30, 47)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xff" + data[2:])
    assert picture_size(path) == (30, 47)


@pytest.mark.parametrize(("orientation", "turned"), [(1, False), (3, False), (6, True), (8, True)])
def test_sizes_are_upright(tmp_path: Path, orientation: int, turned: bool) -> None:
    data = write(tmp_path / "a.jpg", 30, 47).read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + exif(orientation) + data[2:])
    assert picture_size(tmp_path / "a.jpg") == ((47, 30) if turned else (30, 47))


def test_long_headers_are_decoded(tmp_path: Path) -> None:
    data = write(tmp_path / "a.jpg", 30, 47).read_bytes()
    comment = b"\xff\xfe" + struct.pack(">H", 60000) + bytes(59998)
    (tmp_path / "a.jpg").write_bytes(data[:2] + comment * (HEADER_BYTES // 60000 + 1) + data[2:])
    assert picture_size(tmp_path / "a.jpg") == (30, 47)


def test_what_is_no_picture_is_counted(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "odd.jpg").write_bytes(b"\xff\xd8" + bytes(40))
    folder = PictureFolder(tmp_path, ".jpg")
    skipped: collections.Counter[str] = collections.Counter()
    assert [folder.size(name, skipped) for name in ("text", "odd", "nothing")] == [None] * 3
    assert skipped == {"unreadable_image": 2, "missing_image": 1}
    with pytest.raises(TrainingError, match="can't be read"):
        picture_size(tmp_path / "nothing.jpg")
    with pytest.raises(TrainingError, match="no such folder"):
        PictureFolder(tmp_path / "nothing")


def test_vrd_is_read_with_its_pictures(tmp_path: Path) -> None:
    write(tmp_path / "street.jpg", 160, 190)
    write(tmp_path / "kitchen.jpg", 90, 300)
    data = load_vrd(SAMPLE, images=tmp_path)
    assert not data.exhaustive
    street, kitchen = data.pictures
    assert (street.size, kitchen.size) == ((160, 190), (90, 300))
    # The table of the kitchen lies below its picture, the street's boxes end below it.
    assert kitchen.labels.tolist() == [4, 4]
    assert street.boxes[:, 3].max() == 160
    assert data.skipped["missing_image"] == 2
    assert data.skipped["outside_box"] == 1
    assert data.skipped["clipped_box"] == 4
    assert data.read is not None
    assert data.read(street).shape == (160, 190, 3)


def test_vrd_without_pictures_has_no_sizes() -> None:
    data = load_vrd(SAMPLE)
    assert data.read is None
    assert all(picture.size is None for picture in data.pictures)
    assert not data.exhaustive
