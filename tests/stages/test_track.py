from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import ConfigError
from vinfer.stages.track import Tracker
from vinfer.types import Detections

pytest.importorskip("trackers", reason="the extra vinfer[video] is not installed")

NAMES = ("person", "bicycle", "car")
Object = tuple[int, float, float, float, float, float]  # label, score, box


def objects(*given: Object) -> Detections:
    rows = np.array(given, np.float64).reshape(-1, 6)
    return Detections.untracked(
        rows[:, 2:].astype(np.float32),
        rows[:, 1].astype(np.float32),
        rows[:, 0].astype(np.int32),
        NAMES,
    )


def walker(frame: float, *, label: int = 0, score: float = 0.9, x: float = 10) -> Object:
    left = x + 4 * frame
    return (label, score, left, 20, left + 40, 120)


def ids_of(tracker: Tracker, frames: list[Detections], rate: int = 25) -> list[list[int]]:
    return [
        tracker.update(detections, Fraction(i, rate)).track_ids.tolist()
        for i, detections in enumerate(frames)
    ]


def test_a_moving_object_keeps_its_number_from_the_second_frame_on() -> None:
    ids = ids_of(Tracker(frame_rate=25), [objects(walker(i)) for i in range(10)])
    assert ids == [[-1]] + [[1]] * 9


def test_objects_come_back_unchanged_and_in_order() -> None:
    tracker = Tracker(frame_rate=25)
    # Low scores first: the library puts high scores before low ones.
    given = objects(walker(0, score=0.35, x=300), walker(0), walker(0, label=2, x=150))
    for i in range(4):
        result = tracker.update(given, Fraction(i, 25))
    np.testing.assert_array_equal(result.boxes, given.boxes)
    np.testing.assert_array_equal(result.scores, given.scores)
    np.testing.assert_array_equal(result.labels, given.labels)
    assert result.names == NAMES
    assert result.track_ids.tolist() == [-1, 1, 2]


def test_the_order_of_detections_does_not_move_ids() -> None:
    tracker = Tracker(frame_rate=25)
    people = [walker(0, x=10), walker(0, x=200), walker(0, x=400)]
    for i in range(3):
        first = tracker.update(objects(*people), Fraction(i, 25))
    turned = tracker.update(objects(*reversed(people)), Fraction(3, 25))
    assert sorted(first.track_ids.tolist()) == [1, 2, 3]
    assert turned.track_ids.tolist() == first.track_ids.tolist()[::-1]


def test_a_track_never_changes_its_class() -> None:
    frames = [objects(walker(i, label=2 if i % 2 else 1)) for i in range(12)]
    tracker = Tracker(frame_rate=25)
    labels: dict[int, set[int]] = {}
    for i, detections in enumerate(frames):
        result = tracker.update(detections, Fraction(i, 25))
        for label, track_id in zip(result.labels, result.track_ids, strict=True):
            labels.setdefault(int(track_id), set()).add(int(label))
    assert all(len(seen) == 1 for track_id, seen in labels.items() if track_id != -1)


def test_a_gap_is_bridged_and_a_long_one_is_not() -> None:
    def run(gap: int) -> list[list[int]]:
        seen = [objects(walker(i)) if i < 10 or i >= 10 + gap else objects() for i in range(60)]
        return ids_of(Tracker(frame_rate=25, lost_seconds=0.6), seen)

    assert run(10)[25] == [1]
    assert run(30)[50] == [2]


def test_the_buffer_counts_stream_time_not_frames() -> None:
    tracker = Tracker(frame_rate=25, lost_seconds=1.0)
    still = objects(walker(0))
    times = [Fraction(0), Fraction(1, 25), Fraction(2, 25)]
    for time in times:
        tracker.update(still, time)
    # One frame later in the file, three seconds later in the stream.
    assert tracker.update(still, Fraction(3)).track_ids.tolist() == [-1]
    assert tracker.update(still, Fraction(76, 25)).track_ids.tolist() == [2]


def test_variable_frame_rate_extrapolates_by_time() -> None:
    tracker = Tracker(frame_rate=25)
    frames = [0, 1, 2, 3, 4, 5, 6, 7, 14, 15, 22]  # at 4 px a frame, 28 px over a gap of 7
    ids = [
        tracker.update(objects(walker(2 * f)), Fraction(f, 25)).track_ids.tolist() for f in frames
    ]
    assert ids[1:] == [[1]] * 10


def test_low_scores_continue_a_track_but_do_not_start_one() -> None:
    faint = [objects(walker(i, score=0.35)) for i in range(6)]
    assert ids_of(Tracker(frame_rate=25), faint) == [[-1]] * 6
    fading = [objects(walker(i, score=0.9 if i < 3 else 0.35)) for i in range(6)]
    assert ids_of(Tracker(frame_rate=25), fading)[1:] == [[1]] * 5


def test_ids_are_not_used_again_after_reset() -> None:
    tracker = Tracker(frame_rate=25)
    for i in range(3):
        tracker.update(objects(walker(i), walker(i, label=1, x=200)), Fraction(i, 25))
    tracker.reset()
    after = [tracker.update(objects(walker(i)), Fraction(i, 25)) for i in range(3, 6)]
    assert [result.track_ids.tolist() for result in after] == [[-1], [3], [3]]


def test_an_empty_stream_of_frames() -> None:
    assert ids_of(Tracker(frame_rate=25), [objects()] * 3) == [[], [], []]


boxes = st.tuples(
    st.integers(0, 2),
    st.floats(0.125, 1, width=32),
    st.floats(0, 200, width=32),
    st.floats(0, 200, width=32),
    st.floats(1, 100, width=32),
    st.floats(1, 100, width=32),
).map(lambda b: (b[0], b[1], b[2], b[3], b[2] + b[4], b[3] + b[5]))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.lists(boxes, max_size=5) | st.none(), max_size=12))
def test_whatever_comes_ids_are_unique_and_of_one_class(frames: list[list[Object] | None]) -> None:
    def run() -> list[list[int]]:
        tracker = Tracker(frame_rate=25)
        ids: list[list[int]] = []
        classes: dict[int, int] = {}
        ended: set[int] = set()
        for i, found in enumerate(frames):
            if found is None:  # a shot cut
                tracker.reset()
                ended |= classes.keys()
                continue
            result = tracker.update(objects(*found), Fraction(i, 25))
            ids.append(result.track_ids.tolist())
            known = [track_id for track_id in ids[-1] if track_id != -1]
            assert len(known) == len(set(known))
            assert not ended & set(known)
            for track_id, label in zip(ids[-1], result.labels.tolist(), strict=True):
                assert track_id == -1 or classes.setdefault(track_id, label) == label
        return ids

    assert run() == run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_rate": 0}, "frame_rate is 0"),
        ({"frame_rate": 25, "activation": 1.5}, "activation is 1.5"),
        ({"frame_rate": 25, "min_frames": 1}, "min_frames is 1, expected 2 or more"),
        ({"frame_rate": 25, "lost_seconds": -1}, "lost_seconds is -1"),
        ({"frame_rate": 25, "min_iou": 0}, "min_iou is 0"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tracker(**options)  # type: ignore[arg-type]


def test_without_the_library_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['trackers'] = None\n"
        "from vinfer.stages.track import Tracker\n"
        "try: Tracker(frame_rate=25)\n"
        "except Exception as exc: print(type(exc).__name__, exc)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("MissingDependencyError"), done.stderr
    assert "pip install 'vinfer[video]'" in done.stdout


def test_tracking_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    ids_of(Tracker(frame_rate=25), [objects(walker(i)) for i in range(5)])
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_tracks_that_are_over_are_forgotten() -> None:
    tracker = Tracker(frame_rate=5)
    # Each object stays for two frames, far from the one before.
    frames = [objects(walker(0, x=100 * (i // 2 % 10))) for i in range(200)]
    ids = ids_of(tracker, frames, rate=5)
    assert [now for _, (now,) in zip(ids[::2], ids[1::2], strict=True)] == list(range(1, 101))
    assert sum(len(known) for known in tracker._ids.values()) <= 5
