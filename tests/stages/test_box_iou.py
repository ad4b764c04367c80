"""Overlap of boxes by hand."""

import numpy as np

from vinfer.stages.box_iou import box_iou


def test_box_iou_known_and_empty() -> None:
    a = np.array([[0, 0, 2, 2], [5, 5, 5, 9]], np.float32)
    b = np.array([[1, 0, 3, 2], [0, 0, 2, 2], [5, 5, 5, 9]], np.float32)
    np.testing.assert_allclose(box_iou(a, b), [[1 / 3, 1, 0], [0, 0, 0]])
    assert box_iou(a, b[:0]).shape == (2, 0)
