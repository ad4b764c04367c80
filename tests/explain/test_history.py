"""The scores that are kept of a run: of each event's pair, and some time around the event."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import pytest

from vinfer.bundles.manifest import EventThresholds
from vinfer.events.segments import Segmenter
from vinfer.explain.history import ScoreHistory
from vinfer.explain.pair import pair_score
from vinfer.types import Detections, Frame, FrameResult, Relations

NAMES = ("person", "ball")
PREDICATES = ("holds", "near")
THRESHOLDS = {"holds": EventThresholds(), "near": EventThresholds()}


def objects(tracks: Sequence[int]) -> Detections:
    n = len(tracks)
    return Detections(
        np.zeros((n, 4), np.float32),
        np.ones(n, np.float32),
        np.arange(n, dtype=np.int32) % 2,
        np.array(tracks, np.int64),
        NAMES,
    )


def related(rows: Sequence[tuple[int, str, int, float]]) -> Relations:
    return Relations(
        np.array([(s, o) for s, _, o, _ in rows], np.int32).reshape(-1, 2),
        np.array([PREDICATES.index(p) for _, p, _, _ in rows], np.int32),
        np.array([score for *_, score in rows], np.float32),
        PREDICATES,
    )


def run(
    history: ScoreHistory,
    scores: Sequence[float | None],
    *,
    predicate: str = "holds",
    rate: Fraction = Fraction(10),
    cuts: Sequence[int] = (),
    symmetric: Sequence[str] = (),
    thresholds: Mapping[str, EventThresholds] = THRESHOLDS,
) -> None:
    """Tracks 5 and 7, whose score in one direction is given; None: the second one is not seen."""
    segmenter = Segmenter("s", thresholds, symmetric=symmetric)
    for index, score in enumerate(scores):
        found = objects([5] if score is None else [5, 7])
        rows = (
            [] if not score else [(1 if symmetric else 0, predicate, 0 if symmetric else 1, score)]
        )
        relations = related(rows)
        time = index / rate
        if index in cuts:
            for event in segmenter.cut():
                history.event(event)
        history.frame(
            Frame(np.zeros((1, 1, 3), np.uint8), time, index, "s", 0.0),
            FrameResult(found, relations, index in cuts),
        )
        for event in segmenter.push(time, index, found, relations):
            history.event(event)
    for event in segmenter.finish():
        history.event(event)


def test_a_second_before_and_after_with_gaps_where_one_is_not_seen() -> None:
    scores = [0.0] * 20 + [0.8] * 5 + [None] * 2 + [0.7] * 5 + [0.2] * 20
    history = ScoreHistory(THRESHOLDS)
    run(history, scores)
    (event,) = history.events()
    trace = history.trace(event)
    assert (event.start_frame, event.end_frame) == (20, 31)
    assert trace.times == tuple(Fraction(k, 10) for k in range(10, 42))
    expected = [math.nan if s is None else s for s in scores[10:42]]
    np.testing.assert_allclose(trace.scores, np.array(expected, np.float32))


def test_of_frames_that_are_seconds_apart_all_of_the_event_are_kept() -> None:
    """A folder of images: a second around the event holds no other frame."""
    slow = {"holds": EventThresholds(min_duration=10, max_missing=15)}
    history = ScoreHistory(slow)
    run(history, [0.0, 0.9, 0.9, 0.9, 0.0, 0.0], rate=Fraction(1, 10), thresholds=slow)
    (event,) = history.events()
    assert history.trace(event).scores.tolist() == pytest.approx([0.9] * 3)


def test_of_an_event_that_was_certain_late_all_is_kept() -> None:
    late = {"holds": EventThresholds(min_peak=0.95)}
    history = ScoreHistory(late)
    run(history, [0.0] * 20 + [0.7] * 150 + [0.97] + [0.0] * 20, thresholds=late)
    (event,) = history.events()
    assert (event.start_frame, event.end_frame) == (70, 170)  # ten seconds before the peak
    assert history.trace(event).scores.tolist() == pytest.approx([0.7] * 110 + [0.97] + [0.0] * 10)


def test_a_cut_ends_the_event_and_not_the_trace() -> None:
    history = ScoreHistory(THRESHOLDS)
    run(history, [0.9] * 10 + [0.0] * 5, cuts=[10])
    (event,) = history.events()
    assert event.end_frame == 9
    assert history.trace(event).scores.tolist() == pytest.approx([0.9] * 10 + [0] * 5)


def test_both_directions_of_a_symmetric_predicate() -> None:
    history = ScoreHistory(THRESHOLDS, symmetric=["near"])
    run(history, [0.9] * 6, predicate="near", symmetric=["near"])
    (event,) = history.events()
    assert (event.subject.track_id, event.object.track_id) == (5, 7)
    assert history.trace(event).scores.tolist() == pytest.approx([0.9] * 6)
    rows = related([(0, "near", 1, 0.3), (1, "near", 0, 0.6), (0, "holds", 1, 0.9)])
    assert pair_score(rows, 0, "near", 1, symmetric=True) == np.float32(0.6)
    assert pair_score(rows, 0, "near", 1, symmetric=False) == np.float32(0.3)
    assert pair_score(rows, 1, "holds", 0, symmetric=False) == 0


def test_only_so_many_are_kept_and_those_the_best() -> None:
    history = ScoreHistory(THRESHOLDS, keep=2)
    run(history, ([0.7] * 5 + [0.0] * 20) + ([0.9] * 5 + [0.0] * 20) + ([0.8] * 5 + [0.0] * 5))
    assert [round(event.score, 2) for event in history.events()] == [0.9, 0.8]
