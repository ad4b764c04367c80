"""Anchors and box code of SSD (Liu et al. 2016, section 2.2) as TensorFlow trained it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

GRIDS = (19, 10, 5, 3, 2, 1)
"""Cells along a side of each feature map; the maps are square."""

VARIANCES = (10.0, 10.0, 5.0, 5.0)
"""What the codes (ty, tx, th, tw) were multiplied by in training."""

_SCALE_MIN, _SCALE_MAX = 0.2, 0.95
_RATIOS = (1.0, 2.0, 0.5, 3.0, 1.0 / 3.0)


def anchors_per_cell(layer: int) -> int:
    """Anchors in a cell of feature map ``layer``."""
    return 3 if layer == 0 else len(_RATIOS) + 1


def make_anchors() -> Float64Array:
    """All anchors, map by map, row by row.

    Returns:
        float64 ``[1917, 4]``: centre y, centre x, height, width as fractions of the picture.
    """
    last = len(GRIDS) - 1
    scales = [_SCALE_MIN + (_SCALE_MAX - _SCALE_MIN) * i / last for i in range(len(GRIDS))] + [1.0]
    anchors = []
    for layer, grid in enumerate(GRIDS):
        if layer == 0:
            shapes = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        else:
            shapes = [(scales[layer], ratio) for ratio in _RATIOS]
            shapes.append(((scales[layer] * scales[layer + 1]) ** 0.5, 1.0))
        anchors += [
            ((y + 0.5) / grid, (x + 0.5) / grid, scale / ratio**0.5, scale * ratio**0.5)
            for y in range(grid)
            for x in range(grid)
            for scale, ratio in shapes
        ]
    return np.array(anchors, np.float64)


def decode_boxes(codes: npt.NDArray[np.floating]) -> Float64Array:
    """Boxes of the network's codes, in float64: the reference for what the graph computes.

    Args:
        codes: ``[N, 1917, 4]``: ty, tx, th, tw.

    Returns:
        float64 ``[N, 1917, 4]`` xyxy as fractions of the picture, not clipped.
    """
    centre_y, centre_x, height, width = make_anchors().T
    ty, tx, th, tw = np.moveaxis(codes.astype(np.float64) / VARIANCES, 2, 0)
    y, x = centre_y + ty * height, centre_x + tx * width
    half_height, half_width = np.exp(th) * height / 2, np.exp(tw) * width / 2
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], 2)
