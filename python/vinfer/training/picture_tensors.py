"""From pictures of any size to one normalised tensor.

Each picture is resized as the engine resizes it later (`vinfer.stages.resizing`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vinfer.stages.resizing import resized_boxes, resized_size, stretched
from vinfer.types import Float32Array, UInt8Array

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "mirrored_boxes",
    "normalised",
    "on_bytes",
    "padded",
    "resized_boxes",
    "resized_size",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def on_bytes(values: Sequence[float]) -> tuple[float, float, float]:
    """Means or deviations of three channels on 0..255, from those on 0..1."""
    red, green, blue = (255 * value for value in values)
    return red, green, blue


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
    return stretched(image, size, on_bytes(mean), on_bytes(std))


def mirrored_boxes(boxes: Float32Array, width: int) -> Float32Array:
    """Boxes ``[n, 4]`` in a picture of that width after its left and right are exchanged."""
    x1, y1, x2, y2 = boxes.T
    return np.stack([width - x2, y1, width - x1, y2], 1)


def padded(images: Sequence[Float32Array]) -> Float32Array:
    """Pictures ``[3, h, w]`` in one float32 ``[N, 3, H, W]``, with zeros right and below."""
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    batch = np.zeros((len(images), 3, height, width), np.float32)
    for target, image in zip(batch, images, strict=True):
        target[:, : image.shape[1], : image.shape[2]] = image
    return batch
