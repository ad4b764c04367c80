"""Logistic regression for data of a few pictures: ridge penalty, offsets, folds of whole groups."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from vinfer.errors import TrainingError
from vinfer.types import Int64Array

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BIAS_PENALTY = 1e-3
"""Keeps the bias finite where all labels are equal, and changes nothing else that can be seen."""

MAX_SPREADS = 5.0
MAX_STEPS = 100
TOLERANCE = 1e-7
"""Of the gradient's largest entry, a sample."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LogisticModel:
    """A linear model of log odds: ``weights`` float64 ``[d]`` and a ``bias``."""

    weights: Float64Array
    bias: float

    def logits(self, features: Float64Array, offsets: Float64Array) -> Float64Array:
        """float64 ``[m]`` of features ``[m, d]`` and offsets ``[m]``."""
        return np.asarray(features @ self.weights + self.bias + offsets)


def fit_ridge_logistic(
    features: Float64Array,
    labels: BoolArray,
    offsets: Float64Array,
    *,
    penalty: float,
    start: LogisticModel | None = None,
) -> LogisticModel:
    """Minimise the sum of log losses and ``penalty / 2`` times the squared length of the weights.

    Newton's method with halved steps, so the result is the minimum itself and not where a number of
    epochs ended. With offsets that are another model's logits, a large penalty gives that model.

    Args:
        features: float64 ``[m, d]``, m >= 1, of comparable size (`Scaling`).
        labels: bool ``[m]``.
        offsets: float64 ``[m]``, added to the logits; 0 for none.
        penalty: > 0.
        start: where to begin, such as the solution for a neighbouring penalty; saves steps only.

    Raises:
        TrainingError: shapes do not fit together, a number is not finite, or the penalty is not
            above 0.
    """
    m = len(labels)
    if features.ndim != 2 or features.shape[0] != m or offsets.shape != (m,) or m == 0:
        raise TrainingError(
            f"found features {list(features.shape)}, {m} labels and offsets "
            f"{list(offsets.shape)}, expected [m, d], m and [m], m at least 1"
        )
    if not (np.isfinite(features).all() and np.isfinite(offsets).all()):
        raise TrainingError("features or offsets: found NaN or infinity, expected numbers")
    if not penalty > 0:
        raise TrainingError(f"penalty: found {penalty}, expected more than 0")
    design = np.column_stack([features, np.ones(m)])
    narrow = design.astype(np.float32)
    penalties = np.append(np.full(features.shape[1], penalty), BIAS_PENALTY)
    solution = np.zeros(len(penalties))
    if start is not None:
        solution = np.append(start.weights, start.bias)
    logits = design @ solution + offsets
    loss = _loss(logits, labels) + 0.5 * float(penalties @ solution**2)
    for _ in range(MAX_STEPS):
        chances = sigmoid(logits)
        gradient = design.T @ (chances - labels) + penalties * solution
        if np.abs(gradient).max() <= TOLERANCE * m:
            break
        # Half the time in float32; the gradient decides where the minimum is, not the curvature.
        weighted = narrow * (chances * (1 - chances)).astype(np.float32)[:, None]
        curvature = (weighted.T @ narrow).astype(np.float64)
        curvature[np.diag_indices_from(curvature)] += penalties
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while length > 1e-6:
            tried = solution - length * step
            tried_logits = design @ tried + offsets
            tried_loss = _loss(tried_logits, labels) + 0.5 * float(penalties @ tried**2)
            if tried_loss < loss:
                break
            length /= 2
        else:
            break  # rounding alone keeps the loss from falling: this is the minimum
        solution, logits, loss = tried, tried_logits, tried_loss
    return LogisticModel(solution[:-1], float(solution[-1]))


def sigmoid(logits: Float64Array) -> Float64Array:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def log_loss(logits: Float64Array, labels: BoolArray) -> float:
    """Mean over the samples."""
    return _loss(logits, labels) / len(labels)


def _loss(logits: Float64Array, labels: BoolArray) -> float:
    return float(np.logaddexp(0, np.where(labels, -logits, logits)).sum())


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Centre, spread and main directions of features, as the training samples have them.

    Further than `MAX_SPREADS` from the centre is as far as that: what one picture alone has, such
    as a rare class, would weigh most otherwise.

    Attributes:
        mean, spread: float64 ``[d]``; the spread of what never changes is 1.
        directions: float64 ``[d, k]``: the k main directions over the square root of d, so that
            blocks of features of different sizes meet a ridge penalty alike.
    """

    mean: Float64Array
    spread: Float64Array
    directions: Float64Array

    @classmethod
    def of(cls, features: npt.NDArray[np.floating], components: int) -> Scaling:
        """Of float ``[m, d]``, m >= 1; ``components``: most directions to keep."""
        wide = features.astype(np.float64)
        mean, spread = wide.mean(0), wide.std(0)
        spread = np.where(spread > 1e-6, spread, 1.0)
        d = wide.shape[1]
        if d <= components:
            return cls(mean, spread, np.eye(d) / np.sqrt(d))
        return cls(mean, spread, _main_directions(_standard(wide, mean, spread), components))

    def __call__(self, features: npt.NDArray[np.floating]) -> Float64Array:
        """float64 ``[m, k]``."""
        return np.asarray(_standard(features, self.mean, self.spread) @ self.directions)


def _main_directions(standard: Float64Array, components: int) -> Float64Array:
    """float64 ``[d, components]`` over the square root of d, by subspace iteration.

    A tenth of the time of all eigenvectors; the last few directions are not exact, and need not be.
    """
    d = standard.shape[1]
    single = standard.astype(np.float32)
    products = (single.T @ single).astype(np.float64)
    width = min(d, components + 16)
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, width)))
    for _ in range(8):
        basis, _ = np.linalg.qr(products @ basis)
    _, turn = np.linalg.eigh(basis.T @ products @ basis)  # ascending
    return np.asarray(basis @ turn[:, ::-1][:, :components] / np.sqrt(d))


def _standard(
    features: npt.NDArray[np.floating], mean: Float64Array, spread: Float64Array
) -> Float64Array:
    return np.asarray(np.clip((features - mean) / spread, -MAX_SPREADS, MAX_SPREADS))


def group_folds(groups: Int64Array, num_folds: int, seed: int) -> Int64Array:
    """Divide samples into folds of about as many groups each, such as pictures.

    Args:
        groups: int64 ``[m]``, the group of each sample; a group is never divided.
        num_folds: 2 or more, at most as many as there are groups.
        seed: of the draw, which depends on the set of groups and on nothing else.

    Returns:
        int64 ``[m]``, the fold of each sample, in [0, ``num_folds``).

    Raises:
        TrainingError: there are fewer groups than folds, or fewer than 2 folds.
    """
    names, group = np.unique(groups, return_inverse=True)
    if not 2 <= num_folds <= len(names):
        raise TrainingError(
            f"folds: found {num_folds} for {len(names)} groups, expected 2 or more and at most as "
            "many as there are groups"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    fold = np.empty(len(names), np.int64)
    fold[order] = np.arange(len(names)) % num_folds
    return fold[group.reshape(-1)]
