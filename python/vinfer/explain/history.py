"""The scores of each event's pair over time, kept while a run goes on."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Collection, Mapping
from fractions import Fraction

import numpy as np

from vinfer.bundles.manifest import EventThresholds
from vinfer.events.identity import EventKey, event_order
from vinfer.events.segments import longest_lead
from vinfer.explain.pair import pair_score
from vinfer.stores.base import RunInfo
from vinfer.types import Event, Float32Array, Frame, FrameResult, RunSummary, StreamInfo

# Frames may come seconds apart (a folder of images): then seconds alone would keep too few.
_LEAST_FRAMES = 8


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ScoreTrace:
    """Scores of one pair and predicate, frame by frame.

    Attributes:
        times: stream times of the frames, seconds, ascending.
        scores: float32 ``[len(times)]``: as events count them. 0 for a pair whose score is below
            ``relations.min_score``, NaN where subject or object was not seen.
    """

    times: tuple[Fraction, ...]
    scores: Float32Array


@dataclasses.dataclass(slots=True)
class _Trace:
    key: EventKey
    times: list[Fraction]
    scores: list[float]
    until: Fraction | None = None  # known when the event is final


class ScoreHistory:
    """Sink that keeps a `ScoreTrace` of each event, some seconds before and after included.

    What is kept of frames without an event are their last seconds; of an event 16 bytes a frame.
    """

    def __init__(
        self,
        thresholds: Mapping[str, EventThresholds],
        *,
        symmetric: Collection[str] = (),
        context: Fraction = Fraction(1),
        keep: int | None = None,
    ) -> None:
        """Begin a run.

        Args:
            thresholds: of the predicates that may become events.
            symmetric: predicates whose score is the larger one of both directions.
            context: stream time to keep before and after each event, seconds.
            keep: of the final events keep the traces of so many with the best score; None: of all.
        """
        self._symmetric = frozenset(symmetric)
        self._context = context
        self._keep = keep
        self._window = context + longest_lead(thresholds.values())
        self._recent: deque[tuple[Fraction, FrameResult]] = deque()
        self._traces: dict[str, _Trace] = {}
        self._growing: dict[str, _Trace] = {}  # those of the traces that are not complete
        self._final: dict[str, Event] = {}

    def open(self, info: StreamInfo, run: RunInfo) -> None:
        """Nothing to prepare."""

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """Remember the frame's scores, and forget the oldest that belong to no event."""
        self._recent.append((frame.time, result))
        while len(self._recent) > _LEAST_FRAMES and frame.time - self._recent[0][0] > self._window:
            self._recent.popleft()
        for event_id, trace in list(self._growing.items()):
            if trace.until is not None and frame.time > trace.until:
                del self._growing[event_id]
                continue
            trace.times.append(frame.time)
            trace.scores.append(self._score(trace.key, result))

    def event(self, event: Event) -> None:
        """Begin a trace with ``open``, end it with ``close``."""
        if event.event_id not in self._traces:
            self._begin(event)
        if event.type == "close":
            self._traces[event.event_id].until = event.end + self._context
            self._final[event.event_id] = event
            if self._keep is not None and len(self._final) > self._keep:
                worst = max(self._final.values(), key=best_first)
                del self._final[worst.event_id], self._traces[worst.event_id]
                self._growing.pop(worst.event_id, None)

    def close(self, summary: RunSummary) -> None:
        """Nothing to finish."""

    def events(self) -> list[Event]:
        """The final events that have a trace, best first."""
        return sorted(self._final.values(), key=best_first)

    def trace(self, event: Event) -> ScoreTrace:
        """The trace of one of `events`."""
        kept = self._traces[event.event_id]
        rows = [
            (time, score)
            for time, score in zip(kept.times, kept.scores, strict=True)
            if event.start - self._context <= time <= event.end + self._context
        ]
        return ScoreTrace(
            tuple(time for time, _ in rows), np.array([score for _, score in rows], np.float32)
        )

    def _begin(self, event: Event) -> None:
        key = EventKey(event.subject.track_id, event.predicate, event.object.track_id)
        first = event.start - self._context
        rows = [(time, result) for time, result in self._recent if time >= first]
        self._traces[event.event_id] = self._growing[event.event_id] = _Trace(
            key, [time for time, _ in rows], [self._score(key, result) for _, result in rows]
        )

    def _score(self, key: EventKey, result: FrameResult) -> float:
        row = {track: i for i, track in enumerate(result.detections.track_ids.tolist())}
        if key.subject not in row or key.object not in row:
            return math.nan
        return pair_score(
            result.relations,
            row[key.subject],
            key.predicate,
            row[key.object],
            symmetric=key.predicate in self._symmetric,
        )


def best_first(event: Event) -> tuple[object, ...]:
    """Sort key: the better mean score first, then as events are listed."""
    return (-event.score, *event_order(event))
