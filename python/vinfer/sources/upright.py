"""Decoded pictures as upright RGB arrays: colour conversion, rotation, mirroring."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from vinfer.types import UInt8Array

# Full chroma resolution and exact rounding: halves the error against the JPEG standard's own
# decoder and costs a few milliseconds, which a video could not spare.
_EXACT = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


class RgbConverter:
    """Turns decoded frames into uint8 ``[H, W, 3]``; keeps its tables between frames.

    Grey becomes three equal channels, deeper samples lose their low bits, alpha is dropped, and
    limited-range video is stretched to 0..255.

    Args:
        exact: convert chroma with full precision (for still pictures) instead of fast.
    """

    def __init__(self, *, exact: bool = False) -> None:
        # One context for all frames: making one anew costs as much as a conversion.
        self._reformatter = VideoReformatter()
        self._interpolation = _EXACT if exact else Interpolation.BILINEAR

    def convert(self, frame: av.VideoFrame) -> UInt8Array:
        """The picture as stored, not turned."""
        # One thread: starting more costs more than a 640x360 conversion takes.
        rgb = self._reformatter.reformat(
            frame, format="rgb24", interpolation=self._interpolation, threads=1
        )
        return np.asarray(rgb.to_ndarray(), np.uint8)


Turn = Callable[[UInt8Array], UInt8Array]


def _keep(image: UInt8Array) -> UInt8Array:
    return image


# EXIF orientation -> how to make the stored picture upright.
_TURNS: dict[int, Turn] = {
    1: _keep,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    8: lambda image: np.rot90(image, 1),
}

# (a, b, c, d) of the container's display matrix by sign -> EXIF orientation. A pixel (x, y) is
# shown at (a*x + c*y, b*x + d*y).
_MATRIX_ORIENTATION = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
_ROTATION_ORIENTATION = {0: 1, 90: 8, 180: 3, 270: 6}


def upright(image: UInt8Array, orientation: int) -> UInt8Array:
    """Turn and mirror a picture.

    Args:
        image: uint8 ``[H, W, 3]`` as stored.
        orientation: EXIF orientation, 1..8; anything else leaves it as it is.

    Returns:
        uint8 ``[H, W, 3]`` or ``[W, H, 3]``, contiguous.
    """
    return np.ascontiguousarray(_TURNS.get(orientation, _keep)(image))


def frame_orientation(frame: av.VideoFrame) -> int:
    """EXIF orientation that says the same as the frame's display matrix.

    A turn that is no multiple of 90 degrees is taken as the nearest one.
    """
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # Side data of a kind newer than PyAV hides the matrix, but not the angle made from it.
        return _ROTATION_ORIENTATION[round(frame.rotation / 90) * 90 % 360]
    if matrix is None:
        return 1
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    largest = max(abs(a), abs(b), abs(c), abs(d), 1)
    return _MATRIX_ORIENTATION.get(
        (round(a / largest), round(b / largest), round(c / largest), round(d / largest)), 1
    )


_EXIF_MARKERS = (b"Exif\0\0", b"eXIf", b"EXIF")
_ORIENTATION_TAG = 0x0112


def exif_orientation(data: bytes) -> int:
    """EXIF orientation of an encoded JPEG, PNG or WebP picture; 1 where it states none.

    Read here and not from the decoder, which reports an angle only and so loses mirroring.
    """
    for marker in _EXIF_MARKERS:
        found = data.find(marker)
        # WebP puts the chunk's size between its name and the TIFF header.
        for start in (found + len(marker), found + len(marker) + 4):
            if found < 0 or data[start : start + 4] not in (b"II*\0", b"MM\0*"):
                continue
            try:
                return _tiff_orientation(data, start)
            except struct.error:
                return 1
    return 1


def _tiff_orientation(data: bytes, start: int) -> int:
    order = "<" if data[start : start + 2] == b"II" else ">"
    directory = start + struct.unpack_from(f"{order}I", data, start + 4)[0]
    (entries,) = struct.unpack_from(f"{order}H", data, directory)
    for i in range(entries):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, directory + 2 + 12 * i)
        if tag == _ORIENTATION_TAG:
            return int(value)
    return 1
