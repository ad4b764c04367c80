"""Small clips and pictures made by code, so that each test states exactly what is in its input."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vinfer.types import UInt8Array

BITS = 10


def numbered(number: int, *, height: int = 64, width: int = 80) -> UInt8Array:
    """A picture that carries its number as ten black or white stripes; survives lossy coding."""
    bits = (number >> np.arange(BITS)) & 1
    columns = np.repeat(np.where(bits == 1, 230, 25), -(-width // BITS))[:width]
    return np.broadcast_to(columns[None, :, None], (height, width, 3)).astype(np.uint8)


def noisy(number: int, *, height: int = 128, width: int = 160) -> UInt8Array:
    """`numbered` with noise on it, so that each frame takes some kilobytes of the file."""
    noise = np.random.default_rng(number).integers(-20, 21, (height, width, 3))
    return (numbered(number, height=height, width=width) + noise).astype(np.uint8)


def number_of(image: UInt8Array) -> int:
    """The reverse of `numbered`."""
    width = image.shape[1]
    stripe = -(-width // BITS)
    centres = [min(i * stripe + stripe // 2, width - 1) for i in range(BITS)]
    bits = image[:, centres].mean(axis=(0, 2)) > 128
    return int((bits << np.arange(BITS)).sum())


def quadrants(*, height: int = 64, width: int = 96) -> UInt8Array:
    """Red, green / blue, white: no rotation or mirror image of it looks the same."""
    image = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    image[:top, :left] = (220, 20, 20)
    image[:top, left:] = (20, 200, 20)
    image[top:, :left] = (20, 20, 220)
    image[top:, left:] = (230, 230, 230)
    return image


def corner_colours(image: UInt8Array) -> str:
    """Colours of the four quadrants in reading order, for example ``"RG/BW"``."""
    height, width = image.shape[:2]

    def letter(y: int, x: int) -> str:
        red, green, blue = (int(v) for v in image[y, x])
        if min(red, green, blue) > 128:
            return "W"
        return "RGB"[int(np.argmax((red, green, blue)))]

    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4)
    return "/".join("".join(letter(y, x) for x in columns) for y in rows)


def write_video(
    path: Path,
    pictures: Iterable[UInt8Array],
    *,
    rate: int | Fraction = 25,
    times: Sequence[Fraction] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    time_base: Fraction = Fraction(1, 12800),
) -> Path:
    """Encode pictures.

    Args:
        path: the suffix decides the container.
        pictures: uint8 ``[H, W, 3]``, all of one size.
        rate: nominal frames a second.
        times: presentation time of each picture in seconds; ``i / rate`` where left out.
        codec, pix_fmt, options: as FFmpeg names them.
        time_base: unit of the encoder's timestamps where ``times`` is given.
    """
    with av.open(str(path), "w") as container:
        stream = None
        for i, picture in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options or {})
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.codec_context.time_base = 1 / Fraction(rate) if times is None else time_base
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = i if times is None else int(times[i] / time_base)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """A tenth of a second of silence: a media file without any picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, 4410), np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate = 44100
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_without_frames(path: Path) -> Path:
    """A valid file with a video stream that holds no frame (AVI, whose header comes first)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.open()
        container.start_encoding()
    return path


def truncate(source: Path, target: Path, fraction: float) -> Path:
    """The first part of a file, as a broken download leaves it."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * fraction)])
    return target


# Display matrices (16.16 fixed point) as phones write them: clockwise turn that makes it upright.
_TURNS = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


def set_display_matrix(path: Path, clockwise: int, *, mirrored: bool = False) -> Path:
    """Write a rotation into an MP4's track header: the pixels stay, the player must turn them.

    Args:
        path: an MP4 with one track; changed in place.
        clockwise: degrees by which a player must turn the stored picture.
        mirrored: mirror it left to right before turning, as front cameras do.
    """
    a, b, c, d = _TURNS[clockwise]
    if mirrored:
        a, b = -a, -b
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4
    offset = start + (40 if data[start] == 0 else 52)
    struct.pack_into(">9i", data, offset, a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def set_stated_size(path: Path, width: int, height: int) -> Path:
    """Make an uncompressed-in-AVI header claim another picture size; changed in place."""
    data = bytearray(path.read_bytes())
    offset = data.index(b"strf") + 12
    struct.pack_into("<ii", data, offset, width, height)
    path.write_bytes(data)
    return path
