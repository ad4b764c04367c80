"""Scores over time become events: hysteresis, merging of near runs, a shortest duration.

docs/events.md explains the rules; docstrings here say where each one is applied.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from vinfer.bundles.manifest import EventThresholds
from vinfer.errors import ConfigError, InputError
from vinfer.events.identity import EventKey, event_id, event_order
from vinfer.types import (
    UNTRACKED,
    Detections,
    Event,
    EventType,
    Float32Array,
    Participant,
    Relations,
)

LONGEST_WAIT = Fraction(10)
"""Seconds: what is further back when a run reaches ``min_peak`` is no part of its event."""


class _Limits(NamedTuple):
    """Thresholds of one predicate: scores as float32 values, times exact."""

    on: float
    off: float
    min_peak: float
    min_duration: Fraction
    merge_gap: Fraction
    max_missing: Fraction


class _Support(NamedTuple):
    """A frame that supports a run."""

    time: Fraction
    frame: int
    score: float


class _Evidence(NamedTuple):
    """The best candidate of a key on one frame: score and the two objects' indices."""

    score: float
    subject: int
    object: int


@dataclasses.dataclass(slots=True)
class _Run:
    """Supporting frames of one key, merged over the gaps that the rules allow."""

    start: Fraction
    start_frame: int
    end: Fraction
    end_frame: int
    subject: Participant
    object: Participant
    peak_score: float
    peak_time: Fraction
    peak_frame: int
    total: float = 0.0
    support: int = 0
    is_on: bool = True
    # The supporting frames while none has reached `min_peak`; None from then on.
    waiting: deque[_Support] | None = dataclasses.field(default_factory=deque)
    # Stream time at which the last `open` or `update` went out, and the end it told.
    told_at: Fraction | None = None
    told_end: Fraction | None = None


class Segmenter:
    """Turns the relations of tracked objects, frame by frame, into events of one stream.

    The result does not depend on how the stream is cut into calls, and what `push` reports as final
    is what the whole score sequence gives when all of it is known. Memory is that of the runs which
    are on or may still be merged; it does not grow with the length of the stream.

    Attributes:
        dropped: candidates that could have supported an event and were left out, by reason:
            ``self_relation`` (subject and object are one track). Objects that have no track yet are
            no loss and not counted.
    """

    def __init__(
        self,
        stream: str,
        thresholds: Mapping[str, EventThresholds],
        *,
        symmetric: Collection[str] = (),
        update_interval: Fraction = Fraction(1),
        bundle: str = "",
        config_hash: str = "",
    ) -> None:
        """Begin a stream.

        Args:
            stream: name of the stream, part of every event id.
            thresholds: by predicate; one that is not listed never becomes an event.
            symmetric: predicates that hold in both directions or in none: the smaller track id
                is the subject, the score is the larger of both directions.
            update_interval: least stream time between two reports of an event that goes on, s.
            bundle, config_hash: copied into each event.

        Raises:
            ConfigError: ``update_interval`` is negative.
        """
        if update_interval < 0:
            raise ConfigError(f"update_interval: found {update_interval} s, expected 0 or more")
        self._stream = stream
        self._limits = {name: _limits(values) for name, values in thresholds.items()}
        self._symmetric = frozenset(symmetric)
        self._update_interval = update_interval
        self._bundle = bundle
        self._config_hash = config_hash
        self._runs: dict[EventKey, _Run] = {}
        self._time: Fraction | None = None
        self._names: tuple[str, ...] = ()
        self._least_scores: Float32Array = np.zeros(0, np.float32)
        self.dropped: Counter[str] = Counter()

    def push(
        self,
        frame_time: Fraction,
        frame_index: int,
        detections: Detections,
        relations: Relations,
    ) -> list[Event]:
        """Take the next frame.

        A pair of tracks that are both in ``detections`` but have no candidate counts as score 0; a
        pair with a track that is absent counts as not scored.

        Args:
            frame_time: presentation time in seconds, larger than that of the frame before.
            frame_index: number of the frame.
            detections: the frame's objects, tracked.
            relations: scored candidates among them.

        Returns:
            What became known with this frame, ordered by (start, end, subject track, predicate,
            object track).

        Raises:
            InputError: ``frame_time`` does not come after the frame before.
        """
        if self._time is not None and frame_time <= self._time:
            raise InputError(
                f"frame {frame_index} of {self._stream!r}: found time {frame_time} s after "
                f"{self._time} s, expected times that grow; sort the frames by time"
            )
        self._time = frame_time
        evidence = self._evidence(detections, relations)
        present = set(detections.track_ids.tolist())
        events: list[Event] = []
        for key in [*self._runs, *(key for key in evidence if key not in self._runs)]:
            best = evidence.get(key)
            if best is not None:
                score: float | None = best.score
            else:
                score = 0.0 if key.subject in present and key.object in present else None
            self._close_if_over(key, score, frame_time, events)
            self._support(key, score, best, frame_time, frame_index, detections)
            self._announce(key, frame_time, events)
        return sorted(events, key=event_order)

    def cut(self) -> list[Event]:
        """A shot cut: every run ends at its last supporting frame and nothing merges across.

        Returns:
            The ``close`` of each announced event, ordered as in `push`.
        """
        events = [
            self._event("close", key, run)
            for key, run in self._runs.items()
            if run.told_at is not None
        ]
        self._runs.clear()
        return sorted(events, key=event_order)

    def finish(self) -> list[Event]:
        """The end of the stream: the same as a cut."""
        return self.cut()

    def _evidence(self, detections: Detections, relations: Relations) -> dict[EventKey, _Evidence]:
        """The best candidate of each key that reaches `off`; below it a candidate says nothing."""
        if relations.names != self._names:
            self._names = relations.names
            self._least_scores = np.array(
                [self._limits[n].off if n in self._limits else np.inf for n in relations.names],
                np.float32,
            )
        best: dict[EventKey, _Evidence] = {}
        supporting = relations.scores >= self._least_scores[relations.predicates]
        for row in np.flatnonzero(supporting).tolist():
            i, j = relations.pairs[row].tolist()
            subject, object_ = int(detections.track_ids[i]), int(detections.track_ids[j])
            predicate = relations.name(row)
            if UNTRACKED in (subject, object_):
                continue
            if subject == object_:
                self.dropped["self_relation"] += 1
                continue
            if predicate in self._symmetric and object_ < subject:
                i, j, subject, object_ = j, i, object_, subject
            key = EventKey(subject, predicate, object_)
            score = float(relations.scores[row])
            if key not in best or score > best[key].score:
                best[key] = _Evidence(score, i, j)
        return best

    def _close_if_over(
        self, key: EventKey, score: float | None, time: Fraction, events: list[Event]
    ) -> None:
        run = self._runs.get(key)
        if run is None:
            return
        limits = self._limits[key.predicate]
        quiet = time - run.end
        if quiet > limits.max_missing or (score is not None and score < limits.off):
            run.is_on = False
        if not run.is_on and quiet > limits.merge_gap:
            del self._runs[key]
            if run.told_at is not None:
                events.append(self._event("close", key, run))

    def _support(
        self,
        key: EventKey,
        score: float | None,
        evidence: _Evidence | None,
        time: Fraction,
        frame: int,
        detections: Detections,
    ) -> None:
        run = self._runs.get(key)
        limits = self._limits[key.predicate]
        needed = limits.off if run is not None and run.is_on else limits.on
        if score is None or score < needed:
            return
        if evidence is not None and (run is None or score > run.peak_score):
            subject = _participant(detections, evidence.subject)
            object_ = _participant(detections, evidence.object)
            if run is None:
                run = _Run(time, frame, time, frame, subject, object_, score, time, frame)
                self._runs[key] = run
            else:
                run.subject, run.object = subject, object_
                run.peak_score, run.peak_time, run.peak_frame = score, time, frame
        if run is None:
            return
        run.is_on = True
        run.end, run.end_frame = time, frame
        if run.waiting is not None:
            run.waiting.append(_Support(time, frame, score))
            while time - run.waiting[0].time > LONGEST_WAIT:
                run.waiting.popleft()
            if run.peak_score >= limits.min_peak:
                run.start, run.start_frame, _ = run.waiting[0]
                run.total = sum(each.score for each in run.waiting)
                run.support = len(run.waiting)
                run.waiting = None
        else:
            run.total += score
            run.support += 1

    def _announce(self, key: EventKey, time: Fraction, events: list[Event]) -> None:
        run = self._runs.get(key)
        if run is None or not run.is_on or run.waiting is not None:
            return
        kind: EventType
        if run.told_at is None:
            if run.end - run.start < self._limits[key.predicate].min_duration:
                return
            kind = "open"
        else:
            if run.end == run.told_end or time - run.told_at < self._update_interval:
                return
            kind = "update"
        run.told_at, run.told_end = time, run.end
        events.append(self._event(kind, key, run))

    def _event(self, kind: EventType, key: EventKey, run: _Run) -> Event:
        return Event(
            type=kind,
            event_id=event_id(self._stream, key, run.start),
            stream=self._stream,
            start=run.start,
            end=run.end,
            start_frame=run.start_frame,
            end_frame=run.end_frame,
            subject=run.subject,
            predicate=key.predicate,
            object=run.object,
            score=run.total / run.support,
            peak_score=run.peak_score,
            peak_time=run.peak_time,
            peak_frame=run.peak_frame,
            support=run.support,
            bundle=self._bundle,
            config_hash=self._config_hash,
        )


def longest_lead(thresholds: Iterable[EventThresholds]) -> Fraction:
    """How far before its announcement an event may start at most, seconds; 0 without thresholds."""
    return max(
        (
            each.min_duration
            + max(each.max_missing, each.merge_gap)
            + (LONGEST_WAIT if each.min_peak > each.on else 0)
            for each in map(_limits, thresholds)
        ),
        default=Fraction(0),
    )


def _participant(detections: Detections, i: int) -> Participant:
    x1, y1, x2, y2 = detections.boxes[i].tolist()
    return Participant(detections.name(i), int(detections.track_ids[i]), (x1, y1, x2, y2))


def _limits(thresholds: EventThresholds) -> _Limits:
    def exact(seconds: float) -> Fraction:
        # The decimal as written: 0.2 means 1/5, which two frames at 10/s reach; the nearest double
        # is a little more than that.
        return Fraction(str(seconds))

    # Scores are float32: a score of 0.7 must meet a threshold of 0.7.
    return _Limits(
        on=float(np.float32(thresholds.on)),
        off=float(np.float32(thresholds.off)),
        min_peak=float(np.float32(thresholds.min_peak)),
        min_duration=exact(thresholds.min_duration),
        merge_gap=exact(thresholds.merge_gap),
        max_missing=exact(thresholds.max_missing),
    )
