from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from videos import corner_colours, number_of, numbered, quadrants

from vinfer.errors import SourceNotFoundError, UnsupportedSourceError
from vinfer.sources import open_source
from vinfer.sources.images import read_image
from vinfer.types import UInt8Array

Image = pytest.importorskip("PIL.Image", reason="Pillow writes the pictures")


def save(path: Path, image: UInt8Array, mode: str | None = None, **options: object) -> Path:
    picture = Image.fromarray(image)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


def test_a_folder_in_natural_order_at_a_rate(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        save(tmp_path / f"frame{number}.png", numbered(number))
    (tmp_path / "notes.txt").write_text("not an image")
    with open_source(tmp_path, rate=4) as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == [1, 2, 10]
    assert [frame.time for frame in frames] == [0, Fraction(1, 4), Fraction(1, 2)]
    assert [frame.index for frame in frames] == [0, 1, 2]
    info = source.info
    assert (info.name, info.width, info.height) == (tmp_path.name, 80, 64)
    assert (info.average_rate, info.duration, info.num_frames) == (4, None, 3)


def test_a_pattern_takes_only_what_it_matches(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.jpg", "b1.png"):
        save(tmp_path / name, numbered(int(name[1])))
    with open_source(str(tmp_path / "a*")) as source:
        assert [number_of(frame.image) for frame in source] == [1, 2]
        assert source.info.name == "a*"


def test_one_image_is_a_stream_of_one_frame(tmp_path: Path) -> None:
    path = save(tmp_path / "shot %03d.png", numbered(5))
    with open_source(path) as source:
        (frame,) = source
    assert (frame.time, frame.index, frame.stream) == (0, 0, "shot %03d.png")
    assert number_of(frame.image) == 5


def test_selection(tmp_path: Path) -> None:
    for number in range(8):
        save(tmp_path / f"{number}.png", numbered(number))
    with open_source(tmp_path, rate=2, stride=2, start=1, duration=2) as source:
        assert [(f.index, f.time) for f in source] == [(2, 1), (4, 2)]


def test_broken_images_are_left_out_and_counted(tmp_path: Path) -> None:
    for number in range(1, 5):
        save(tmp_path / f"{number}.png", numbered(number))
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:60])
    with open_source(tmp_path) as source:
        frames = list(source)
        assert source.dropped == {"unreadable_image": 2}
    assert [number_of(frame.image) for frame in frames] == [1, 2, 4]
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0), (1, 1), (3, 3)]


def test_only_broken_images(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(
        UnsupportedSourceError, match=r"none of the 2 images.*a\.png: found 7 bytes"
    ):
        open_source(tmp_path)


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(UnsupportedSourceError, match="no images among 1 files; expected names"):
        open_source(tmp_path)


def test_a_pattern_without_matches(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="nothing matches this pattern"):
        open_source(str(tmp_path / "*.png"))


def test_each_image_keeps_its_size(tmp_path: Path) -> None:
    sizes = [(1, 1), (64, 80), (7, 301)]
    for i, (height, width) in enumerate(sizes):
        save(tmp_path / f"{i}.png", np.full((height, width, 3), 90, np.uint8))
    with open_source(tmp_path) as source:
        images = [frame.image for frame in source]
    assert [image.shape[:2] for image in images] == sizes
    assert all((image == 90).all() and image.flags.c_contiguous for image in images)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".webp"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (33, 47, 3), np.uint8)
    options = {"lossless": True} if suffix == ".webp" else {}
    np.testing.assert_array_equal(
        read_image(save(tmp_path / f"i{suffix}", image, **options)), image
    )


def test_jpeg_agrees_with_another_decoder(tmp_path: Path) -> None:
    # Without hard colour edges, where decoders differ in how they enlarge the chroma planes.
    y, x = np.mgrid[0:120, 0:160]
    image = np.stack([x, 2 * y, 255 - x], axis=2).astype(np.uint8)
    path = save(tmp_path / "i.jpg", image, quality=95)
    expected = np.asarray(Image.open(path)).astype(int)
    assert np.abs(read_image(path).astype(int) - expected).max() <= 3


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(numbered(9)).save(buffer, "PNG")
    (tmp_path / "i.jpg").write_bytes(buffer.getvalue())
    assert number_of(read_image(tmp_path / "i.jpg")) == 9


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("i.jpg" if mode == "CMYK" else "i.png")
    save(path, numbered(77), mode)
    image = read_image(path)
    assert (image.dtype, image.shape) == (np.uint8, (64, 80, 3))
    assert number_of(image) == 77


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    rgba = np.dstack([numbered(21), np.zeros((64, 80), np.uint8)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "i.png", rgba)), numbered(21))


def test_sixteen_bits_keep_the_high_byte(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp * 257).save(tmp_path / "i.png")
    image = read_image(tmp_path / "i.png")
    assert np.abs(image.astype(int) - ramp[..., None]).max() <= 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    from PIL import ImageOps

    path = tmp_path / f"i{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(quadrants(height=64, width=96)).save(path, exif=exif, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    image = read_image(path)
    assert image.shape == expected.shape
    assert corner_colours(image) == corner_colours(expected)
    assert image.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif", ".ppm"])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9])
def test_truncated_images_are_errors(tmp_path: Path, suffix: str, fraction: float) -> None:
    rng = np.random.default_rng(0)
    path = save(tmp_path / f"i{suffix}", rng.integers(0, 256, (64, 64, 3), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(UnsupportedSourceError, match="damaged, cut short or larger"):
        read_image(path)


def test_a_picture_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = save(tmp_path / "i.png", np.zeros((4, 4), np.uint8))
    data = bytearray(path.read_bytes())
    header = data.index(b"IHDR")
    data[header + 4 : header + 12] = (60000).to_bytes(4, "big") * 2
    import zlib

    data[header + 17 : header + 21] = zlib.crc32(data[header : header + 17]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(UnsupportedSourceError, match="larger than 16384 px"):
        read_image(path)
    wide = save(tmp_path / "wide.png", np.zeros((1, 16385), np.uint8))
    with pytest.raises(UnsupportedSourceError, match="16385x1 px, expected at most 16384"):
        read_image(wide)
