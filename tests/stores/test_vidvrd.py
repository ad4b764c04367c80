"""VidVRD predictions, judged by a small evaluator that follows the public one's rules."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vinfer.errors import OutputError
from vinfer.stores.base import RunInfo
from vinfer.stores.vidvrd import VidvrdJson
from vinfer.types import (
    Detections,
    Event,
    Frame,
    FrameResult,
    Participant,
    Relations,
    RunSummary,
    StreamInfo,
)

MakeEvent = Callable[..., Event]
Box = tuple[float, float, float, float]
IMAGE = np.zeros((2, 2, 3), np.uint8)


def show(
    sink: VidvrdJson, index: int, boxes: dict[int, Box], *, rate: Fraction = Fraction(10)
) -> None:
    n = len(boxes)
    objects = Detections(
        np.array(list(boxes.values()), np.float32).reshape(n, 4),
        np.ones(n, np.float32),
        np.zeros(n, np.int32),
        np.array(list(boxes), np.int64),
        ("thing",),
    )
    frame = Frame(IMAGE, index / rate, index, "bikes", 0.0)
    sink.frame(frame, FrameResult(objects, Relations.empty(("on",))))


def happening(
    make_event: MakeEvent, first: int, last: int, *, kind: str = "close", **changes: Any
) -> Event:
    """`person 1 on bicycle 2` between two frames at 10 a second."""
    values: dict[str, Any] = {
        "type": kind,
        "event_id": f"{first:016x}",
        "start": Fraction(first, 10),
        "end": Fraction(last, 10),
        "start_frame": first,
        "end_frame": last,
        "subject": Participant("person", 1, (0.0, 0.0, 1.0, 1.0)),
        "object": Participant("bicycle", 2, (0.0, 0.0, 1.0, 1.0)),
    }
    return make_event(**(values | changes))


def instances(path: Path) -> list[dict[str, Any]]:
    content = json.loads(path.read_text())
    assert content["version"] == "VERSION 1.0"
    assert list(content["results"]) == ["bikes"]
    found: list[dict[str, Any]] = content["results"]["bikes"]
    return found


def person(index: float) -> Box:
    return (10 + 2 * index, 20, 30 + 2 * index, 60)


def bicycle(index: float) -> Box:
    return (5, 40 + index, 45, 80 + index)


# ---------------------------------------------------------------- a small evaluator of our own


def volume_overlap(first: dict[str, Any], second: dict[str, Any], role: str) -> float:
    """Intersection over union of two trajectories; boxes hold their right and bottom pixels."""

    def pixels(left: float, top: float, right: float, bottom: float) -> float:
        return max(0.0, right - left + 1) * max(0.0, bottom - top + 1)

    volumes = []
    boxes: list[dict[int, Sequence[float]]] = []
    for instance in (first, second):
        begin, end = instance["duration"]
        assert len(instance[role]) == end - begin, "one box a frame"
        boxes.append(dict(zip(range(begin, end), instance[role], strict=True)))
        volumes.append(sum(pixels(*box) for box in instance[role]))
    shared = 0.0
    for frame in boxes[0].keys() & boxes[1].keys():
        a, b = boxes[0][frame], boxes[1][frame]
        corners = (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        shared += pixels(*corners)
    return shared / (volumes[0] + volumes[1] - shared)


def average_precision(truth: list[dict[str, Any]], predicted: list[dict[str, Any]]) -> float:
    """VOC average precision of one video at a volume overlap of 0.5 of both trajectories."""
    left, hits = list(truth), []
    for guess in sorted(predicted, key=lambda instance: -instance["score"]):
        fitting = [
            (min(volume_overlap(guess, t, role) for role in ("sub_traj", "obj_traj")), n)
            for n, t in enumerate(left)
            if t["triplet"] == guess["triplet"]
        ]
        best, n = max(fitting, default=(0.0, -1))
        hits.append(best >= 0.5)
        if best >= 0.5:
            del left[n]
    precision = [sum(hits[: k + 1]) / (k + 1) for k in range(len(hits))]
    return sum(max(precision[k:]) for k, hit in enumerate(hits) if hit) / len(truth)


def truth_instance(triplet: list[str], first: int, end: int) -> dict[str, Any]:
    """Labels in whole pixels, right and bottom inclusive, as the data sets have them."""

    def inclusive(box: Box) -> list[int]:
        return [round(box[0]), round(box[1]), round(box[2]) - 1, round(box[3]) - 1]

    return {
        "triplet": triplet,
        "duration": [first, end],
        "sub_traj": [inclusive(person(i)) for i in range(first, end)],
        "obj_traj": [inclusive(bicycle(i)) for i in range(first, end)],
    }


def test_an_evaluator_finds_our_events(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "vidvrd.json"
    sink = VidvrdJson(path)
    sink.open(stream, run)
    for index in range(40):
        show(sink, index, {1: person(index), 2: bicycle(index)})
    sink.event(happening(make_event, 3, 12, score=0.9))
    sink.event(happening(make_event, 20, 39, score=0.5))
    sink.event(happening(make_event, 15, 18, score=0.7, predicate="under"))
    sink.close(summary)
    on = ["person", "on", "bicycle"]
    truth = [truth_instance(on, 3, 13), truth_instance(on, 20, 40)]
    found = instances(path)
    for guess, label in zip([found[0], found[1]], truth, strict=True):
        assert guess["duration"] == label["duration"]
        assert volume_overlap(guess, label, "sub_traj") == 1.0
        assert volume_overlap(guess, label, "obj_traj") == 1.0
    # Right, wrong, right: precision 1 at recall 1/2, then 2/3.
    assert average_precision(truth, found) == pytest.approx((1 + 2 / 3) / 2)


def test_frames_without_a_box_are_interpolated(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "vidvrd.json"
    sink = VidvrdJson(path)
    sink.open(stream, run)
    for index in (0, 1, 5, 6):  # both are lost for three frames
        show(sink, index, {1: person(index), 2: bicycle(index), -1: (0, 0, 99, 99)})
    show(sink, 7, {1: person(7)})
    show(sink, 8, {1: person(8), 2: bicycle(8)})
    sink.event(happening(make_event, 0, 8))
    sink.close(summary)
    (found,) = instances(path)
    assert found["duration"] == [0, 9]
    for index, (s, o) in enumerate(zip(found["sub_traj"], found["obj_traj"], strict=True)):
        x1, y1, x2, y2 = person(index)
        assert s == [x1, y1, x2 - 1, y2 - 1]
        x1, y1, x2, y2 = bicycle(index)
        assert o == [x1, y1, x2 - 1, y2 - 1]


def test_file_is_valid_after_every_event(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "vidvrd.json"
    sink = VidvrdJson(path)
    sink.open(stream, run)
    assert instances(path) == []
    for index in range(6):
        show(sink, index, {1: person(index), 2: bicycle(index)})
    for count in range(3):
        sink.event(happening(make_event, count, 5, kind="open"))
        assert len(instances(path)) == count
        sink.event(happening(make_event, count, 5))
        assert len(instances(path)) == count + 1
    sink.close(summary)
    assert [i["duration"] for i in instances(path)] == [[0, 6], [1, 6], [2, 6]]


def test_event_that_fits_only_partly_is_taken_back(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "vidvrd.json"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = VidvrdJson(path)
    sink.open(stream, run)
    for index in range(60):
        show(sink, index, {1: person(index), 2: bicycle(index)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        sink.event(happening(make_event, 0, 3))
        with pytest.raises(OutputError, match="may not write files that large"):
            sink.event(happening(make_event, 0, 59))
        assert [i["duration"] for i in instances(path)] == [[0, 4]]
        sink.event(happening(make_event, 4, 6))
        sink.close(summary)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [i["duration"] for i in instances(path)] == [[0, 4], [4, 7]]


def test_boxes_are_kept_for_announced_events_only(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "vidvrd.json"
    sink = VidvrdJson(path, history=Fraction(2))
    sink.open(stream, run)
    sizes = []
    for index in range(600):
        # Tracks 1 to 3 stay, each frame brings one that is never seen again.
        boxes = {track: person(index) for track in (1, 2, 3, 100 + index)}
        show(sink, index, boxes)
        if index == 102:
            sink.event(happening(make_event, 100, 102, kind="open"))
        sizes.append({track: len(t.frames) for track, t in sink._tracks.items()})
    assert max(len(size) for size in sizes) <= 3 + 41
    assert max(size[3] for size in sizes) <= 41
    assert sizes[-1][1] == sizes[-1][2] == 500
    sink.event(happening(make_event, 100, 599))
    for index in range(600, 622):
        show(sink, index, {1: person(index), 2: bicycle(index)})
    assert len(sink._tracks[1].frames) <= 41
    with pytest.raises(OutputError, match=r"starts at 10\.00 s, but .* longer history"):
        sink.event(happening(make_event, 100, 610))
    sink.close(summary)
    (found,) = instances(path)
    assert found["duration"] == [100, 600]


def test_place_that_cannot_be_written(tmp_path: Path, stream: StreamInfo, run: RunInfo) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a part of that path is a file"):
        VidvrdJson(tmp_path / "file" / "vidvrd.json").open(stream, run)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OutputError, match="No space left on device"):
        VidvrdJson("/dev/full").open(stream, run)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
