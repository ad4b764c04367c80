"""From a picture of any size to a relation network's, as training and inference both do it.

Resized by half-pixel bilinear interpolation without antialias, as `letterbox` does it everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vinfer.ops import letterbox
from vinfer.types import Float32Array, UInt8Array


def resized_size(
    height: int, width: int, *, short_side: int = 480, long_side: int = 960
) -> tuple[int, int]:
    """Size that a picture is resized to, the aspect ratio kept but for rounding.

    Args:
        height, width: of the picture, > 0.
        short_side, long_side: it is resized until its short side has this many
            pixels or its long side would have more than that many.

    Returns:
        (height, width): ``floor(side * scale + 1/2)`` in exact arithmetic, at least 1.
    """
    short, long = sorted((height, width))
    scale = min(Fraction(short_side, short), Fraction(long_side, long))
    half = Fraction(1, 2)
    return max(1, int(height * scale + half)), max(1, int(width * scale + half))


def stretched(
    image: UInt8Array, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> Float32Array:
    """A picture stretched to a size and normalised.

    Args:
        image: uint8 ``[H, W, 3]`` RGB.
        size: (height, width) of the result.
        mean, std: a channel on 0..255, subtracted and divided by.

    Returns:
        float32 ``[3, h, w]``.
    """
    # One thread: pictures are prepared side by side.
    result: Float32Array = letterbox(
        image, size, mode="stretch", mean=mean, std=std, num_threads=1
    )[0]
    return result


def resized_boxes(
    boxes: Float32Array, size: tuple[int, int], resized: tuple[int, int]
) -> Float32Array:
    """Boxes on a resized picture.

    Args:
        boxes: float32 ``[n, 4]``, xyxy.
        size, resized: (height, width) of the picture before and after.

    Returns:
        float32 ``[n, 4]``, clipped to the resized picture. The sides are scaled by what they were
        rounded to, each for itself, as the pixels are.
    """
    height, width = resized
    scale = np.array([width / size[1], height / size[0]] * 2)
    limit = np.array([width, height] * 2)
    clipped: Float32Array = np.clip(boxes * scale, 0, limit).astype(np.float32)
    return clipped
