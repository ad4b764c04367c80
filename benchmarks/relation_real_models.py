"""Relation models that are fitted to the labelled pictures, scored on those they have not seen."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.relation_real_pairs import PREDICATES, Pairs
from vinfer.evaluation.relation_truth import LEFT_OUT, TRUE
from vinfer.training.relation_model import pair_geometry
from vinfer.training.ridge_logistic import (
    LogisticModel,
    Scaling,
    fit_ridge_logistic,
    group_folds,
    log_loss,
    sigmoid,
)
from vinfer.training.vocabulary import PREDICATES as PRIOR_PREDICATES
from vinfer.types import Int64Array

Float64Array = npt.NDArray[np.float64]

OUTER_FOLDS, INNER_FOLDS = 10, 3
PENALTIES = (100.0, 10.0, 1.0, 0.1, 0.01, 0.001)  # each fit starts from the one before
COMPONENTS = 40
NUM_CLASSES = 80
LEAST_SCORE = 1e-4  # of the prior, before its logarithm is taken


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """What a fitted model gets to know.

    Attributes:
        prior: the prior's logits of all its predicates; that of the predicate itself is also where
            the fit starts from, so that a strong penalty leaves the prior as it is.
        boxes: both classes and the geometry of the boxes.
        visual: the frozen trunk's features.
    """

    prior: bool = False
    boxes: bool = False
    visual: bool = False


CANDIDATES = {
    "boxes": Candidate(boxes=True),
    "visual": Candidate(visual=True),
    "visual + boxes": Candidate(visual=True, boxes=True),
    "prior, refitted": Candidate(prior=True),
    "prior + boxes": Candidate(prior=True, boxes=True),
    "prior x visual": Candidate(prior=True, visual=True),
    "prior x visual + boxes": Candidate(prior=True, visual=True, boxes=True),
}


def prior_scores(pairs: Pairs) -> Float64Array:
    """float64 ``[m, 5]``: the prior as it is; 0 for classes that it does not know."""
    return np.nan_to_num(pairs.prior[:, _own_columns()], nan=0.0)


def cross_validated(
    candidate: Candidate, training: Pairs, asked: list[Pairs], seed: int
) -> tuple[list[Float64Array], dict[str, list[float]]]:
    """Scores of each picture by a model that was fitted to other pictures only.

    Everything is done within the training pictures of a fold: scaling, main directions, the choice
    of the penalty (by log loss, in a cross-validation of its own) and the fit.

    Args:
        candidate: what the model gets.
        training: pairs with true boxes.
        asked: pairs to score, of the same pictures.
        seed: of the division into folds.

    Returns:
        float64 ``[m, 5]`` for each of ``asked``, and the penalties chosen, by predicate.
    """
    num_pictures = len(training.truths)
    fold_of = group_folds(np.arange(num_pictures), OUTER_FOLDS, seed)
    blocks = [_blocks(candidate, pairs) for pairs in (training, *asked)]
    scores = [np.zeros((len(pairs.picture), len(PREDICATES))) for pairs in asked]
    chosen: dict[str, list[float]] = {name: [] for name in PREDICATES}
    for fold in range(OUTER_FOLDS):
        seen = np.flatnonzero(fold_of[training.picture] != fold)
        inner = group_folds(training.picture[seen], INNER_FOLDS, seed)
        penalties = _choose(candidate, training, blocks[0], seen, inner)
        model = _Fitted(candidate, training, blocks[0], seen)
        for k, (name, penalty) in enumerate(zip(PREDICATES, penalties, strict=True)):
            chosen[name].append(penalty)
            fitted = model.path(k, penalty)[penalty]
            for result, pairs, of_pairs in zip(scores, asked, blocks[1:], strict=True):
                new = np.flatnonzero(fold_of[pairs.picture] == fold)
                result[new, k] = sigmoid(model.logits(fitted, k, pairs, of_pairs, new))
    return scores, chosen


def _choose(
    candidate: Candidate,
    pairs: Pairs,
    blocks: list[np.ndarray],
    rows: Int64Array,
    folds: Int64Array,
) -> list[float]:
    """The penalty of each predicate with the least log loss over the inner folds."""
    losses = np.zeros((len(PREDICATES), len(PENALTIES)))
    for fold in range(INNER_FOLDS):
        model = _Fitted(candidate, pairs, blocks, rows[folds != fold])
        for k in range(len(PREDICATES)):
            new = rows[folds == fold]
            new = new[pairs.verdicts[new, k] != LEFT_OUT]
            labels = pairs.verdicts[new, k] == TRUE
            for p, fitted in enumerate(model.path(k, PENALTIES[-1]).values()):
                logits = model.logits(fitted, k, pairs, blocks, new)
                losses[k, p] += log_loss(logits, labels) * len(new)
    return [PENALTIES[p] for p in losses.argmin(1)]


class _Fitted:
    """Scaling and fits on some rows of the training pairs."""

    def __init__(
        self, candidate: Candidate, pairs: Pairs, blocks: list[np.ndarray], rows: Int64Array
    ) -> None:
        self._scalings = [Scaling.of(block[rows], COMPONENTS) for block in blocks]
        self._features = self._scaled(blocks, rows)
        self._verdicts = pairs.verdicts[rows]
        self._prior = candidate.prior
        # Where the prior knows a class not: log odds that any such pair has.
        unknown = self._verdicts[np.isnan(pairs.prior[rows, 0])]
        right, judged = (unknown == TRUE).sum(0), (unknown != LEFT_OUT).sum(0)
        self._unknown = np.log((right + 0.5) / (judged - right + 0.5))
        self._offsets = [self._offset(k, pairs, rows) for k in range(len(PREDICATES))]

    def path(self, k: int, last: float) -> dict[float, LogisticModel]:
        """The models of predicate k for all penalties down to ``last``."""
        used = self._verdicts[:, k] != LEFT_OUT
        features, offsets = self._features[used], self._offsets[k][used]
        labels = self._verdicts[used, k] == TRUE
        models: dict[float, LogisticModel] = {}
        before = None
        for penalty in PENALTIES[: PENALTIES.index(last) + 1]:
            before = fit_ridge_logistic(features, labels, offsets, penalty=penalty, start=before)
            models[penalty] = before
        return models

    def logits(
        self,
        model: LogisticModel,
        k: int,
        pairs: Pairs,
        blocks: list[np.ndarray],
        rows: Int64Array,
    ) -> Float64Array:
        return model.logits(self._scaled(blocks, rows), self._offset(k, pairs, rows))

    def _scaled(self, blocks: list[np.ndarray], rows: Int64Array) -> Float64Array:
        parts = [s(block[rows]) for s, block in zip(self._scalings, blocks, strict=True)]
        return np.concatenate(parts, 1)

    def _offset(self, k: int, pairs: Pairs, rows: Int64Array) -> Float64Array:
        if not self._prior:
            return np.zeros(len(rows))
        own = pairs.prior[rows, _own_columns()[k]]
        return np.where(np.isnan(own), self._unknown[k], _log_odds(own))


def _blocks(candidate: Candidate, pairs: Pairs) -> list[np.ndarray]:
    blocks = []
    if candidate.prior:
        known = ~np.isnan(pairs.prior[:, :1])
        blocks.append(np.concatenate([np.where(known, _log_odds(pairs.prior), 0.0), known], 1))
    if candidate.boxes:
        one_hot = np.eye(NUM_CLASSES)
        blocks.append(
            np.concatenate([one_hot[pairs.subject_labels], one_hot[pairs.object_labels]], 1)
        )
        corners = torch.from_numpy(pairs.subject_boxes), torch.from_numpy(pairs.object_boxes)
        blocks.append(pair_geometry(*corners).numpy())
    if candidate.visual:
        blocks.append(pairs.visual)
    return blocks


def _log_odds(scores: Float64Array) -> Float64Array:
    inside = np.clip(scores, LEAST_SCORE, 1 - LEAST_SCORE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _own_columns() -> list[int]:
    return [PRIOR_PREDICATES.index(name) for name in PREDICATES]
