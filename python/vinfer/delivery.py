"""From the engine to the sinks: every frame and event reaches each, and each is closed."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from types import TracebackType

from vinfer.events.identity import event_order
from vinfer.events.segments import Segmenter
from vinfer.sources import Source
from vinfer.stores.base import RunInfo, Sink
from vinfer.types import Event, Frame, FrameResult, RunSummary, StreamInfo

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        info: the stream.
        num_frames: frames processed.
        stream_time: stream time of the last one, seconds.
        frames_per_second: mean rate since the run began.
        num_events: events announced.
    """

    info: StreamInfo
    num_frames: int
    stream_time: Fraction
    frames_per_second: float
    num_events: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One frame, what was found in it, and the events that became known with it.

    ``ended`` are events that a shot cut before this frame ended; ``events`` came with the frame.
    """

    frame: Frame
    result: FrameResult
    ended: list[Event]
    events: list[Event]


class Delivery:
    """Feeds sinks and keeps count; on exit, however it comes, events and sinks are closed."""

    def __init__(
        self,
        stream: Source,
        segmenter: Segmenter,
        sinks: Sequence[Sink],
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.stream = stream
        self.segmenter = segmenter
        self.sinks = sinks
        self.on_progress = on_progress
        self.opened: list[Sink] = []
        self.complete = False
        self.num_frames = 0
        self.num_events = 0
        self.stream_time = Fraction(0)
        self.final: list[Event] = []
        self.began = time.perf_counter()

    def open(self, run_info: RunInfo) -> None:
        for sink in self.sinks:
            sink.open(self.stream.info, run_info)
            self.opened.append(sink)

    def push(self, step: Step) -> None:
        # The segmenter has let go of these events: a sink that fails must not keep them from the
        # others, which would never hear of their end.
        failures = self._emit(step.ended)
        failures += self._each(lambda sink: sink.frame(step.frame, step.result))
        failures += self._emit(step.events)
        if failures:
            raise next((f for f in failures if not isinstance(f, Exception)), failures[0])
        self.num_frames += 1
        self.stream_time = step.frame.time
        if self.on_progress is not None:
            rate = self.num_frames / max(time.perf_counter() - self.began, 1e-9)
            self.on_progress(
                Progress(self.stream.info, self.num_frames, self.stream_time, rate, self.num_events)
            )

    def _each(self, tell: Callable[[Sink], None]) -> list[BaseException]:
        """What the sinks raised; also an interrupt waits until each of them has been told."""
        failures: list[BaseException] = []
        for sink in self.opened:
            try:
                tell(sink)
            except BaseException as exc:
                failures.append(exc)
        return failures

    def _emit(self, events: list[Event]) -> list[BaseException]:
        for event in events:
            self.num_events += event.type == "open"
            if event.type == "close":
                self.final.append(event)

        def tell(sink: Sink) -> None:
            for event in events:
                sink.event(event)

        return self._each(tell)

    def _summary(self) -> RunSummary:
        return RunSummary(
            stream=self.stream.info,
            num_frames=self.num_frames,
            stream_seconds=self.stream_time,
            wall_seconds=time.perf_counter() - self.began,
            events=tuple(sorted(self.final, key=event_order)),
            dropped=dict(Counter(self.stream.dropped) + Counter(self.segmenter.dropped)),
            complete=self.complete,
        )

    def __enter__(self) -> Delivery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failures = self._emit(self.segmenter.finish())
        self.complete = self.complete and not failures
        self.summary = self._summary()
        failures += self._each(lambda sink: sink.close(self.summary))
        for failure in failures:
            _logger.error("closing a sink failed: %s", failure)
        # An interrupt must not hide that files are incomplete; an error that ended the run says it.
        if failures and not isinstance(value, Exception):
            raise failures[0] from value
