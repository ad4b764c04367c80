"""Scene-graph recall: R@K, ngR@K, mR@K and phrase detection."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError
from vinfer.stages.box_iou import box_iou
from vinfer.types import Float32Array, Int64Array

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Triplets:
    """Triplets of one picture, true or predicted; predictions are in order of their rank.

    Attributes:
        subject_labels, predicates, object_labels: int64 ``[t]``.
        subject_boxes, object_boxes: float32 ``[t, 4]``, xyxy in pixels.
    """

    subject_labels: Int64Array
    predicates: Int64Array
    object_labels: Int64Array
    subject_boxes: Float32Array
    object_boxes: Float32Array

    def __len__(self) -> int:
        return len(self.predicates)

    def first(self, k: int) -> Triplets:
        """The first ``k``."""
        return self.select(np.arange(len(self))[:k])

    def select(self, which: npt.NDArray[np.bool_ | np.integer]) -> Triplets:
        """The triplets at a boolean mask or an index array, in that order."""
        return Triplets(*(getattr(self, f.name)[which] for f in dataclasses.fields(self)))

    def phrase_boxes(self) -> Float32Array:
        """float32 ``[t, 4]``, the smallest boxes around subject and object."""
        low = np.minimum(self.subject_boxes[:, :2], self.object_boxes[:, :2])
        high = np.maximum(self.subject_boxes[:, 2:], self.object_boxes[:, 2:])
        return np.concatenate([low, high], 1)


def ranked_triplets(
    labels: Int64Array,
    boxes: Float32Array,
    pairs: npt.NDArray[np.integer],
    scores: FloatArray,
    *,
    limit: int,
    graph_constraint: bool = False,
) -> Triplets:
    """The best triplets of one picture: score descending, then subject, object, predicate.

    Args:
        labels: int64 ``[n]``.
        boxes: float32 ``[n, 4]``.
        pairs: ``[m, 2]``, indices of subject and object, in ascending order.
        scores: ``[m, predicates]``.
        limit: how many at most.
        graph_constraint: only the best predicate of each pair (R@K); without, all pairs and
            predicates are ranked (ngR@K).

    Raises:
        InputError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise InputError(
            f"scores: found {int(np.isnan(scores).sum())} NaN, expected numbers; "
            "nothing ranks by NaN"
        )
    if graph_constraint:
        best = scores.argmax(1)
        row = np.argsort(-scores[np.arange(len(pairs)), best], kind="stable")[:limit]
        predicate = best[row]
    else:
        flat = np.argsort(-scores, axis=None, kind="stable")[:limit]
        row, predicate = np.divmod(flat, scores.shape[1])
    subject, object_ = pairs[row, 0], pairs[row, 1]
    return Triplets(
        labels[subject],
        predicate.astype(np.int64),
        labels[object_],
        boxes[subject],
        boxes[object_],
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Recall:
    """Share of the true triplets that the first K predictions of each picture find.

    Every figure is None where no picture has a true triplet.

    Attributes:
        image_mean: R@K: mean over the pictures with a true triplet (Zellers et al. 2018).
        pooled: over all true triplets (Lu et al. 2016).
        predicate_mean: mR@K: per predicate the mean over pictures that hold it, then the mean over
            all predicates; one that no picture holds counts 0, as in the reference evaluators.
        predicate_mean_present: the same mean without such predicates.
    """

    image_mean: float | None
    pooled: float | None
    predicate_mean: float | None
    predicate_mean_present: float | None


def recall_at_k(
    truth: Sequence[Triplets],
    predictions: Sequence[Triplets],
    k: int,
    *,
    num_predicates: int,
    iou_threshold: float = 0.5,
    phrase: bool = False,
) -> Recall:
    """Scene-graph recall@K.

    A prediction matches every true triplet with its three labels whose boxes it meets; a true
    triplet counts once.

    Args:
        truth, predictions: one entry a picture, in the same order.
        k: predictions taken of each picture, 1 or more.
        num_predicates: size of the vocabulary.
        iou_threshold: least IoU of both subject and object.
        phrase: compare the boxes around both instead.

    Raises:
        InputError: ``k`` is below 1, or there is another number of pictures on the two sides.
    """
    if k < 1:
        raise InputError(f"k: found {k}, expected 1 or more")
    if len(truth) != len(predictions):
        raise InputError(
            f"predictions: found {len(predictions)} pictures, expected {len(truth)} as in truth; "
            "give no triplets for a picture without a prediction"
        )
    shares: list[float] = []
    by_predicate: list[list[float]] = [[] for _ in range(num_predicates)]
    hits = total = 0
    for true, predicted in zip(truth, predictions, strict=True):
        if not len(true):
            continue
        matches = _matches(true, predicted.first(k), iou_threshold, phrase)
        found = np.asarray(matches.any(1))
        shares.append(float(found.mean()))
        hits += int(found.sum())
        total += len(true)
        for predicate in np.unique(true.predicates):
            by_predicate[predicate].append(float(found[true.predicates == predicate].mean()))
    if not total:
        return Recall(None, None, None, None)
    # fsum: the figure must not depend on the order of the pictures.
    means = [math.fsum(v) / len(v) for v in by_predicate if v]
    return Recall(
        image_mean=math.fsum(shares) / len(shares),
        pooled=hits / total,
        predicate_mean=math.fsum(means) / num_predicates,
        predicate_mean_present=math.fsum(means) / len(means),
    )


def _matches(true: Triplets, predicted: Triplets, threshold: float, phrase: bool) -> BoolArray:
    """bool ``[true, predicted]``."""
    return same_labels(true, predicted) & (pair_overlap(true, predicted, phrase) >= threshold)


def same_labels(first: Triplets, second: Triplets) -> BoolArray:
    """bool ``[n, k]``: subject class, predicate and object class are equal."""
    same: BoolArray = np.ones((len(first), len(second)), bool)
    for name in ("subject_labels", "predicates", "object_labels"):
        same &= getattr(first, name)[:, None] == getattr(second, name)
    return same


def pair_overlap(first: Triplets, second: Triplets, phrase: bool) -> npt.NDArray[np.float64]:
    """float64 ``[n, k]``: the smaller IoU of subject and object, or that of the phrase boxes."""
    if phrase:
        return box_iou(first.phrase_boxes(), second.phrase_boxes())
    subjects = box_iou(first.subject_boxes, second.subject_boxes)
    return np.minimum(subjects, box_iou(first.object_boxes, second.object_boxes))
