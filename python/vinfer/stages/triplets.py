"""Triplets of one picture from predicate probabilities: scores, order, suppression, limit."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from vinfer.errors import ConfigError, InputError, ShapeError
from vinfer.stages.box_iou import box_iou
from vinfer.types import Detections, Float32Array, Int32Array, Int64Array, Relations

TripletScore = Literal["product", "predicate"]
"""``product``: both objects' detection scores times the predicate's probability; ``predicate``: the
probability alone, for events, where the detector has a threshold of its own."""


def candidate_triplets(
    pairs: Int32Array,
    probabilities: Float32Array,
    names: tuple[str, ...],
    *,
    min_probability: float = 0.05,
) -> Relations:
    """Every pair and predicate whose probability reaches the threshold, pair by pair.

    Args:
        pairs: int32 ``[m, 2]``, indices of subject and object; a pair of an object with itself
            gives no candidate.
        probabilities: float32 ``[m, predicates]`` in [0, 1].
        names: the predicates.
        min_probability: in [0, 1], compared in float32; a probability equal to it passes.

    Returns:
        Candidates with their probability as score.

    Raises:
        ShapeError: the arrays do not fit together.
        InputError: a probability is NaN.
        ConfigError: ``min_probability`` is out of range.
    """
    if probabilities.shape != (len(pairs), len(names)):
        raise ShapeError(
            f"probabilities: found {list(probabilities.shape)}, expected "
            f"{[len(pairs), len(names)]}: a row a pair, a column a predicate"
        )
    if not 0 <= min_probability <= 1:
        raise ConfigError(f"min_probability: found {min_probability}, expected a number in [0, 1]")
    _refuse_nan("probabilities", probabilities)
    related = (probabilities >= np.float32(min_probability)) & (pairs[:, :1] != pairs[:, 1:])
    row, predicate = np.nonzero(related)
    return Relations(pairs[row], predicate.astype(np.int32), probabilities[row, predicate], names)


def select_triplets(
    detections: Detections,
    candidates: Relations,
    *,
    score: TripletScore = "product",
    nms_iou: float | None = 0.7,
    graph_constraint: bool = False,
    limit: int | None = 100,
) -> Relations:
    """Score, order, suppress and cut the candidates of one picture, in this order.

    A triplet goes if a better one with the same classes and predicate stays whose subject and
    object both overlap its own by more than ``nms_iou``. Different predicates never suppress each
    other.

    Args:
        detections: the picture's objects.
        candidates: predicate probabilities of pairs of them, in any order.
        score: what the result's scores are, computed in float32 from left to right: subject's
            score, object's, probability.
        nms_iou: in [0, 1]; None suppresses nothing.
        graph_constraint: keep only the best predicate of each ordered pair.
        limit: how many at most, 0 or more; None for all.

    Returns:
        Triplets by score descending, then subject, object and predicate ascending.

    Raises:
        ConfigError: an option is out of range.
        InputError: a score is NaN.
    """
    if score not in ("product", "predicate"):
        raise ConfigError(f'score: found {score!r}, expected "product" or "predicate"')
    if nms_iou is not None and not 0 <= nms_iou <= 1:
        raise ConfigError(f"nms_iou: found {nms_iou}, expected a number in [0, 1] or None")
    if limit is not None and limit < 0:
        raise ConfigError(f"limit: found {limit}, expected 0 or more, or None for all")
    subjects, objects = candidates.pairs.T
    scores = candidates.scores
    if score == "product":
        scores = detections.scores[subjects] * detections.scores[objects] * scores
    _refuse_nan("scores", scores)
    order = np.lexsort((candidates.predicates, objects, subjects, -scores))
    ranked = Relations(
        candidates.pairs[order], candidates.predicates[order], scores[order], candidates.names
    )
    if nms_iou is not None:
        ranked = ranked.select(_survivors(detections, ranked, nms_iou))
    if graph_constraint:
        ranked = ranked.select(_first_of_each_pair(ranked.pairs))
    return ranked.select(np.arange(len(ranked))[:limit])


def _survivors(detections: Detections, ranked: Relations, nms_iou: float) -> npt.NDArray[np.bool_]:
    overlap = box_iou(detections.boxes, detections.boxes)
    subjects, objects = ranked.pairs.T
    kinds = np.stack([detections.labels[subjects], ranked.predicates, detections.labels[objects]])
    _, kind = np.unique(kinds, axis=1, return_inverse=True)
    kind = kind.reshape(-1)
    alive: npt.NDArray[np.bool_] = np.ones(len(ranked), np.bool_)
    for best in range(len(ranked)):
        if not alive[best]:
            continue
        rest = best + 1 + np.flatnonzero(alive[best + 1 :] & (kind[best + 1 :] == kind[best]))
        both = np.minimum(
            overlap[subjects[best], subjects[rest]], overlap[objects[best], objects[rest]]
        )
        alive[rest[both > nms_iou]] = False
    return alive


def _first_of_each_pair(pairs: Int32Array) -> Int64Array:
    _, first = np.unique(pairs, axis=0, return_index=True)
    return np.sort(first).astype(np.int64)


def _refuse_nan(name: str, values: Float32Array) -> None:
    missing = int(np.isnan(values).sum())
    if missing:
        raise InputError(f"{name}: found {missing} NaN, expected numbers; nothing ranks by NaN")
