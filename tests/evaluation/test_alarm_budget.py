"""Recall at a budget of false alarms, by hand and by its properties."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError, ShapeError
from vinfer.evaluation.alarm_budget import alarm_budget, alarm_budget_of_events
from vinfer.evaluation.events import evaluate_events
from vinfer.types import Event, Participant

SCORES = np.array([0.9, 0.8, 0.8, 0.7, 0.6])
RIGHT = np.array([True, False, True, True, False])


def test_figures_by_hand() -> None:
    found = alarm_budget(SCORES, RIGHT, num_truths=4, minutes=10)
    assert [(p.threshold, p.right, p.false) for p in found.curve] == [
        (None, 0, 0),
        (0.9, 1, 0),
        (0.8, 2, 1),
        (0.7, 3, 1),
        (0.6, 3, 2),
    ]
    one, tenth, hundredth = found.budgets
    # 0.6 is affordable at one a minute, but finds no more than 0.7.
    assert (one.point.threshold, one.point.recall, one.point.precision) == (0.7, 0.75, 0.75)
    assert one.point.false_per_minute == 0.1
    assert tenth.point == one.point
    assert (hundredth.point.threshold, hundredth.point.recall) == (0.9, 0.25)
    # None seen in 10 minutes: below 0.3 a minute. One seen: 4.744 in 10 minutes.
    assert found.least_provable == pytest.approx(0.29957, abs=1e-5)
    assert [figures.resolvable for figures in found.budgets] == [True, False, False]
    assert one.upper_false_per_minute == pytest.approx(0.47439, abs=1e-5)
    assert hundredth.upper_false_per_minute == found.least_provable


def test_rule_of_three() -> None:
    for minutes, budget, resolvable in ((4, 0.7, False), (4, 0.75, True), (300, 0.01, True)):
        (found,) = alarm_budget(
            np.zeros(0), np.zeros(0, bool), num_truths=0, minutes=minutes, budgets=[budget]
        ).budgets
        assert found.resolvable is resolvable


def test_nothing_predicted_and_nothing_true() -> None:
    found = alarm_budget(np.zeros(0), np.zeros(0, bool), num_truths=2, minutes=1)
    assert len(found.curve) == 1
    assert found.budgets[0].point.recall == 0
    assert found.budgets[0].point.precision is None
    nothing = alarm_budget(np.ones(1), np.zeros(1, bool), num_truths=0, minutes=1)
    assert nothing.curve[1].recall is None
    assert nothing.curve[1].precision == 0


def test_equal_scores_stay_or_go_together() -> None:
    found = alarm_budget(np.full(3, 0.5), np.array([True, True, False]), num_truths=2, minutes=4)
    assert [(p.right, p.false) for p in found.curve] == [(0, 0), (2, 1)]
    assert [figures.point.right for figures in found.budgets] == [2, 0, 0]


def test_a_budget_that_is_met_exactly() -> None:
    # 0.7 hours are a little less than 42 minutes in floating point.
    scores, right = np.array([0.9, 0.8]), np.array([False, True])
    found = alarm_budget(scores, right, num_truths=1, minutes=0.7 / 7 * 60, budgets=[1 / 6])
    assert found.budgets[0].point.right == 1


rows = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=20)


@given(rows, st.randoms())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_the_order_of_events_does_not_matter(samples: list[tuple[int, bool]], random: Any) -> None:
    def figures(these: list[tuple[int, bool]]) -> dict[str, Any]:
        scores = np.array([row[0] for row in these], float)
        right = np.array([row[1] for row in these], bool)
        return alarm_budget(scores, right, num_truths=25, minutes=7).to_dict()

    shuffled = random.sample(samples, len(samples))
    assert figures(samples) == figures(shuffled)


@given(rows)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_a_larger_budget_finds_no_less(samples: list[tuple[int, bool]]) -> None:
    scores = np.array([row[0] for row in samples], float)
    right = np.array([row[1] for row in samples], bool)
    found = alarm_budget(scores, right, num_truths=25, minutes=2, budgets=[4, 2, 1, 0.5, 0.1])
    recalls = [figures.point.right for figures in found.budgets]
    assert recalls == sorted(recalls, reverse=True)
    for figures in found.budgets:
        assert figures.point.false_per_minute <= figures.budget
        assert figures.point.false_per_minute < figures.upper_false_per_minute


def test_refusals() -> None:
    with pytest.raises(ShapeError, match=r"\[5\] and \[4\]"):
        alarm_budget(SCORES, RIGHT[:4], num_truths=4, minutes=10)
    with pytest.raises(InputError, match="found 5 NaN"):
        alarm_budget(SCORES * np.nan, RIGHT, num_truths=4, minutes=10)
    for minutes in (0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="minutes: found"):
            alarm_budget(SCORES, RIGHT, num_truths=4, minutes=minutes)
    with pytest.raises(InputError, match="budgets: found"):
        alarm_budget(SCORES, RIGHT, num_truths=4, minutes=10, budgets=[0])
    with pytest.raises(InputError, match="found 2 for 3 right"):
        alarm_budget(SCORES, RIGHT, num_truths=2, minutes=10)


def ride(start: int, score: float, *, label: str = "bicycle") -> Event:
    box = (0.0, 0.0, 1.0, 1.0)
    return Event(
        type="close",
        event_id=f"{start:08x}{int(score * 1000):08x}",
        stream="clip",
        start=Fraction(start),
        end=Fraction(start + 2),
        start_frame=start,
        end_frame=start + 2,
        subject=Participant("person", 1, box),
        predicate="ride",
        object=Participant(label, 2, box),
        score=score,
        peak_score=score,
        peak_time=Fraction(start),
        peak_frame=start,
        support=3,
    )


def labels(folder: Path, **more: Any) -> Path:
    path = folder / "truth.json"
    rides = [
        {"subject": "man", "predicate": "ride", "object": "bike", "start": start, "end": start + 2}
        | {"certainty": certainty}
        for start, certainty in ((0, "sure"), (10, "sure"), (20, "doubtful"))
    ]
    presence = [{"id": "man", "class": "person"}, {"id": "bike", "class": "bicycle"}]
    document = {"schema": "vinfer-events-truth/1", "video": "clip.mp4", "presence": presence}
    path.write_text(json.dumps(document | {"events": rides} | more))
    return path


def test_of_events(tmp_path: Path) -> None:
    predicted = [
        ride(0, 0.9),
        ride(1, 0.8),  # the same ride again
        ride(10, 0.7),
        ride(10, 0.6, label="car"),  # another object
        ride(20, 0.5),  # agrees with a doubtful label: neither right nor wrong
    ]
    evaluation = evaluate_events(labels(tmp_path, duration=120), predicted)
    found = alarm_budget_of_events(evaluation)
    assert found is not None
    assert (found.minutes, found.truths) == (pytest.approx(2), 2)
    assert [(p.threshold, p.right, p.false) for p in found.curve[1:]] == [
        (0.9, 1, 0),
        (0.8, 1, 1),
        (0.7, 2, 1),
        (0.6, 2, 2),
    ]
    assert [f.point.recall for f in found.budgets] == [1.0, 0.5, 0.5]
    assert not any(f.resolvable for f in found.budgets)


def test_dropping_low_scores_is_what_the_curve_says(tmp_path: Path) -> None:
    predicted = [ride(0, 0.9), ride(1, 0.8), ride(10, 0.7), ride(11, 0.75), ride(4, 0.6)]
    truth = labels(tmp_path, duration=120)
    found = alarm_budget_of_events(evaluate_events(truth, predicted))
    assert found is not None
    for point in found.curve[1:]:
        assert point.threshold is not None
        overall = evaluate_events(
            truth, [e for e in predicted if e.score >= point.threshold]
        ).overall
        assert (overall.recall, overall.precision) == (point.recall, point.precision)


def test_unknown_length_is_not_defined(tmp_path: Path) -> None:
    assert alarm_budget_of_events(evaluate_events(labels(tmp_path), [ride(0, 0.9)])) is None
