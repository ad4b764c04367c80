"""Figures of relation scores over pictures, and how sure they are: whole pictures are drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from benchmarks.relation_real_pairs import PREDICATES, Pairs
from vinfer.evaluation.relation_truth import LEFT_OUT, TRUE
from vinfer.types import Int64Array

Float64Array = npt.NDArray[np.float64]
Shown = float | list[float | None] | None

RECALL = 0.5
FALSE_A_PICTURE = 0.1
DRAWS = 1000
EVENTS = ("ride", "on")
"""What `vinfer run` reports with the prior."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Ranking:
    """Judged statements by score; equal scores enter together.

    Attributes:
        picture, true: of the statements, best first.
        ends: the last statement of each distinct score above 0.
    """

    picture: Int64Array
    true: npt.NDArray[np.bool_]
    ends: Int64Array

    @classmethod
    def of(cls, pairs: Pairs, scores: Float64Array, columns: list[int]) -> _Ranking:
        verdicts, values = pairs.verdicts[:, columns].ravel(), scores[:, columns].ravel()
        picture = np.repeat(pairs.picture, len(columns))
        # A score of 0 is nothing said: classes that the model does not know.
        stated = np.flatnonzero((verdicts != LEFT_OUT) & (values > 0))
        order = stated[np.argsort(-values[stated], kind="stable")]
        ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True)) if len(order) else order
        return cls(picture[order], verdicts[order] == TRUE, ends)

    def curve(self, weights: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Right and false statements down to each score; pictures count ``weights`` times."""
        each = weights[self.picture]
        return np.cumsum(each * self.true)[self.ends], np.cumsum(each * ~self.true)[self.ends]


class Figures:
    """Every figure of one model on one kind of boxes.

    Args:
        pairs: with their verdicts.
        scores: float64 ``[m, 5]`` in [0, 1].
    """

    def __init__(self, pairs: Pairs, scores: Float64Array) -> None:
        self._truths = pairs.truths
        columns = list(range(len(PREDICATES)))
        self._rankings = {
            name: _Ranking.of(pairs, scores, [k]) for k, name in enumerate(PREDICATES)
        }
        self._rankings["all"] = _Ranking.of(pairs, scores, columns)
        events = [PREDICATES.index(name) for name in EVENTS]
        self._rankings["events"] = _Ranking.of(pairs, scores, events)
        self._columns = {name: [k] for k, name in enumerate(PREDICATES)}
        self._columns |= {"all": columns, "events": events}

    def of(self, weights: Int64Array) -> dict[str, float]:
        """Figures by name, each picture counted so many times; NaN where one is undefined."""
        found: dict[str, float] = {}
        for name in PREDICATES:
            found[f"AP {name}"] = self._average_precision(name, weights)
        defined = [v for v in found.values() if not np.isnan(v)]
        found["mAP"] = float(np.mean(defined)) if defined else np.nan
        for name in ("all", "events"):
            right, false = self._rankings[name].curve(weights)
            total = float(weights @ self._truths[:, self._columns[name]].sum(1))
            pictures = float(weights.sum())
            reached = np.flatnonzero(right >= RECALL * total) if total else np.zeros(0, np.int64)
            # Not reached at all: no statement at that recall is right, and no number of false ones
            # would be enough.
            first = int(reached[0]) if len(reached) else None
            found[f"precision at recall .5, {name}"] = (
                0.0 if first is None else float(right[first] / (right[first] + false[first]))
            )
            found[f"false a picture at recall .5, {name}"] = (
                np.inf if first is None else float(false[first] / pictures)
            )
            allowed = right[false <= FALSE_A_PICTURE * pictures]
            most = float(allowed.max(initial=0.0))
            found[f"recall at .1 false a picture, {name}"] = most / total if total else np.nan
        return found

    def _average_precision(self, name: str, weights: Int64Array) -> float:
        right, false = self._rankings[name].curve(weights)
        total = float(weights @ self._truths[:, self._columns[name]].sum(1))
        if not total:
            return np.nan
        stated = np.maximum(right + false, 1)
        return float((np.diff(right, prepend=0) / total * right / stated).sum())


def drawn_figures(
    figures: dict[str, Figures], pictures: Int64Array, num_pictures: int, seed: int = 0
) -> dict[str, dict[str, Float64Array]]:
    """Figures on draws of whole pictures with replacement, the same draws for every model.

    Args:
        figures: by model.
        pictures: int64, those to draw from.
        num_pictures: that there are.
        seed: of the draws.

    Returns:
        By model and figure float64 ``[DRAWS]``.
    """
    generator = np.random.default_rng(seed)
    draws = [
        np.bincount(generator.choice(pictures, len(pictures)), minlength=num_pictures)
        for _ in range(DRAWS)
    ]
    result = {}
    for model, of_model in figures.items():
        rows = [of_model.of(weights) for weights in draws]
        result[model] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return result


def interval(values: Float64Array) -> list[float | None]:
    """95 % percentiles over the draws where the figure is defined; None for infinite."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return [None, None]
    ends = np.quantile(defined, [0.025, 0.975], method="nearest")
    return [float(end) if np.isfinite(end) else None for end in ends]


def report(
    figures: dict[str, Figures],
    pictures: Int64Array,
    num_pictures: int,
    *,
    base: str,
) -> dict[str, dict[str, dict[str, Shown]]]:
    """By model and figure: value, interval, and the interval of the difference to ``base``."""
    weights = np.bincount(pictures, minlength=num_pictures)
    drawn = drawn_figures(figures, pictures, num_pictures)
    result: dict[str, dict[str, dict[str, Shown]]] = {}
    for model, of_model in figures.items():
        result[model] = {}
        for name, value in of_model.of(weights).items():
            row: dict[str, Shown] = {
                "value": value if np.isfinite(value) else None,
                "interval": interval(drawn[model][name]),
            }
            if model != base:
                # Both unreached in a draw: no difference.
                mine, other = drawn[model][name], drawn[base][name]
                same = np.isinf(mine) & np.isinf(other)
                row["minus " + base] = interval(
                    np.subtract(mine, other, out=np.zeros_like(mine), where=~same)
                )
            result[model][name] = row
    return result
