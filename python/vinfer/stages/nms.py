"""Greedy non-maximum suppression on the candidates that passed the score threshold."""

from __future__ import annotations

import dataclasses

import numpy as np

from vinfer.types import Float32Array, Int32Array, Int64Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes with one class each, before suppression; a box may stand here once a class.

    Attributes:
        boxes: float32 ``[n, 4]`` xyxy.
        scores: float32 ``[n]``.
        labels: int32 ``[n]``.
    """

    boxes: Float32Array
    scores: Float32Array
    labels: Int32Array

    def select(self, which: Int64Array) -> Candidates:
        """The candidates at these indices, in that order."""
        return Candidates(self.boxes[which], self.scores[which], self.labels[which])


def above_threshold(boxes: Float32Array, scores: Float32Array, threshold: float) -> Candidates:
    """Every (box, class) whose score reaches the threshold, box by box, then class by class.

    Args:
        boxes: float32 ``[a, 4]``.
        scores: float32 ``[a, classes]``.
        threshold: in [0, 1]; a score equal to it passes.
    """
    rows, labels = np.divmod(
        np.flatnonzero(scores >= np.float32(threshold)), np.intp(scores.shape[1])
    )
    return Candidates(boxes[rows], scores[rows, labels], labels.astype(np.int32))


def suppress(
    candidates: Candidates,
    iou_threshold: float,
    *,
    max_detections: int,
    class_agnostic: bool = False,
) -> Int64Array:
    """Greedy suppression: the best candidate stays, those that overlap it too much go, and so on.

    Args:
        candidates: boxes with positive area.
        iou_threshold: a candidate goes if its IoU with a kept one is greater than this.
        max_detections: stop when so many are kept; what was kept does not depend on it.
        class_agnostic: let boxes of different classes suppress each other.

    Returns:
        int64 ``[k]``, indices of the kept candidates by (score descending, index ascending).
    """
    # Stable: ties keep the order in which they came, whatever numpy's default sort does.
    order = np.argsort(-candidates.scores, kind="stable")
    labels = np.zeros(len(order), np.int32) if class_agnostic else candidates.labels[order]
    x1, y1, x2, y2 = np.ascontiguousarray(candidates.boxes[order].T)
    areas = (x2 - x1) * (y2 - y1)
    limit = np.float32(iou_threshold)
    alive = np.ones(len(order), np.bool_)
    kept: list[int] = []
    # By score over all classes at once, so that the loop can end at max_detections.
    for best in range(len(order)):
        if not alive[best]:
            continue
        kept.append(best)
        if len(kept) == max_detections:
            break
        rest = best + 1 + np.flatnonzero(alive[best + 1 :] & (labels[best + 1 :] == labels[best]))
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        # Multiplied out: no division by a union that underflowed to zero.
        alive[rest[overlap > limit * (areas[best] + areas[rest] - overlap)]] = False
    return order[np.array(kept, np.int64)]
