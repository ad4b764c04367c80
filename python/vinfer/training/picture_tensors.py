"""From pictures of any size to one normalised tensor, as training and inference both do it.

Resized by half-pixel bilinear interpolation without antialias, so that a model sees in training
what the engine's `letterbox` gives it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vinfer.ops import letterbox
from vinfer.types import Float32Array, UInt8Array

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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


def normalised(
    image: UInt8Array, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> Float32Array:
    """A picture stretched to a size.

    Args:
        image: uint8 ``[H, W, 3]`` RGB.
        size: (height, width) of the result.
        mean, std: a channel on 0..1, subtracted and divided by.

    Returns:
        float32 ``[3, h, w]``.
    """
    result: Float32Array = letterbox(
        image,
        size,
        mode="stretch",
        mean=[255 * value for value in mean],
        std=[255 * value for value in std],
        num_threads=1,  # pictures are prepared side by side
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


def padded(images: Sequence[Float32Array]) -> Float32Array:
    """Pictures ``[3, h, w]`` in one float32 ``[N, 3, H, W]``, with zeros right and below."""
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    batch = np.zeros((len(images), 3, height, width), np.float32)
    for target, image in zip(batch, images, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    return batch
