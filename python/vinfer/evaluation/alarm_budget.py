"""Recall at a budget of false alarms: how many events are found if one may be wrong an hour?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vinfer.errors import InputError, ShapeError
from vinfer.evaluation.events import EventEvaluation
from vinfer.evaluation.relations import BoolArray, FloatArray
from vinfer.evaluation.uncertainty import poisson_upper_bound

BUDGETS = (1.0, 0.1, 0.01)
"""False events a minute: a demo's, an operator's, an unattended camera's."""


@dataclasses.dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What is left if events below a score are dropped.

    Attributes:
        threshold: the least score that stays; None: nothing stays.
        right, false: events that stay, by whether they are true.
        recall: ``right`` over the true events; None where there is none.
        precision: ``right`` over what stays; None where nothing does.
        false_per_minute: ``false`` over the minutes watched.
    """

    threshold: float | None
    right: int
    false: int
    recall: float | None
    precision: float | None
    false_per_minute: float


@dataclasses.dataclass(frozen=True, slots=True)
class BudgetFigures:
    """The best that can be had within a budget.

    Attributes:
        budget: false events a minute.
        point: the point of the curve with the largest recall within the budget, of equals the one
            with the highest threshold.
        upper_false_per_minute: with 95 % confidence the true rate at this threshold is below it
            (exact Poisson bound; the choice of the threshold on the same clips is not accounted
            for).
        resolvable: whether so much video, with no false event at all in it, would show with the
            same confidence that the rate is within the budget: about 3 / budget minutes. If not,
            ``point`` is what happened in these clips, not what to expect elsewhere.
    """

    budget: float
    point: OperatingPoint
    upper_false_per_minute: float
    resolvable: bool


@dataclasses.dataclass(frozen=True, slots=True)
class AlarmBudget:
    """Recall against false events a minute.

    Attributes:
        minutes: of video watched.
        truths: true events in it.
        least_provable: the smallest rate that so much video can show, false events a minute.
        budgets: figures by budget, in the order asked for.
        curve: a point for each different score, the highest first, after the point at which
            nothing stays.
    """

    minutes: float
    truths: int
    least_provable: float
    budgets: tuple[BudgetFigures, ...]
    curve: tuple[OperatingPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return dataclasses.asdict(self)


def alarm_budget(
    scores: FloatArray,
    right: BoolArray,
    *,
    num_truths: int,
    minutes: float,
    budgets: Sequence[float] = BUDGETS,
) -> AlarmBudget:
    """Work out the curve and what it gives within each budget.

    Args:
        scores: ``[m]``, of the predicted events; equal ones stay or go together.
        right: bool ``[m]``, whether the event is true, each true one counted once.
        num_truths: how many true events there are.
        minutes: of video watched, above 0.
        budgets: false events a minute, each above 0.

    Raises:
        ShapeError: the arrays differ in length.
        InputError: a score is NaN, ``minutes`` or a budget is not positive, or more events are
            right than there are true ones.
    """
    if scores.shape != right.shape or scores.ndim != 1:
        raise ShapeError(
            f"scores, right: found shapes {list(scores.shape)} and {list(right.shape)}, "
            "expected [m] both"
        )
    if np.isnan(scores).any():
        raise InputError(f"scores: found {int(np.isnan(scores).sum())} NaN, expected numbers")
    if not (0 < minutes < math.inf):
        raise InputError(f"minutes: found {minutes}, expected the length of the video, above 0")
    if not all(budget > 0 for budget in budgets):
        raise InputError(f"budgets: found {list(budgets)}, expected false events a minute, above 0")
    if right.sum() > num_truths:
        raise InputError(
            f"num_truths: found {num_truths} for {int(right.sum())} right events, expected at "
            "least as many"
        )
    curve = _curve(scores, right, num_truths, minutes)
    least = poisson_upper_bound(0) / minutes
    return AlarmBudget(
        minutes=minutes,
        truths=num_truths,
        least_provable=least,
        budgets=tuple(_within(budget, curve, minutes, least) for budget in budgets),
        curve=curve,
    )


def alarm_budget_of_events(
    evaluation: EventEvaluation, *, budgets: Sequence[float] = BUDGETS
) -> AlarmBudget | None:
    """The same for events that were compared with labels; None where the length is not known.

    Events that were ignored there (labels too uncertain to count) are left out here as well. The
    matching is greedy by score, so dropping low scores changes nothing about the others.

    Raises:
        InputError: a score is NaN or a budget is not positive.
    """
    if not evaluation.hours:
        return None
    matched = [match.predicted.score for match in evaluation.matches]
    false = [event.predicted.score for event in evaluation.false]
    return alarm_budget(
        np.array([*matched, *false], np.float64),
        np.repeat([True, False], [len(matched), len(false)]),
        num_truths=len(matched) + len(evaluation.missed),
        minutes=evaluation.hours * 60,
        budgets=budgets,
    )


def _curve(
    scores: FloatArray, right: BoolArray, num_truths: int, minutes: float
) -> tuple[OperatingPoint, ...]:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_tie = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    counts = np.cumsum(right[order])[last_of_tie].tolist()

    def point(threshold: float | None, stay: int, hits: int) -> OperatingPoint:
        return OperatingPoint(
            threshold=threshold,
            right=hits,
            false=stay - hits,
            recall=hits / num_truths if num_truths else None,
            precision=hits / stay if stay else None,
            false_per_minute=(stay - hits) / minutes,
        )

    points = [point(None, 0, 0)]
    for last, hits in zip(last_of_tie.tolist(), counts, strict=True):
        points.append(point(float(ranked[last]), last + 1, hits))
    return tuple(points)


def _within(
    budget: float, curve: Sequence[OperatingPoint], minutes: float, least_provable: float
) -> BudgetFigures:
    # 3 false in 30 minutes are 0.1 a minute, whatever the last bit of a length in hours says.
    affordable = [point for point in curve if point.false_per_minute <= budget * (1 + 1e-12)]
    # `max` takes the first of equals: the highest threshold.
    best = max(affordable, key=lambda point: point.right)
    return BudgetFigures(
        budget=budget,
        point=best,
        upper_false_per_minute=poisson_upper_bound(best.false) / minutes,
        resolvable=least_provable <= budget,
    )
