"""Event metrics on cases small enough to work out by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError, SourceNotFoundError
from vinfer.evaluation.event_matching import temporal_overlap
from vinfer.evaluation.event_truth import TrueEvent, load_event_truth
from vinfer.evaluation.events import EventEvaluation, evaluate_events
from vinfer.stores.event_record import event_to_record
from vinfer.types import Event, Participant

BOX = (0.0, 0.0, 1.0, 1.0)


def event(
    triplet: str, start: float, end: float, score: float = 0.9, stream: str = "clip", **more: Any
) -> Event:
    subject, predicate, object_ = triplet.split(", ")
    digits = hashlib.sha256(f"{triplet} {start} {end} {score} {stream}".encode()).hexdigest()[:16]
    values: dict[str, Any] = {
        "type": "close",
        "event_id": digits,
        "stream": stream,
        "start": Fraction(str(start)),
        "end": Fraction(str(end)),
        "start_frame": 0,
        "end_frame": 1,
        "subject": Participant(subject, 1, BOX),
        "predicate": predicate,
        "object": Participant(object_, 2, BOX),
        "score": score,
        "peak_score": score,
        "peak_time": Fraction(str(start)),
        "peak_frame": 0,
        "support": 2,
    }
    return Event(**(values | more))


def label(
    subject: str, predicate: str, object_: str, start: float, end: float, **more: Any
) -> dict[str, Any]:
    return {
        "subject": subject,
        "predicate": predicate,
        "object": object_,
        "start": start,
        "end": end,
        "tolerance_s": 0.1,
        "certainty": "sure",
        **more,
    }


def labels(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "schema": "vinfer-events-truth/1",
        "video": "clip.mp4",
        "duration": 36.0,
        "presence": [
            {"id": "man", "class": "Person"},
            {"id": "bike", "class": "bicycle"},
            {"id": "desk", "class": "dining table"},
        ],
        "events": list(events),
        **more,
    }


def judge(
    tmp_path: Path, truth: dict[str, Any], predicted: Sequence[Event], **options: Any
) -> EventEvaluation:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    return evaluate_events(path, list(predicted), **options)


def write_lines(path: Path, events: Sequence[Event]) -> Path:
    path.write_text("".join(json.dumps(event_to_record(e)) + "\n" for e in events))
    return path


# ---------------------------------------------------------------- figures


def test_figures_worked_out_by_hand(tmp_path: Path) -> None:
    truth = labels(
        label("man", "ride", "bike", 0, 10, also_right=["on"]),
        label("man", "ride", "bike", 20, 30),
        label("man", "at", "desk", 12, 16),
        label("man", "at", "desk", 30, 36),
    )
    predicted = [
        event("person, on, bicycle", 1, 9, 0.9),  # true by also_right: IoU 0.8
        event("person, ride, bicycle", 21, 27, 0.8),  # IoU 0.6
        event("person, at, Dining_Table", 12, 17, 0.7),  # IoU 0.8
        event("person, ride, bicycle", 22, 30, 0.5),  # IoU 0.8, but the place is taken
        event("bicycle, on, person", 1, 9, 0.6),  # other direction
    ]
    result = judge(tmp_path, truth, predicted)
    overall = result.overall
    assert (overall.truths, overall.found, overall.predicted, overall.right) == (4, 3, 5, 3)
    assert overall.precision == pytest.approx(3 / 5)
    assert overall.recall == pytest.approx(3 / 4)
    assert overall.f1 == pytest.approx(2 * 3 / 9)
    assert overall.mean_overlap == pytest.approx((0.8 + 0.6 + 0.8) / 3)
    assert overall.onset.mean == pytest.approx((1 + 1 + 0) / 3)
    assert overall.onset.median == 1.0
    assert overall.offset.mean == pytest.approx((1 + 3 + 1) / 3)
    assert result.hours == pytest.approx(0.01)
    assert overall.false_per_hour == pytest.approx(200)
    assert [(f.reason, f.predicted.score) for f in result.false] == [
        ("wrong label", 0.6),
        ("duplicate", 0.5),
    ]
    assert [(float(m.truth.start), m.reason) for m in result.missed] == [(30.0, "wrong time")]


def test_figures_by_predicate(tmp_path: Path) -> None:
    truth = labels(
        label("man", "ride", "bike", 0, 10, also_right=["on"]),
        label("man", "at", "desk", 12, 16),
    )
    result = judge(
        tmp_path, truth, [event("person, on, bicycle", 0, 10), event("person, AT, bicycle", 0, 1)]
    )
    rows = {
        name: (s.truths, s.found, s.predicted, s.right) for name, s in result.by_predicate.items()
    }
    assert rows == {"at": (1, 0, 1, 0), "on": (0, 0, 1, 1), "ride": (1, 1, 0, 0)}
    assert result.by_predicate["on"].precision == 1.0
    assert result.by_predicate["on"].recall is None
    assert result.by_predicate["ride"].recall == 1.0
    assert result.by_predicate["at"].f1 == 0.0


def test_nothing_predicted_and_nothing_to_find(tmp_path: Path) -> None:
    silent = judge(tmp_path, labels(label("man", "ride", "bike", 0, 10)), [])
    assert (silent.overall.precision, silent.overall.recall, silent.overall.f1) == (None, 0.0, 0.0)
    assert silent.overall.onset.mean is None
    empty = judge(tmp_path, labels(), [])
    assert (empty.overall.precision, empty.overall.recall, empty.overall.f1) == (None, None, None)
    assert empty.overall.false_per_hour == 0.0


def test_more_certain_prediction_chooses_first_and_takes_the_best_overlap(tmp_path: Path) -> None:
    truth = labels(
        label("man", "ride", "bike", 0, 10), label("man", "ride", "bike", 4, 14, also_right=["on"])
    )
    # The first fits both (IoU 7/11, 9/11), the second only the later one (IoU 1).
    predicted = [event("person, ride, bicycle", 3, 13, 0.9), event("person, on, bicycle", 4, 14)]
    result = judge(tmp_path, truth, [dataclasses.replace(predicted[1], score=0.8), predicted[0]])
    assert [(float(m.truth.start), m.predicted.score) for m in result.matches] == [(4.0, 0.9)]
    assert [f.reason for f in result.false] == ["duplicate"]
    reversed_scores = [
        dataclasses.replace(predicted[0], score=0.7),
        dataclasses.replace(predicted[1], score=0.8),
    ]
    assert len(judge(tmp_path, truth, reversed_scores).matches) == 2


@pytest.mark.parametrize(("end", "matched"), [(5.0, 1), (4.99, 0)])
def test_threshold_is_inclusive(tmp_path: Path, end: float, matched: int) -> None:
    truth = labels(label("man", "ride", "bike", 0, 10))
    assert len(judge(tmp_path, truth, [event("person, ride, bicycle", 0, end)]).matches) == matched


def test_threshold_can_be_set(tmp_path: Path) -> None:
    truth = labels(label("man", "ride", "bike", 0, 10))
    predicted = [event("person, ride, bicycle", 0, 7)]
    assert len(judge(tmp_path, truth, predicted, threshold=0.7).matches) == 1
    assert len(judge(tmp_path, truth, predicted, threshold=0.71).matches) == 0


instants = st.integers(0, 12).map(lambda n: Fraction(n, 4))
intervals = st.tuples(instants, instants).map(sorted)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(first=intervals, second=intervals)
def test_overlap_by_counting_quarter_seconds(first: list[Fraction], second: list[Fraction]) -> None:
    a = TrueEvent("s", "p", "o", first[0], first[1])
    b = TrueEvent("s", "p", "o", second[0], second[1])
    cells = [{n for n in range(12) if s <= Fraction(n, 4) < e} for s, e in (first, second)]
    union = len(cells[0] | cells[1])
    expected = Fraction(len(cells[0] & cells[1]), union) if union else Fraction(first == second)
    assert temporal_overlap(a, b) == temporal_overlap(b, a) == expected


# ---------------------------------------------------------------- reasons, uncertain labels


def test_reasons_of_false_events(tmp_path: Path) -> None:
    truth = labels(
        label("man", "ride", "bike", 0, 10),
        label("man", "at", "desk", 12, 16),
        never=[
            {
                "subject": "person",
                "predicate": "ride",
                "object": "bicycle",
                "from": 20,
                "to": 36,
                "why": "it stands there",
            }
        ],
    )
    predicted = [
        event("person, ride, bicycle", 25, 26),
        event("person, ride, bicycle", 0, 10, 0.9),
        event("person, ride, bicycle", 0, 9, 0.8),
        event("person, ride, bicycle", 0, 4, 0.7),
        event("person, on, dining table", 12, 16),
        event("person, ride, bicycle", 17, 18),
        event("dog, on, bicycle", 17, 18),
    ]
    result = judge(tmp_path, truth, predicted)
    found = {
        (f.predicted.subject.label, float(f.predicted.start), float(f.predicted.end)): (
            f.reason,
            f.overlap,
            f.note,
        )
        for f in result.false
    }
    assert found == {
        ("person", 25.0, 26.0): ("never", 0.0, "it stands there"),
        ("person", 0.0, 9.0): ("duplicate", 0.9, ""),
        ("person", 0.0, 4.0): ("wrong time", 0.4, ""),
        ("person", 12.0, 16.0): ("wrong label", 1.0, ""),
        ("person", 17.0, 18.0): ("wrong time", 0.0, ""),
        ("dog", 17.0, 18.0): ("nothing there", 0.0, ""),
    }
    assert [(m.reason, m.overlap) for m in result.missed] == [("wrong label", 1.0)]


def test_reasons_of_missed_events(tmp_path: Path) -> None:
    truth = labels(
        label("man", "ride", "bike", 0, 10),
        label("man", "ride", "bike", 1, 11),
        label("man", "hold", "desk", 20, 24),
        label("bike", "lean on", "desk", 20, 22, also_right=["against"]),
        label("bike", "under", "desk", 30, 32),
    )
    predicted = [event("person, ride, bicycle", 0, 10), event("person, hold, dining table", 23, 24)]
    result = judge(tmp_path, truth, predicted, predicates=["ride", "hold", "under"])
    assert [(m.reason, m.overlap) for m in result.missed] == [
        ("taken", pytest.approx(9 / 11)),
        ("wrong time", 0.25),
        ("not in vocabulary", 0.0),
        ("not found", 0.0),
    ]
    assert result.overall.recall == pytest.approx(1 / 5)
    assert (result.sayable, result.recall_sayable) == (4, 1 / 4)


def test_one_long_event_over_two_pieces_is_reported_as_it_is(tmp_path: Path) -> None:
    truth = labels(label("man", "on", "bike", 3.04, 3.2), label("man", "on", "bike", 4.36, 5.48))
    result = judge(tmp_path, truth, [event("person, on, bicycle", 3.04, 5.44)])
    assert [f.reason for f in result.false] == ["wrong time"]
    assert result.false[0].overlap == pytest.approx(1.08 / 2.44)
    assert [m.reason for m in result.missed] == ["wrong time", "wrong time"]


def test_doubtful_labels_excuse_what_lies_in_them(tmp_path: Path) -> None:
    truth = labels(
        label("man", "ride", "bike", 0, 10, certainty="doubtful", also_right=["on"]),
        label("man", "at", "desk", 0, 10, certainty="likely"),
    )
    predicted = [
        event("person, on, bicycle", 1, 3),  # inside
        event("person, ride, bicycle", 2, 12),  # 80 % inside
        event("person, ride, bicycle", 6, 30),  # a sixth inside: not excused
        event("person, under, bicycle", 1, 3),  # not what is doubtful
        event("person, at, dining table", 0, 10),
    ]
    result = judge(tmp_path, truth, predicted)
    assert (result.overall.truths, result.overall.ignored) == (0, 3)
    assert [float(f.predicted.end) for f in result.false] == [3.0, 30.0]
    likely = judge(tmp_path, truth, predicted, certainty=("sure", "likely"))
    assert (likely.overall.truths, likely.overall.found, likely.overall.ignored) == (1, 1, 2)


# ---------------------------------------------------------------- event lines, streams


def test_event_lines_as_truth_and_their_last_report_counts(tmp_path: Path) -> None:
    final = event("person, ride, bicycle", 0, 10)
    opened = dataclasses.replace(final, type="open", end=Fraction(1))
    truth = write_lines(tmp_path / "truth.jsonl", [opened, final])
    result = evaluate_events(truth, write_lines(tmp_path / "p.jsonl", [opened, final]))
    assert (result.overall.truths, result.overall.predicted) == (1, 1)
    assert (result.overall.f1, result.overall.mean_overlap) == (1.0, 1.0)
    assert result.overall.false_per_hour is None
    timed = evaluate_events(truth, [event("dog, ride, bicycle", 0, 10)], duration=1800)
    assert timed.overall.false_per_hour == 2.0


def test_streams_are_judged_apart(tmp_path: Path) -> None:
    truth = write_lines(
        tmp_path / "truth.jsonl",
        [
            event("person, ride, bicycle", 0, 10, stream="a"),
            event("dog, on, bicycle", 0, 10, stream="b"),
        ],
    )
    swapped = [
        event("person, ride, bicycle", 0, 10, stream="b"),
        event("dog, on, bicycle", 0, 10, stream="a"),
    ]
    assert evaluate_events(truth, swapped).overall.right == 0
    with pytest.raises(InputError, match="found predictions of c and labels of a, b"):
        evaluate_events(truth, [event("dog, on, bicycle", 0, 10, stream="c")])


def test_counts_of_streams_add_up_to_those_of_all(tmp_path: Path) -> None:
    truths, events = [], []
    for stream, start in (("a", 0), ("b", 3), ("c", 20)):
        truths.append(event("person, ride, bicycle", 0, 10, stream=stream))
        events.append(event("person, ride, bicycle", start, 10 + start, stream=stream))
        events.append(event("dog, on, bicycle", 0, 10, stream=stream))
    each = []
    for k in range(3):
        truth = write_lines(tmp_path / f"{k}.jsonl", truths[k : k + 1])
        each.append(evaluate_events(truth, events[2 * k : 2 * k + 2]).overall)
    total = each[0] + each[1] + each[2]
    whole = evaluate_events(write_lines(tmp_path / "all.jsonl", truths), events).overall
    assert (total.truths, total.found, total.predicted, total.right) == (3, 2, 6, 2)
    for name in ("truths", "found", "predicted", "right", "false", "ignored", "f1"):
        assert getattr(total, name) == getattr(whole, name)


def test_labels_of_one_clip_pick_its_stream(tmp_path: Path) -> None:
    truth = labels(label("man", "ride", "bike", 0, 10))
    here, there = (event("person, ride, bicycle", 0, 10, stream=s) for s in ("clip", "other"))
    assert judge(tmp_path, truth, [here, there]).overall.predicted == 1
    assert judge(tmp_path, truth, [there]).overall.right == 1  # one stream needs no name
    with pytest.raises(InputError, match=r"found predictions of other, third"):
        judge(tmp_path, truth, [there, dataclasses.replace(here, stream="third")])


def test_empty_event_lines_as_truth_make_everything_false(tmp_path: Path) -> None:
    result = evaluate_events(
        write_lines(tmp_path / "truth.jsonl", []), [event("dog, on, bicycle", 0, 1)]
    )
    assert (result.overall.precision, result.overall.recall) == (0.0, None)


def test_result_is_json_and_complete(tmp_path: Path) -> None:
    truth = labels(label("man", "ride", "bike", 0, 10), label("man", "at", "desk", 12, 16))
    predicted = [event("person, ride, bicycle", 0, 9), event("dog, on, bicycle", 30, 31)]
    record = json.loads(json.dumps(judge(tmp_path, truth, predicted).to_dict(), allow_nan=False))
    assert record["overall"]["precision"] == 0.5
    assert record["overall"]["onset"] == {"mean": 0.0, "median": 0.0}
    assert [m["truth"]["name"] for m in record["matches"]] == ["man ride bike"]
    assert [m["truth"]["name"] for m in record["missed"]] == ["man at desk"]
    assert [f["reason"] for f in record["false"]] == ["nothing there"]
    assert sorted(record["by_predicate"]) == ["at", "on", "ride"]


# ---------------------------------------------------------------- real labels, refusals


@pytest.mark.parametrize(
    ("clip", "sure", "likely", "seconds"),
    [
        ("bikes", 7, 8, 10.0),
        ("bottle-detection", 15, 15, 39.86),
        ("one-by-one-person-detection", 6, 6, 139.4),
    ],
)
def test_labels_of_the_clips(
    shared_data: Path, clip: str, sure: int, likely: int, seconds: float
) -> None:
    path = shared_data / "events" / f"{clip}.json"
    (truth,) = load_event_truth(path)
    assert sum(e.scored for e in truth.events) == sure
    (generous,) = load_event_truth(path, certainty=("sure", "likely"))
    assert sum(e.scored for e in generous.events) == likely
    assert truth.duration is not None
    assert float(truth.duration) == seconds
    # Predicting the labels themselves finds all of them.
    predicted = [
        event(f"{e.subject}, {e.predicate}, {e.object}", float(e.start), float(e.end))
        for e in truth.events
    ]
    unique = [
        dataclasses.replace(e, event_id=f"{number:016x}") for number, e in enumerate(predicted)
    ]
    result = evaluate_events(path, unique)
    assert result.overall.f1 == 1.0
    assert result.overall.onset.mean == 0.0


def test_bikes_says_what_never_happens(shared_data: Path) -> None:
    path = shared_data / "events" / "bikes.json"
    result = evaluate_events(path, [event("person, ride, bicycle", 7.6, 8.4)])
    assert [(f.reason, f.note) for f in result.false] == [
        ("never", "nobody sits on a bicycle after the third cut")
    ]


BAD = label("man", "ride", "bike", 0, 10)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"schema": "vinfer-events-truth/2"}, "found schema 'vinfer-events-truth/2'"),
        ({"schema": "other"}, r"line 1: found schema 'other', expected \"vinfer.event/1\""),
        (labels({**BAD, "subject": "ghost"}), "subject 'ghost' is not among the ids of presence"),
        (labels({**BAD, "start": "soon"}), r"events\[0\].start: found 'soon', expected seconds"),
        (labels({**BAD, "certainty": "maybe"}), r"events\[0\].certainty: found 'maybe'"),
        (labels({k: v for k, v in BAD.items() if k != "end"}), "found no 'end'"),
        (labels() | {"events": 3}, "not valid vinfer-events-truth/1"),
    ],
)
def test_bad_labels(tmp_path: Path, truth: dict[str, Any], message: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth) + "\n")
    with pytest.raises(InputError, match=message):
        evaluate_events(path, [])


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="can't read"):
        evaluate_events(tmp_path / "none.json", [])
    with pytest.raises(InputError, match=r"threshold: found 0, expected a number in \(0, 1\]"):
        judge(tmp_path, labels(), [], threshold=0)
    with pytest.raises(InputError, match="certainty: found perhaps"):
        judge(tmp_path, labels(), [], certainty=("perhaps",))
