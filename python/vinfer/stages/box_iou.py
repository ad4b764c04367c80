"""Overlap of boxes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vinfer.types import Float32Array


def box_iou(a: Float32Array, b: Float32Array) -> npt.NDArray[np.float64]:
    """Intersection over union of all boxes of ``a`` with all of ``b``.

    Args:
        a, b: float32 ``[n, 4]`` and ``[k, 4]``, xyxy in the same pixels.

    Returns:
        float64 ``[n, k]`` in [0, 1]; 0 where a box is empty.
    """
    x, y = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    overlap = np.minimum(x[..., 2:], y[..., 2:]) - np.maximum(x[..., :2], y[..., :2])
    shared = overlap.clip(min=0).prod(-1)
    areas = (x[..., 2:] - x[..., :2]).prod(-1) + (y[..., 2:] - y[..., :2]).prod(-1)
    union = areas - shared
    iou: npt.NDArray[np.float64] = np.zeros(shared.shape)
    np.divide(shared, union, out=iou, where=union > 0)
    return iou
