"""Quality of relation scores: average precision of predicates, top-K accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError, ShapeError
from vinfer.types import Int64Array

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


def average_precision(scores: FloatArray, labels: BoolArray) -> float | None:
    """Average precision without interpolation; equal scores enter together, as one point.

    Args:
        scores: ``[m]``, any numbers but NaN; higher is more likely.
        labels: bool ``[m]``.

    Returns:
        In (0, 1], whatever the order of the samples; None without a positive.

    Raises:
        ShapeError: the arrays differ in length.
        InputError: a score is NaN.
    """
    _check_samples(scores, labels)
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


def ap_voc(scores: FloatArray, labels: BoolArray, num_truths: int) -> float | None:
    """Average precision under the precision envelope (VOC 2010; Everingham et al.).

    Precision at each recall is the largest at that recall or a higher one. Equal scores keep the
    order in which they are given, as in the reference evaluators: put them in an order of your own
    where the figure must not depend on it, or use `average_precision`.

    Args:
        scores: ``[m]``, of the predictions.
        labels: bool ``[m]``, which of them are right.
        num_truths: how many there are to find, at least the number of right predictions.

    Returns:
        In [0, 1]; 0 without a prediction, None where there is nothing to find.

    Raises:
        ShapeError: the arrays differ in length.
        InputError: a score is NaN, or more predictions are right than ``num_truths``.
    """
    _check_samples(scores, labels)
    if labels.sum() > num_truths:
        raise InputError(
            f"num_truths: found {num_truths} for {int(labels.sum())} right predictions, expected "
            "at least as many; a true relation may be found once"
        )
    if num_truths == 0:
        return None
    hits = labels[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / num_truths)


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
    """mAP, mAP*, mAP_FG and mAP*_FG over pairs pooled from all pictures.

    Samples are the ordered pairs of the annotated objects, so that an unrelated pair with a high
    score costs precision (de Moura Estevão Filho et al., ICIP 2020).

    Args:
        scores: ``[m, predicates]``.
        labels: bool ``[m, predicates]``, every pair labelled exhaustively.
        ignored: predicates that the starred means leave out.

    Raises:
        ShapeError: the arrays are not ``[m, predicates]`` both.
        InputError: a score is NaN.
    """
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ShapeError(
            f"scores, labels: found shapes {list(scores.shape)} and {list(labels.shape)}, "
            "expected [m, predicates] both"
        )

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


def _check_samples(scores: FloatArray, labels: BoolArray) -> None:
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
