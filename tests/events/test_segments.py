"""The segmenter against the golden sequence, an offline reference, and each rule by itself."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.bundles.manifest import EventThresholds
from vinfer.errors import ConfigError, InputError
from vinfer.events.identity import EventKey, event_id, event_order
from vinfer.events.segments import LONGEST_WAIT, Segmenter, longest_lead
from vinfer.types import Detections, Event, Relations

GOLDEN = json.loads((Path(__file__).parent / "golden_events.json").read_text())
LABELS = ("person", "bicycle", "dog")
Triplet = tuple[int, str, int]


@dataclasses.dataclass(frozen=True)
class Shot:
    """One frame of a test: which tracks are seen, and the candidates' scores by triplet."""

    time: Fraction
    tracks: tuple[int, ...]
    scores: Mapping[Triplet, float]
    cut_before: bool = False


def objects_of(shot: Shot, index: int) -> Detections:
    n = len(shot.tracks)
    tracks = np.array(shot.tracks, np.int64)
    boxes = np.stack([tracks, tracks + 1, tracks + 10, tracks + 20 + index], axis=1)
    return Detections(
        boxes.astype(np.float32).reshape(n, 4),
        np.ones(n, np.float32),
        np.array([track % len(LABELS) for track in shot.tracks], np.int32),
        tracks,
        LABELS,
    )


def relations_of(shot: Shot, names: tuple[str, ...]) -> Relations:
    place = {track: i for i, track in enumerate(shot.tracks)}
    rows = [(place[s], place[o], names.index(p), score) for (s, p, o), score in shot.scores.items()]
    rows.sort(key=lambda row: (-row[3], *row[:3]))
    return Relations(
        np.array([row[:2] for row in rows], np.int32).reshape(-1, 2),
        np.array([row[2] for row in rows], np.int32),
        np.array([row[3] for row in rows], np.float32),
        names,
    )


def feed(segmenter: Segmenter, shots: Sequence[Shot], names: tuple[str, ...]) -> list[list[Event]]:
    """What each frame (with the cut before it) made known."""
    known = []
    for index, shot in enumerate(shots):
        events = segmenter.cut() if shot.cut_before else []
        events += segmenter.push(
            shot.time, index, objects_of(shot, index), relations_of(shot, names)
        )
        known.append(events)
    return known


def one_pair(scores: Sequence[float | None], step: Fraction = Fraction(1, 10)) -> list[Shot]:
    """Person 0 `on` bicycle 1 with a score a frame; None: the bicycle is not seen."""
    return [
        Shot(i * step, (0,), {}) if score is None else Shot(i * step, (0, 1), {(0, "on", 1): score})
        for i, score in enumerate(scores)
    ]


def thresholds(**values: float) -> dict[str, EventThresholds]:
    return {"on": EventThresholds(**values)}


def closes(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.type == "close"]


def run(
    shots: Sequence[Shot],
    limits: Mapping[str, EventThresholds],
    names: tuple[str, ...] = ("on",),
    **options: Any,
) -> list[Event]:
    segmenter = Segmenter("clip", limits, **options)
    return [e for events in feed(segmenter, shots, names) for e in events] + segmenter.finish()


# ---------------------------------------------------------------- golden


def golden_thresholds(params: Mapping[str, str]) -> EventThresholds:
    number = {name: float(Fraction(value)) for name, value in params.items()}
    return EventThresholds(
        on=number["on"],
        off=number["off"],
        min_duration=number["min_dur"],
        merge_gap=number["merge_gap"],
        max_missing=number["max_missing"],
    )


def assert_golden(golden: Mapping[str, Any], setting: str) -> None:
    case = golden["out"][setting]
    shots = one_pair(golden["scores"], Fraction(golden["frame_interval"]))
    found = closes(run(shots, {"on": golden_thresholds(case["params"])}))
    expected = case["events_start_end_peak_mean_n"]
    assert [[str(e.start), str(e.end), e.support] for e in found] == [
        [start, end, n] for start, end, _, _, n in expected
    ]
    for event, (_, _, peak, mean, _) in zip(found, expected, strict=True):
        assert event.peak_score == pytest.approx(peak, abs=1e-7)
        assert event.score == pytest.approx(mean, abs=1e-7)


@pytest.mark.parametrize("setting", sorted(GOLDEN["out"]))
def test_golden_sequence(setting: str) -> None:
    assert_golden(GOLDEN, setting)


@pytest.mark.parametrize("setting", sorted(GOLDEN["out"]))
def test_published_golden_sequence(setting: str, shared_data: Path) -> None:
    path = shared_data.parent / "specs/golden/relations.json"
    if not path.is_file():
        pytest.skip("the golden files are not beside this checkout")
    assert_golden(json.loads(path.read_text())["events"], setting)


# ---------------------------------------------------------------- the offline reference


def offline_runs(
    samples: Sequence[tuple[int, Fraction, float | None]], limits: EventThresholds
) -> list[list[tuple[int, Fraction, float]]]:
    """Rules 1-3 and 5 of one key with everything known: supporting frames of each merged run."""
    seconds = {name: Fraction(str(getattr(limits, name))) for name in ("merge_gap", "max_missing")}
    runs: list[list[tuple[int, Fraction, float]]] = []
    is_on = False
    for index, time, score in samples:
        if is_on and time - runs[-1][-1][1] > seconds["max_missing"]:
            is_on = False
        if score is None:
            continue
        if is_on and score >= limits.off:
            runs[-1].append((index, time, score))
        elif is_on:
            is_on = False
        elif score >= limits.on:
            runs.append([(index, time, score)])
            is_on = True
    merged: list[list[tuple[int, Fraction, float]]] = []
    for frames in runs:
        if merged and frames[0][1] - merged[-1][-1][1] <= seconds["merge_gap"]:
            merged[-1] += frames
        else:
            merged.append(list(frames))
    shortest = Fraction(str(limits.min_duration))
    events = []
    for frames in merged:
        known = next((time for _, time, score in frames if score >= limits.min_peak), None)
        if known is None:
            continue
        kept = [each for each in frames if known - each[1] <= LONGEST_WAIT]
        if kept[-1][1] - kept[0][1] >= shortest:
            events.append(kept)
    return events


def offline(
    shots: Sequence[Shot], limits: Mapping[str, EventThresholds], symmetric: frozenset[str]
) -> list[tuple[Any, ...]]:
    """All events of a stream, key by key."""
    scenes: list[list[tuple[int, Shot]]] = [[]]
    for index, shot in enumerate(shots):
        if shot.cut_before:
            scenes.append([])
        scenes[-1].append((index, shot))
    events = []
    tracks = {track for shot in shots for track in shot.tracks if track >= 0}
    keys = [(s, p, o) for s in tracks for p in limits for o in tracks if s != o]
    for s, p, o in keys:
        if p in symmetric and o < s:
            continue
        for scene in scenes:
            samples = []
            for index, shot in scene:
                score = None
                if s in shot.tracks and o in shot.tracks:
                    score = shot.scores.get((s, p, o), 0.0)
                    if p in symmetric:
                        score = max(score, shot.scores.get((o, p, s), 0.0))
                samples.append((index, shot.time, score))
            for frames in offline_runs(samples, limits[p]):
                total = 0.0
                for _, _, score in frames:
                    total += score
                peak = max(score for _, _, score in frames)
                peak_index = next(index for index, _, score in frames if score == peak)
                first, last = frames[0], frames[-1]
                scores = (total / len(frames), peak, peak_index, len(frames))
                events.append((first[1], last[1], s, p, o, *scores, first[0], last[0]))
    return sorted(events)


def as_tuple(e: Event) -> tuple[Any, ...]:
    key = (e.subject.track_id, e.predicate, e.object.track_id)
    scores = (e.score, e.peak_score, e.peak_frame, e.support)
    return (e.start, e.end, *key, *scores, e.start_frame, e.end_frame)


NAMES = ("on", "near", "ignored")
SYMMETRIC = frozenset({"near"})
eighths = st.integers(0, 8).map(lambda n: n / 8)  # exact in float32, so ties are real
durations = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 5.0])


@st.composite
def limits_of_a_predicate(draw: st.DrawFn) -> EventThresholds:
    off, on = sorted([draw(eighths), draw(eighths)])
    return EventThresholds(
        # A score of 0 can't open: a pair without a candidate is not looked at.
        on=max(on, 1 / 8),
        off=off,
        min_peak=draw(eighths),
        min_duration=draw(durations),
        merge_gap=draw(durations),
        max_missing=draw(durations),
    )


@st.composite
def streams(draw: st.DrawFn) -> list[Shot]:
    tracks = st.sets(st.integers(0, 3)).map(sorted).flatmap(st.permutations).map(tuple)
    steps = st.sampled_from(
        [Fraction(1, 25), Fraction(1, 10), Fraction(1, 10), Fraction(3, 10), Fraction(4)]
    )
    time, shots = draw(st.sampled_from([Fraction(0), Fraction(7, 3)])), []
    for _ in range(draw(st.integers(1, 14))):
        seen = draw(tracks)
        pairs = [(s, p, o) for s in seen for p in NAMES for o in seen if s != o]
        candidates = draw(st.sets(st.sampled_from(pairs))) if pairs else set()
        scores = {triplet: draw(eighths) for triplet in sorted(candidates)}
        shots.append(Shot(time, seen, scores, cut_before=draw(st.integers(0, 9)) == 0))
        time += draw(steps)
    return shots


@settings(max_examples=300, derandomize=True, deadline=None)
@given(shots=streams(), on=limits_of_a_predicate(), near=limits_of_a_predicate(), gap=durations)
def test_online_equals_offline_after_every_prefix(
    shots: list[Shot], on: EventThresholds, near: EventThresholds, gap: float
) -> None:
    limits = {"on": on, "near": near}
    interval = Fraction(str(gap))

    def segmenter() -> Segmenter:
        return Segmenter("clip", limits, symmetric=SYMMETRIC, update_interval=interval)

    final = offline(shots, limits, SYMMETRIC)
    known: list[Event] = []
    for count in range(1, len(shots) + 1):
        prefix = segmenter()
        parts = feed(prefix, shots[:count], NAMES)
        ended = prefix.finish()
        known = [e for part in parts for e in part]
        # What is final stays so whatever comes later.
        assert {as_tuple(e) for e in closes(known)} <= set(final)
        known += ended
        found = sorted(closes(known), key=event_order)
        assert [as_tuple(e) for e in found] == offline(shots[:count], limits, SYMMETRIC)
        times = [shot.time for shot, part in zip(shots, parts, strict=False) for _ in part]
        assert_life_cycle(known, [*times, *(shots[-1].time for _ in ended)], interval, limits)


def assert_life_cycle(
    events: Sequence[Event],
    told_at: Sequence[Fraction],
    interval: Fraction,
    limits: Mapping[str, EventThresholds],
) -> None:
    by_id: dict[str, list[tuple[Event, Fraction]]] = defaultdict(list)
    for event, time in zip(events, told_at, strict=True):
        by_id[event.event_id].append((event, time))
        key = EventKey(event.subject.track_id, event.predicate, event.object.track_id)
        assert event.event_id == event_id("clip", key, event.start)
    for reports in by_id.values():
        types = [event.type for event, _ in reports]
        assert types == ["open", *["update"] * (len(reports) - 2), "close"]
        assert len({(event.start, event.start_frame) for event, _ in reports}) == 1
        first, opened = reports[0]
        assert opened - first.start <= longest_lead([limits[first.predicate]])
        for (before, then), (after, now) in pairwise(reports):
            if after.type == "update":
                assert after.end > before.end
                assert now - then >= interval
            assert after.end >= before.end


# ---------------------------------------------------------------- rule by rule


def test_update_comes_at_most_once_an_interval() -> None:
    shots = one_pair([0.9] * 31)
    events = run(shots, thresholds(), update_interval=Fraction(1))
    assert [(e.type, str(e.end)) for e in events] == [
        ("open", "1/5"),
        ("update", "6/5"),
        ("update", "11/5"),
        ("close", "3"),
    ]
    assert len(run(shots, thresholds(), update_interval=Fraction(0))) == 30
    assert len(run(shots, thresholds(), update_interval=Fraction(100))) == 2


def test_update_is_due_while_a_track_is_missing_if_the_end_changed() -> None:
    shots = one_pair([0.9, 0.9, 0.9, 0.9, None, None, None])
    events = run(shots, thresholds(max_missing=1), update_interval=Fraction(3, 10))
    assert [(e.type, str(e.end)) for e in events] == [
        ("open", "1/5"),
        ("update", "3/10"),
        ("close", "3/10"),
    ]


def test_event_is_announced_when_its_merged_duration_is_reached() -> None:
    segmenter = Segmenter("clip", thresholds(min_duration=0.4))
    # Two runs of 0.1 s with a gap of 0.2 s: together 0.4 s.
    parts = feed(segmenter, one_pair([0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1]), ("on",))
    assert [[e.type for e in part] for part in parts] == [
        *[[]] * 4, ["open"], [], [], [], ["close"],
    ]  # fmt: skip
    assert segmenter.finish() == []


def test_event_is_final_as_soon_as_nothing_can_merge_into_it() -> None:
    scores = [0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1]
    for merge_gap, frame in ((0.0, 3), (0.1, 4), (0.3, 6)):
        parts = feed(Segmenter("c", thresholds(merge_gap=merge_gap)), one_pair(scores), ("on",))
        assert [i for i, part in enumerate(parts) if closes(part)] == [frame]


def test_event_is_told_once_its_best_score_reaches_the_least_peak() -> None:
    scores = [0.7, 0.7, 0.1, 0.7, 0.7, 0.7, 0.9, 0.7, 0.1, 0.1, 0.1, 0.1]
    limits = thresholds(min_peak=0.9, merge_gap=0.2)
    parts = feed(Segmenter("c", limits), one_pair(scores), ("on",))
    told = {i: [e.type for e in part] for i, part in enumerate(parts) if part}
    assert told == {6: ["open"], 10: ["close"]}
    (closed,) = parts[10]
    # Once is enough for all of it, the part before the dip included.
    assert (closed.start_frame, closed.end_frame, closed.support) == (0, 7, 7)
    assert closed.score == pytest.approx((6 * 0.7 + 0.9) / 7)
    assert run(one_pair(scores), thresholds(min_peak=0.95)) == []


def test_least_peak_below_on_changes_nothing() -> None:
    shots = one_pair([0.7, 0.9, 0.5, 0.1, 0.7, 0.7])
    assert run(shots, thresholds(min_peak=0.5)) == run(shots, thresholds())


def test_least_peak_means_what_is_written() -> None:
    assert closes(run(one_pair([0.7] * 3), thresholds(min_peak=0.7)))  # float32(0.7) < 0.7


def test_what_is_long_before_the_peak_is_no_part_of_the_event() -> None:
    segmenter = Segmenter("c", thresholds(min_peak=0.9))
    feed(segmenter, one_pair([0.7] * 300), ("on",))
    (run_,) = segmenter._runs.values()
    assert run_.waiting is not None
    assert len(run_.waiting) == 101  # and so memory does not grow
    (closed,) = closes(run(one_pair([0.7] * 300 + [0.9]), thresholds(min_peak=0.9)))
    assert (closed.start, closed.end) == (20, 30)
    assert (closed.start_frame, closed.support) == (200, 101)


def test_close_and_open_of_one_key_on_one_frame_come_in_order_of_start() -> None:
    limits = thresholds(min_duration=0, merge_gap=0, max_missing=0)
    segmenter = Segmenter("clip", limits)
    (first, second) = feed(segmenter, one_pair([0.9, 0.9]), ("on",))
    assert [e.type for e in first] == ["open"]
    assert [(e.type, e.start) for e in second] == [("close", 0), ("open", Fraction(1, 10))]


def test_min_duration_zero_reports_a_single_frame() -> None:
    events = run(one_pair([0.1, 0.9, 0.1]), thresholds(min_duration=0))
    assert [e.type for e in events] == ["open", "close"]
    assert events[-1].duration == 0
    assert run(one_pair([0.1, 0.9, 0.1]), thresholds(min_duration=0.01)) == []


def test_thresholds_and_times_mean_what_is_written() -> None:
    # float32(0.7) < 0.7 < float64 arithmetic; 0.2 s is two frames at 10/s although 0.2 > 1/5.
    limits = thresholds(on=0.7, off=0.7, min_duration=0.2)
    (closed,) = closes(run(one_pair([0.7, 0.7, 0.7]), limits))
    assert closed.duration == Fraction(1, 5)


def test_pair_without_candidate_is_score_zero_and_absent_track_is_missing() -> None:
    limits = thresholds(merge_gap=0, min_duration=0, max_missing=0.3)
    both = Shot(Fraction(2, 10), (0, 1), {})
    scored = one_pair([0.9, 0.9, 0.9, 0.9])
    assert len(closes(run([*scored[:2], both, scored[3]], limits))) == 2
    missing = one_pair([0.9, 0.9, None, 0.9])
    assert len(closes(run(missing, limits))) == 1


def test_cut_ends_runs_at_their_last_support_and_nothing_merges_across() -> None:
    shots = one_pair([0.9, 0.9, 0.9, None, 0.9, 0.9, 0.9])
    shots[4] = dataclasses.replace(shots[4], cut_before=True)
    segmenter = Segmenter("clip", thresholds(merge_gap=1, max_missing=1))
    parts = feed(segmenter, shots, ("on",))
    assert [(e.type, str(e.end)) for e in parts[4]] == [("close", "1/5")]
    assert [(str(e.start), str(e.end)) for e in segmenter.finish()] == [("2/5", "3/5")]
    assert segmenter.finish() == []


def test_short_run_dies_at_a_cut_unannounced() -> None:
    shots = one_pair([0.9, 0.9, 0.9, 0.9])
    shots[2] = dataclasses.replace(shots[2], cut_before=True)
    assert run(shots, thresholds(min_duration=0.2)) == []


def test_symmetric_predicate_takes_the_smaller_track_and_the_larger_score() -> None:
    names = ("near",)
    limits = {"near": EventThresholds(min_duration=0)}
    shots = [
        Shot(Fraction(0), (5, 2), {(5, "near", 2): 0.875, (2, "near", 5): 0.5}),
        Shot(Fraction(1, 10), (2, 5), {(5, "near", 2): 0.625}),
    ]
    (closed,) = closes(run(shots, limits, names, symmetric=["near"]))
    assert (closed.subject.track_id, closed.object.track_id) == (2, 5)
    assert (closed.peak_score, closed.score) == (0.875, 0.75)
    directed = closes(run(shots, limits, names))
    assert [(e.subject.track_id, e.object.track_id) for e in directed] == [(5, 2)]


def test_box_and_label_are_those_of_the_first_peak() -> None:
    (closed,) = closes(run(one_pair([0.7, 0.9, 0.9, 0.7]), thresholds()))
    assert (closed.peak_frame, closed.peak_time) == (1, Fraction(1, 10))
    assert closed.subject.label == "person"
    assert closed.object.label == "bicycle"
    assert closed.object.box == (1.0, 2.0, 11.0, 22.0)  # the height grows by one a frame


def test_untracked_objects_and_self_relations_make_no_event() -> None:
    names = ("on", "ignored")
    objects = Detections(
        np.zeros((3, 4), np.float32),
        np.ones(3, np.float32),
        np.zeros(3, np.int32),
        np.array([7, -1, 7]),
        LABELS,
    )
    candidates = Relations(
        np.array([[0, 1], [1, 0], [0, 2], [0, 1], [0, 1]], np.int32),
        np.array([0, 0, 0, 1, 0], np.int32),
        np.array([0.9, 0.8, 0.9, 0.9, 0.1], np.float32),  # the last could not support anything
        names,
    )
    segmenter = Segmenter("clip", thresholds(min_duration=0))
    assert segmenter.push(Fraction(0), 0, objects, candidates) == []
    assert segmenter.dropped == {"self_relation": 1}


def test_predicate_without_thresholds_never_becomes_an_event() -> None:
    shots = [Shot(Fraction(i, 10), (0, 1), {(0, "ignored", 1): 1.0}) for i in range(9)]
    assert run(shots, thresholds(min_duration=0), ("ignored", "on")) == []


def test_vocabulary_may_change_within_a_stream() -> None:
    shots = one_pair([0.9] * 4)
    segmenter = Segmenter("clip", thresholds())
    for index, shot in enumerate(shots):
        names = ("on", "near") if index % 2 else ("near", "on")
        segmenter.push(shot.time, index, objects_of(shot, index), relations_of(shot, names))
    assert [e.support for e in segmenter.finish()] == [4]


def test_state_does_not_grow_with_the_stream() -> None:
    generator = random.Random(0)
    segmenter = Segmenter("clip", thresholds())
    largest = 0
    for index in range(2000):
        # Every second frame brings two new tracks, which stay for it alone.
        tracks = (0, 1, 2 * index + 2, 2 * index + 3)
        scores = {(tracks[2], "on", tracks[3]): 0.9, (0, "on", 1): generator.random()}
        shot = Shot(Fraction(index, 10), tracks, scores)
        segmenter.push(shot.time, index, objects_of(shot, index), relations_of(shot, ("on",)))
        largest = max(largest, len(segmenter._runs))
    # 0.3 s of merge gap at 10 frames a second, and the lasting pair.
    assert largest <= 5


def test_same_ids_on_every_run_and_as_documented() -> None:
    key = EventKey(3, "on", 7)
    assert event_id("bikes", key, Fraction(76, 25)) == "26c1f4419cc01643"
    assert event_id("bikes", key, Fraction(152, 50)) == "26c1f4419cc01643"
    others = [
        event_id("bike", key, Fraction(76, 25)),
        event_id("bikes", EventKey(7, "on", 3), Fraction(76, 25)),
        event_id("bikes", EventKey(3, "ön", 7), Fraction(76, 25)),
        event_id("bikes", key, Fraction(76, 26)),
    ]
    assert len({*others, "26c1f4419cc01643"}) == 5


# ---------------------------------------------------------------- ramp: frame rate


@pytest.mark.parametrize("rate", [5, 10, 25, 30])
def test_slow_ramp_moves_by_at_most_one_frame_interval(rate: int) -> None:
    """Score rises from 0 to 1 in 4 s and falls again; on at 0.6: 2.4 s, off at 0.4: 6.4 s."""

    def score(time: Fraction) -> float:
        return float(1 - abs(time - 4) / 4)

    count = 8 * rate + 1
    shots = one_pair([score(Fraction(i, rate)) for i in range(count)], Fraction(1, rate))
    (closed,) = closes(run(shots, thresholds()))
    assert abs(closed.start - Fraction(12, 5)) <= Fraction(1, rate)
    assert abs(closed.end - Fraction(32, 5)) <= Fraction(1, rate)


# ---------------------------------------------------------------- refusals


def test_time_must_grow() -> None:
    segmenter = Segmenter("clip", thresholds())
    shots = one_pair([0.9, 0.9])
    feed(segmenter, shots, ("on",))
    with pytest.raises(InputError, match=r"frame 2 of 'clip': found time 1/10 s after 1/10 s"):
        segmenter.push(shots[1].time, 2, objects_of(shots[1], 2), relations_of(shots[1], ("on",)))


def test_update_interval_must_not_be_negative() -> None:
    with pytest.raises(ConfigError, match="update_interval: found -1 s, expected 0 or more"):
        Segmenter("c", {}, update_interval=Fraction(-1))
