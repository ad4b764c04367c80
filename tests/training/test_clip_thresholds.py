"""Thresholds of events chosen on clips: scores that are known, and the clips themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, EventThresholds, find_bundle
from vinfer.errors import TrainingError
from vinfer.evaluation.event_truth import EventTruth, TrueEvent
from vinfer.evaluation.events import evaluate_events
from vinfer.stages.detect import Detector
from vinfer.training.clip_thresholds import (
    FIRST_SEED,
    ScoredClip,
    choose_event_thresholds,
    clips_with_cuts,
    events_of,
    seen_objects,
)
from vinfer.training.sprites import SYMMETRIC, clip_truth, make_clip
from vinfer.types import UNTRACKED, Detections, Relations

NAMES = ("holds", "linked to")
RATE = 10
MINUTE = 60 * RATE
TRUE = (100, 130)  # first and last frame of the true event


def clip(score: Callable[[int], float], predicate: int = 0, frames: int = MINUTE) -> ScoredClip:
    """One pair of tracks, 1 and 2, scored by its frame's number."""
    objects = Detections(
        np.float32([[0, 0, 9, 9], [5, 5, 20, 20]]),
        np.ones(2, np.float32),
        np.int32([0, 1]),
        np.int64([1, 2]),
        ("person", "cup"),
    )
    truth = TrueEvent(
        "person", NAMES[predicate], "cup", Fraction(TRUE[0], RATE), Fraction(TRUE[1], RATE)
    )
    return ScoredClip(
        EventTruth("clip", Fraction(frames, RATE), (truth,)),
        tuple(
            (
                Fraction(k, RATE),
                objects,
                Relations(np.int32([[0, 1]]), np.int32([predicate]), np.float32([score(k)]), NAMES),
            )
            for k in range(frames)
        ),
    )


def is_true(frame: int) -> bool:
    return TRUE[0] <= frame <= TRUE[1]


def test_a_threshold_above_what_is_false_is_found() -> None:
    def score(frame: int) -> float:
        return 0.9 if is_true(frame) else 0.72 if 300 <= frame <= 330 else 0.1

    chosen = choose_event_thresholds([clip(score)], NAMES)
    assert chosen.keys() == {"holds"}  # of the other one nothing true is found
    holds = chosen["holds"]
    assert 0.72 < holds.thresholds.min_peak <= 0.9
    assert (holds.truths, holds.found, holds.false, holds.f1) == (1, 1, 0, 1.0)


def test_a_threshold_keeps_a_step_from_what_is_false() -> None:
    def score(frame: int) -> float:
        return 0.985 if is_true(frame) else 0.96 if 300 <= frame <= 330 else 0.1

    holds = choose_event_thresholds([clip(score)], NAMES)["holds"]
    assert holds.thresholds.min_peak == 0.98
    assert (holds.false, holds.at_risk) == (0, 0)
    # What may be spent is not, where nothing is gained by it.
    holds = choose_event_thresholds([clip(score)], NAMES, most_at_risk_per_minute=1)["holds"]
    assert holds.to_dict() == {"truths": 1, "found": 1, "false": 0, "at_risk": 0, "f1": 1.0}


def test_a_true_event_is_found_whole_though_its_score_is_high_for_a_moment() -> None:
    def score(frame: int) -> float:
        # False for as long as the true one, which is certain on its last frame only.
        return 0.999 if frame == TRUE[1] else 0.96 * (is_true(frame) or 300 <= frame <= 330)

    holds = choose_event_thresholds([clip(score)], NAMES)["holds"]
    assert holds.thresholds.on < 0.96 < holds.thresholds.min_peak
    assert (holds.found, holds.false, holds.at_risk) == (1, 0, 0)


def test_short_false_events_are_told_by_their_length() -> None:
    def score(frame: int) -> float:
        # As high as the true one, but for three frames only: 0.2 s.
        return 0.9 if is_true(frame) or 300 <= frame <= 302 else 0.1

    holds = choose_event_thresholds([clip(score)], NAMES)["holds"]
    assert holds.thresholds.min_duration > 0.2
    assert holds.false == 0


def test_what_was_chosen_gives_these_figures() -> None:
    random = np.random.default_rng(3)
    noise = random.uniform(-0.45, 0.45, (3, MINUTE))
    clips = [
        dataclasses.replace(made, truth=dataclasses.replace(made.truth, stream=f"clip {number}"))
        for number, made in enumerate(
            clip(lambda k, n=n: float(np.clip(0.3 + 0.4 * is_true(k) + noise[n, k], 0, 1)))
            for n in range(3)
        )
    ]
    chosen = choose_event_thresholds(clips, NAMES, most_at_risk_per_minute=2)["holds"]
    events = [
        event for each in clips for event in events_of(each, {"holds": chosen.thresholds}, ())
    ]
    scores = evaluate_events([each.truth for each in clips], events).overall
    assert chosen.false == scores.predicted - scores.right <= 3
    assert (chosen.truths, chosen.found, chosen.f1) == (3, scores.found, scores.f1)


def test_what_is_false_too_often_never_becomes_an_event() -> None:
    def score(frame: int) -> float:
        return 0.995 if frame // 50 % 2 == 0 else 0.0

    assert choose_event_thresholds([clip(score)], NAMES) == {}
    with pytest.raises(TrainingError, match="clips: found none"):
        choose_event_thresholds([], NAMES)


def test_predicates_share_the_false_events_that_are_allowed() -> None:
    def score(frame: int) -> float:
        return 0.9 * (is_true(frame) or 300 <= frame <= 330)  # the second one is false

    def spoilt(frame: int) -> float:
        return score(frame) + 0.9 * (400 <= frame <= 430)  # and so is the third

    clips = []
    for number, (made, predicate) in enumerate([(score, 0), (spoilt, 1)]):
        scored = clip(made, predicate=predicate)
        truth = dataclasses.replace(scored.truth, stream=f"clip {number}")
        clips.append(dataclasses.replace(scored, truth=truth))

    def false(most: float) -> dict[str, int]:
        chosen = choose_event_thresholds(clips, NAMES, most_at_risk_per_minute=most)
        return {name: each.false for name, each in chosen.items()}

    # Two minutes of clips; a step lower nothing else is there.
    assert false(0.4) == {}
    assert false(0.5) == false(1) == {"holds": 1}
    assert false(1.5) == {"holds": 1, "linked to": 2}


def test_a_symmetric_predicate_is_one_event_either_way_round() -> None:
    scored = clip(lambda frame: 0.9 * is_true(frame), predicate=1)
    (truth,) = scored.truth.events
    other = dataclasses.replace(truth, subject="cup", object="person", symmetric=True)
    scored = dataclasses.replace(scored, truth=dataclasses.replace(scored.truth, events=(other,)))
    chosen = choose_event_thresholds([scored], NAMES, symmetric=["linked to"])
    assert chosen["linked to"].found == 1
    assert chosen["linked to"].f1 == 1.0
    one_way = dataclasses.replace(other, symmetric=False)
    scored = dataclasses.replace(scored, truth=dataclasses.replace(scored.truth, events=(one_way,)))
    assert choose_event_thresholds([scored], NAMES, symmetric=["linked to"]) == {}


def test_the_clips_are_of_seeds_of_their_own() -> None:
    clips = clips_with_cuts(4)
    assert [each.seed for each in clips] == [FIRST_SEED + k for k in range(4)]
    assert [len(each.cuts) for each in clips] == [0, 0, 0, 1]


def test_objects_are_seen_as_the_engine_sees_them() -> None:
    made = make_clip(11, num_frames=40, num_cuts=1)
    (cut,) = made.cuts
    options = SessionOptions(provider="cpu")
    with Detector(Bundle.open(find_bundle("sprites-detector")), options) as detector:
        objects_of = seen_objects(made, detector)
        seen = [objects_of(k, made.image(k)) for k in range(len(made))]
        found = detector.detect(made.image(3))
    np.testing.assert_array_equal(seen[3].boxes, found.boxes)
    assert seen[3].names == found.names
    ids = []
    for objects in seen:
        assert objects.track_ids is not None
        ids.append(set(objects.track_ids.tolist()))
    assert ids[0] == {UNTRACKED}  # nothing has a track on its first frame
    assert len(ids[cut - 1]) > 3
    assert not ids[cut - 1] & (ids[-1] - {UNTRACKED})  # a cut ends all tracks


def test_ropes_are_labelled_both_ways_and_counted_once() -> None:
    from vinfer.evaluation.event_truth import truth_of_labels

    made = make_clip(1, kinds=["linked_to"])
    assert [event.predicate for event in made.events] == ["linked_to", "linked_to"]
    (event,) = truth_of_labels(clip_truth(made, "clip")).events
    assert event.symmetric
    assert SYMMETRIC == ("linked_to",)
    assert events_of(clip(lambda k: 0.9 * is_true(k)), {"holds": EventThresholds()}, ())
