"""The score of the Open Images visual relationship detection challenge."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np

from vinfer.errors import InputError, ShapeError
from vinfer.evaluation.relations import BoolArray, FloatArray, ap_voc
from vinfer.evaluation.scene_graph import Triplets, pair_overlap, same_labels


@dataclasses.dataclass(frozen=True, slots=True)
class ChallengeFigures:
    """One of the challenge's two detection tasks.

    Attributes:
        ap: by predicate (VOC 2010); None where the truth has none of it.
        mean_ap: over the defined ones; None if there is none.
        recall: share of the true triplets among the first K predictions of each picture; None
            without a true triplet.
    """

    ap: tuple[float | None, ...]
    mean_ap: float | None
    recall: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class OpenImagesScore:
    """The challenge's figures.

    Attributes:
        relation: subject and object boxes must both fit.
        phrase: the box around both must fit.
        score: 0.4 ``relation.mean_ap`` + 0.4 ``phrase.mean_ap`` + 0.2 ``relation.recall``; None
            without a true triplet.
    """

    relation: ChallengeFigures
    phrase: ChallengeFigures
    score: float | None


def open_images_score(
    truth: Sequence[Triplets],
    predictions: Sequence[Triplets],
    scores: Sequence[FloatArray],
    *,
    num_predicates: int,
    verified: Sequence[Collection[int]] | None = None,
    iou_threshold: float = 0.5,
    k: int = 50,
) -> OpenImagesScore:
    """Score predictions as the challenge of 2018 and 2019 did.

    Follows the metric's page and, where the two differ, the evaluator of TensorFlow's Object
    Detection API (``vrd_evaluation``), but for its sort, which leaves ties to chance: here equal
    scores keep the order of pictures and of ranks.

    Args:
        truth: one entry a picture.
        predictions: the same pictures in the same order, each ranked (`select_triplets`).
        scores: their scores, ``[t]`` a picture, descending.
        num_predicates: size of the vocabulary.
        verified: by picture the classes that were verified as present or absent there. A
            prediction with another class neither helps nor hurts; one with a class verified absent
            is wrong. None: the classes of the picture's true triplets.
        iou_threshold: least overlap, inclusive.
        k: predictions of each picture that count for the recall.

    Raises:
        InputError: the sides have other numbers of pictures, or scores are NaN or not descending.
        ShapeError: a picture has other numbers of scores and predictions.
    """
    known = [_classes(true) for true in truth] if verified is None else verified
    _check(truth, predictions, scores, known)
    kept = [
        np.isin(predicted.subject_labels, list(classes))
        & np.isin(predicted.object_labels, list(classes))
        for predicted, classes in zip(predictions, known, strict=True)
    ]
    counted = [predicted.select(which) for predicted, which in zip(predictions, kept, strict=True)]
    counted_scores = [values[which] for values, which in zip(scores, kept, strict=True)]

    def figures(phrase: bool) -> ChallengeFigures:
        hits = [
            challenge_hits(true, predicted, iou_threshold=iou_threshold, phrase=phrase)
            for true, predicted in zip(truth, counted, strict=True)
        ]
        return _figures(truth, counted, counted_scores, hits, num_predicates, k)

    relation, phrase = figures(phrase=False), figures(phrase=True)
    score = None
    if relation.mean_ap is not None and phrase.mean_ap is not None and relation.recall is not None:
        score = 0.4 * relation.mean_ap + 0.4 * phrase.mean_ap + 0.2 * relation.recall
    return OpenImagesScore(relation, phrase, score)


def challenge_hits(
    true: Triplets, predicted: Triplets, *, iou_threshold: float = 0.5, phrase: bool = False
) -> BoolArray:
    """Which predictions of a picture are right; a true triplet is used once.

    In order of rank a prediction takes the true triplet of its three labels that it overlaps most
    (the first of equals). If that is used already or overlaps too little, the prediction is wrong;
    it gets no second choice.

    Returns:
        bool ``[predicted]``.
    """
    hits: BoolArray = np.zeros(len(predicted), bool)
    if not len(true):
        return hits
    overlap = np.where(same_labels(true, predicted), pair_overlap(true, predicted, phrase), -1.0)
    used: set[int] = set()
    for rank, best in enumerate(overlap.argmax(0).tolist()):
        hits[rank] = overlap[best, rank] >= iou_threshold and best not in used
        if hits[rank]:
            used.add(best)
    return hits


def _figures(
    truth: Sequence[Triplets],
    predictions: Sequence[Triplets],
    scores: Sequence[FloatArray],
    hits: Sequence[BoolArray],
    num_predicates: int,
    k: int,
) -> ChallengeFigures:
    found = np.concatenate([*hits, np.zeros(0, bool)])
    pooled = np.concatenate([*scores, np.zeros(0)])
    predicate = np.concatenate([*(p.predicates for p in predictions), np.zeros(0, np.int64)])
    wanted = np.concatenate([*(t.predicates for t in truth), np.zeros(0, np.int64)])
    ap = tuple(
        ap_voc(pooled[predicate == p], found[predicate == p], int((wanted == p).sum()))
        for p in range(num_predicates)
    )
    defined = [value for value in ap if value is not None]
    early = sum(int(these[:k].sum()) for these in hits)
    return ChallengeFigures(
        ap=ap,
        mean_ap=sum(defined) / len(defined) if defined else None,
        recall=early / len(wanted) if len(wanted) else None,
    )


def _classes(true: Triplets) -> set[int]:
    return {*true.subject_labels.tolist(), *true.object_labels.tolist()}


def _check(
    truth: Sequence[Triplets],
    predictions: Sequence[Triplets],
    scores: Sequence[FloatArray],
    verified: Sequence[Collection[int]],
) -> None:
    counts = (len(truth), len(predictions), len(scores), len(verified))
    if len(set(counts)) > 1:
        raise InputError(
            "truth, predictions, scores, verified: found {} and {} and {} and {} pictures, "
            "expected the same number".format(*counts)
        )
    for number, (predicted, values) in enumerate(zip(predictions, scores, strict=True)):
        if values.shape != (len(predicted),):
            raise ShapeError(
                f"scores[{number}]: found shape {list(values.shape)}, expected {[len(predicted)]}"
            )
        if np.isnan(values).any():
            raise InputError(f"scores[{number}]: found NaN, expected numbers")
        if (np.diff(values) > 0).any():
            raise InputError(
                f"scores[{number}]: found a higher score after a lower one, expected ranked "
                "predictions; sort them with vinfer.stages.triplets.select_triplets"
            )
