"""The ops again as plain float64 loops: slow, direct, and independent of the native code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


def _bilinear(plane: Float64Array, y: float, x: float) -> float:
    """One sample of a map; 0 outside, as the published rule has it."""
    height, width = plane.shape
    if not (-1.0 <= y <= height and -1.0 <= x <= width):
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    y0, x0 = int(y), int(x)
    if y0 >= height - 1:
        y0 = y1 = height - 1
        y = float(y0)
    else:
        y1 = y0 + 1
    if x0 >= width - 1:
        x0 = x1 = width - 1
        x = float(x0)
    else:
        x1 = x0 + 1
    dy, dx = y - y0, x - x0
    top = plane[y0, x0] * (1 - dx) + plane[y0, x1] * dx
    bottom = plane[y1, x0] * (1 - dx) + plane[y1, x1] * dx
    return float(top * (1 - dy) + bottom * dy)


def _samples(low: np.float32, high: np.float32, bins: int, scale: float, aligned: bool) -> int:
    """Samples a bin of an adaptive grid, from the float32 size: the ceiling is discontinuous."""
    offset = np.float32(0.5 if aligned else 0.0)
    scale32 = np.float32(scale)
    start = np.float32(low * scale32) - offset
    size = np.float32(np.float32(high * scale32) - offset) - start
    if not aligned:
        size = max(size, np.float32(1.0))
    return max(0, math.ceil(np.float32(size / np.float32(bins))))


def roi_align(
    features: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    batch_indices: npt.NDArray[np.int64],
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Float64Array:
    """Bin by bin, sample by sample, channel by channel."""
    maps = features.astype(np.float64)
    height, width = output_size
    out = np.zeros((len(boxes), maps.shape[1], height, width))
    offset = 0.5 if aligned else 0.0
    for r, (box, image) in enumerate(zip(boxes, batch_indices, strict=True)):
        x1, y1, x2, y2 = (float(v) * spatial_scale - offset for v in box)
        box_width, box_height = x2 - x1, y2 - y1
        if not aligned:
            box_width, box_height = max(box_width, 1.0), max(box_height, 1.0)
        grid_x = sampling_ratio or _samples(box[0], box[2], width, spatial_scale, aligned)
        grid_y = sampling_ratio or _samples(box[1], box[3], height, spatial_scale, aligned)
        for c in range(maps.shape[1]):
            for i in range(height):
                for j in range(width):
                    total = 0.0
                    for a in range(grid_y):
                        y = y1 + (i + (a + 0.5) / grid_y) * box_height / height
                        for b in range(grid_x):
                            x = x1 + (j + (b + 0.5) / grid_x) * box_width / width
                            total += _bilinear(maps[image, c], y, x)
                    out[r, c, i, j] = total / max(grid_y * grid_x, 1)
    return out


def positional_maps(
    boxes: npt.NDArray[np.float32], reference: npt.NDArray[np.float32], size: tuple[int, int]
) -> Float64Array:
    """The definition by bin centres, not its closed form."""
    height, width = size
    out = np.zeros((len(boxes), 2, height, width))
    for r in range(len(boxes)):
        for channel, bins in ((0, width), (1, height)):
            low, high = float(boxes[r, channel]), float(boxes[r, channel + 2])
            start, end = float(reference[r, channel]), float(reference[r, channel + 2])
            for k in range(bins):
                centre = low + (k + 0.5) * (high - low) / bins
                value = 2.0 * (centre - start) / (end - start) - 1.0 if end - start >= 1e-6 else 0.0
                if channel == 0:
                    out[r, 0, :, k] = value
                else:
                    out[r, 1, k, :] = value
    return out


def weldon_pool(
    values: Sequence[float], k_max: int, k_min: int, alpha: float = 1.0
) -> tuple[float, list[int], list[int]]:
    """One map by a full sort: the value, and the positions of the highest and the lowest."""
    n = len(values)
    high, low = min(k_max, n), min(k_min, n)
    if any(math.isnan(v) for v in values):
        return math.nan, [-1] * high, [-1] * low
    top = sorted(range(n), key=lambda i: (-values[i], i))[:high]
    bottom = sorted(range(n), key=lambda i: (values[i], i))[:low]
    value = sum(float(values[i]) for i in top) / high
    if low and alpha != 0.0:
        value += alpha * sum(float(values[i]) for i in bottom) / low
    return value, top, bottom


def resize(image: npt.NDArray[Any], height: int, width: int) -> Float64Array:
    """Bilinear, half-pixel centres, clamped at the border: float64 ``[height, width, 3]``."""
    source_height, source_width = image.shape[:2]
    out = np.zeros((height, width, 3))
    for i in range(height):
        y = min(max((i + 0.5) * source_height / height - 0.5, 0.0), source_height - 1.0)
        y0 = int(y)
        y1 = min(y0 + 1, source_height - 1)
        for j in range(width):
            x = min(max((j + 0.5) * source_width / width - 0.5, 0.0), source_width - 1.0)
            x0 = int(x)
            x1 = min(x0 + 1, source_width - 1)
            for c in range(3):
                top = image[y0, x0, c] * (1 - (x - x0)) + image[y0, x1, c] * (x - x0)
                bottom = image[y1, x0, c] * (1 - (x - x0)) + image[y1, x1, c] * (x - x0)
                out[i, j, c] = top * (1 - (y - y0)) + bottom * (y - y0)
    return out


# Kr and Kb: ITU-R BT.601-7 section 2.5.1, BT.709-6 item 3.2, BT.2020-2 table 4.
LUMA_COEFFICIENTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def resize_nv12(
    y: npt.NDArray[np.uint8],
    uv: npt.NDArray[np.uint8],
    picture_width: int,
    height: int,
    width: int,
    matrix: str,
    full_range: bool,
) -> Float64Array:
    """Both planes resized, each in its own grid, then converted: float64 ``[height, width, 3]``."""
    chroma_width = (picture_width + 1) // 2
    luma = resize(np.repeat(y[:, :picture_width, None], 3, axis=2), height, width)[..., 0]
    pairs = uv[:, : 2 * chroma_width].reshape(-1, chroma_width, 2)
    cb, cr, _ = np.moveaxis(
        resize(np.concatenate([pairs, pairs[..., :1]], axis=2), height, width) - 128.0, 2, 0
    )
    if full_range:
        luma_scale, chroma_scale = 1.0, 1.0
    else:
        luma, luma_scale, chroma_scale = luma - 16.0, 255.0 / 219.0, 255.0 / 224.0
    kr, kb = LUMA_COEFFICIENTS[matrix]
    grey = luma * luma_scale
    red = grey + 2.0 * (1.0 - kr) * chroma_scale * cr
    blue = grey + 2.0 * (1.0 - kb) * chroma_scale * cb
    green = (
        grey
        - 2.0 * (1.0 - kb) * kb / (1.0 - kr - kb) * chroma_scale * cb
        - 2.0 * (1.0 - kr) * kr / (1.0 - kr - kb) * chroma_scale * cr
    )
    return np.clip(np.stack([red, green, blue], axis=2), 0.0, 255.0)
