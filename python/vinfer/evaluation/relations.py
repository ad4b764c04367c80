"""Quality of relation scores: average precision, recall@K, top-K accuracy, intervals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError, ShapeError
from vinfer.types import Float32Array, Int64Array

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


def average_precision(scores: FloatArray, labels: BoolArray) -> float | None:
    """Average precision without interpolation; equal scores enter together, as one point.

    Args:
        scores: ``[m]``, any finite numbers; higher is more likely.
        labels: bool ``[m]``.

    Returns:
        In (0, 1], whatever the order of the samples; None without a positive.

    Raises:
        ShapeError: the arrays differ in length.
        InputError: a score is NaN.
    """
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ShapeError(
            f"scores, labels: found shapes {list(scores.shape)} and {list(labels.shape)}, "
            "expected [m] both"
        )
    if np.isnan(scores).any():
        raise InputError(
            f"scores: found {int(np.isnan(scores).sum())} NaN, expected numbers; "
            "a model that gives them has no average precision"
        )
    positives = int(labels.sum())
    if positives == 0:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    hits = np.cumsum(labels[order])[last_of_tie]
    seen = np.flatnonzero(last_of_tie) + 1
    new = np.diff(hits, prepend=0)
    return float((new / positives * (hits / seen)).sum())


@dataclasses.dataclass(frozen=True, slots=True)
class MeanAveragePrecision:
    """Average precision of each predicate, and means over those that are defined.

    Attributes:
        ap: by predicate, over all pairs; None where no pair is positive.
        ap_foreground: the same over pairs with at least one label.
        mean, mean_foreground: over all defined predicates; None if there is none.
        mean_star, mean_star_foreground: without the ignored predicates.
    """

    ap: tuple[float | None, ...]
    ap_foreground: tuple[float | None, ...]
    mean: float | None
    mean_star: float | None
    mean_foreground: float | None
    mean_star_foreground: float | None


def mean_average_precision(
    scores: FloatArray, labels: BoolArray, *, ignored: Collection[int] = ()
) -> MeanAveragePrecision:
    """The four means over pairs pooled from all pictures.

    Args:
        scores: ``[m, predicates]``.
        labels: bool ``[m, predicates]``, every pair labelled exhaustively.
        ignored: predicates that the starred means leave out.

    Raises:
        ShapeError, InputError: as for `average_precision`.
    """

    def column_ap(which: BoolArray) -> tuple[float | None, ...]:
        return tuple(
            average_precision(scores[which, k], labels[which, k]) for k in range(labels.shape[1])
        )

    def mean(values: Sequence[float | None], without: Collection[int] = ()) -> float | None:
        defined = [v for k, v in enumerate(values) if v is not None and k not in without]
        return sum(defined) / len(defined) if defined else None

    everywhere = column_ap(np.ones(len(labels), bool))
    foreground = column_ap(np.asarray(labels.any(1)))
    return MeanAveragePrecision(
        ap=everywhere,
        ap_foreground=foreground,
        mean=mean(everywhere),
        mean_star=mean(everywhere, ignored),
        mean_foreground=mean(foreground),
        mean_star_foreground=mean(foreground, ignored),
    )


def top_k_accuracy(scores: FloatArray, predicates: Int64Array, k: int) -> float:
    """Share of annotated triplets whose predicate is among the pair's ``k`` best.

    Args:
        scores: ``[t, predicates]``, the scores of each triplet's pair.
        predicates: int64 ``[t]``, the annotated one; ties count for the lower index.
        k: 1 or more.

    Raises:
        InputError: there is no triplet.
    """
    if not len(predicates):
        raise InputError("triplets: found none, expected at least one; give annotated pairs")
    own = np.take_along_axis(scores, predicates[:, None], 1)
    index = np.arange(scores.shape[1])
    rank = (scores > own).sum(1) + ((scores == own) & (index < predicates[:, None])).sum(1)
    return float((rank < k).mean())


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
        return Triplets(*(getattr(self, f.name)[:k] for f in dataclasses.fields(self)))


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
    """
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

    Attributes:
        image_mean: mean over the pictures with a true triplet.
        pooled: over all true triplets (Lu et al. 2016).
        predicate_mean: mR@K: per predicate the mean over pictures that hold it, then the mean over
            all predicates; one that no picture holds counts 0.
    """

    image_mean: float
    pooled: float
    predicate_mean: float


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
        k: predictions taken of each picture.
        num_predicates: size of the vocabulary.
        iou_threshold: least IoU of both subject and object.
        phrase: compare the boxes around both instead.

    Raises:
        InputError: no picture has a true triplet.
    """
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
        raise InputError("truth: found no triplet in any picture, expected at least one")
    return Recall(
        image_mean=sum(shares) / len(shares),
        pooled=hits / total,
        predicate_mean=sum(sum(v) / len(v) for v in by_predicate if v) / num_predicates,
    )


def _matches(true: Triplets, predicted: Triplets, threshold: float, phrase: bool) -> BoolArray:
    """bool ``[true, predicted]``."""
    same: BoolArray = np.ones((len(true), len(predicted)), bool)
    for name in ("subject_labels", "predicates", "object_labels"):
        same &= getattr(true, name)[:, None] == getattr(predicted, name)
    if phrase:
        return same & (box_iou(_around(true), _around(predicted)) >= threshold)
    subjects = box_iou(true.subject_boxes, predicted.subject_boxes) >= threshold
    return same & subjects & (box_iou(true.object_boxes, predicted.object_boxes) >= threshold)


def _around(triplets: Triplets) -> Float32Array:
    low = np.minimum(triplets.subject_boxes[:, :2], triplets.object_boxes[:, :2])
    high = np.maximum(triplets.subject_boxes[:, 2:], triplets.object_boxes[:, 2:])
    return np.concatenate([low, high], 1)


def box_iou(a: Float32Array, b: Float32Array) -> npt.NDArray[np.float64]:
    """Intersection over union of all boxes of ``a [n, 4]`` with ``b [k, 4]``; 0 for empty ones.

    Returns:
        float64 ``[n, k]``.
    """
    x, y = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    overlap = np.minimum(x[..., 2:], y[..., 2:]) - np.maximum(x[..., :2], y[..., :2])
    shared = overlap.clip(min=0).prod(-1)
    areas = (x[..., 2:] - x[..., :2]).prod(-1) + (y[..., 2:] - y[..., :2]).prod(-1)
    union = areas - shared
    iou: npt.NDArray[np.float64] = np.zeros(shared.shape)
    np.divide(shared, union, out=iou, where=union > 0)
    return iou


def wilson_interval(right: int, found: int, *, z: float = 1.96) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927); 95 % for ``z`` 1.96. (0, 1) for none found."""
    if found == 0:
        return 0.0, 1.0
    share = right / found
    centre = share + z * z / (2 * found)
    half = z * math.sqrt(share * (1 - share) / found + z * z / (4 * found * found))
    scale = 1 + z * z / found
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def bootstrap_interval(
    groups: Int64Array,
    statistic: Callable[[Int64Array], float | None],
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % percentile interval of a figure over samples that come in groups, such as pictures.

    Args:
        groups: int64 ``[m]``, the group of each sample; groups are drawn whole, with replacement.
        statistic: takes sample indices (with repeats); None where it is undefined.
        repeats: number of draws.
        seed: of the draws.

    Returns:
        Lower and upper bound over the draws where it is defined; None if it never is.
    """
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(repeats):
        drawn = generator.integers(len(members), size=len(members))
        value = statistic(np.concatenate([members[k] for k in drawn]))
        if value is not None:
            values.append(value)
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
