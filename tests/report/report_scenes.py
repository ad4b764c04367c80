"""Small runs made by code: grey pictures in which two objects stand, and hand-made events."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from vinfer.stores.base import RunInfo, Sink
from vinfer.types import (
    Detections,
    Event,
    EventType,
    Frame,
    FrameResult,
    Participant,
    Relations,
    RunSummary,
    StreamInfo,
    UInt8Array,
)

LABELS = ("person", "bicycle")
PREDICATES = ("on", "next to", "hold")
RATE = 10
WIDTH, HEIGHT = 320, 180
PERSON_BOX = (40.0, 40.0, 100.0, 120.0)
BICYCLE_BOX = (180.0, 50.0, 280.0, 130.0)
RUN = RunInfo("relations@1.2.0", "detector@3.0.0", "0123456789abcdef", {}, "0.1.0", PREDICATES)


def stream(
    name: str = "clip.mp4",
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    num_frames: int | None = None,
) -> StreamInfo:
    duration = None if num_frames is None else Fraction(num_frames, RATE)
    return StreamInfo(name, name, width, height, Fraction(RATE), duration, num_frames)


def grey(level: int = 128, *, width: int = WIDTH, height: int = HEIGHT) -> UInt8Array:
    return np.full((height, width, 3), level, np.uint8)


def frame(index: int, image: UInt8Array | None = None, *, time: Fraction | None = None) -> Frame:
    picture = grey() if image is None else image
    moment = Fraction(index, RATE) if time is None else time
    return Frame(picture, moment, index, "clip.mp4", 0.0)


def found(
    boxes: Sequence[Sequence[float]] = (PERSON_BOX, BICYCLE_BOX), *, cut: bool = False
) -> FrameResult:
    """Tracks 3, 4, ... with the labels person, bicycle, person, ..."""
    n = len(boxes)
    return FrameResult(
        Detections(
            np.array(boxes, np.float32).reshape(n, 4),
            np.full(n, 0.9, np.float32),
            np.arange(n, dtype=np.int32) % 2,
            np.arange(3, 3 + n, dtype=np.int64),
            LABELS,
        ),
        Relations.empty(PREDICATES),
        cut,
    )


def nothing_found() -> FrameResult:
    return found(())


def event(
    number: int = 1,
    predicate: str = "on",
    start: Fraction | float = Fraction(1),
    end: Fraction | float = Fraction(2),
    *,
    kind: EventType = "close",
    score: float = 0.8,
    peak: int | None = None,
    subject: Participant | None = None,
    object_: Participant | None = None,
) -> Event:
    first, last = Fraction(start).limit_denominator(1000), Fraction(end).limit_denominator(1000)
    best = int(first * RATE) if peak is None else peak
    return Event(
        type=kind,
        event_id=f"{number:016x}",
        stream="clip.mp4",
        start=first,
        end=last,
        start_frame=int(first * RATE),
        end_frame=int(last * RATE),
        subject=subject or Participant("person", 3, PERSON_BOX),
        predicate=predicate,
        object=object_ or Participant("bicycle", 4, BICYCLE_BOX),
        score=score,
        peak_score=score,
        peak_time=Fraction(best, RATE),
        peak_frame=best,
        support=int((last - first) * RATE) + 1,
    )


def summary(
    events: Iterable[Event] = (),
    *,
    info: StreamInfo | None = None,
    num_frames: int = 30,
    complete: bool = True,
    dropped: dict[str, int] | None = None,
) -> RunSummary:
    last = Fraction(max(0, num_frames - 1), RATE)
    return RunSummary(
        info or stream(), num_frames, last, 1.0, tuple(events), dropped or {}, complete
    )


def play(
    sinks: Sequence[Sink], events: Sequence[Event], *, num_frames: int, cuts: Sequence[int] = ()
) -> None:
    """Run frames with two still objects through sinks; each event opens with its first frame."""
    for sink in sinks:
        sink.open(stream(num_frames=num_frames), RUN)
    for index in range(num_frames):
        now = frame(index, grey(60 + index % 120))
        for sink in sinks:
            sink.frame(now, found(cut=index in cuts))
            for final in events:
                if final.start == now.time:
                    sink.event(dataclasses.replace(final, type="open", end=final.start))
                if final.end == now.time:
                    sink.event(final)
    for sink in sinks:
        sink.close(summary(events, info=stream(num_frames=num_frames), num_frames=num_frames))
