"""Events against true events: precision, recall, timing, false events per camera-hour.

An event is found when its triplet is right and its temporal IoU with the true one is large enough.
Boxes are not compared: the labels of clips have none, and an event line has only those of its peak.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any

from vinfer.errors import InputError
from vinfer.evaluation.event_matching import FalseEvent, Match, Matching, Missed, match_events
from vinfer.evaluation.event_truth import (
    EventTruth,
    TrueEvent,
    final_events,
    load_event_truth,
    normalised,
)
from vinfer.stores.jsonl import read_events
from vinfer.types import Event


@dataclasses.dataclass(frozen=True, slots=True)
class Errors:
    """Mean and median of absolute differences in seconds; None without a match."""

    mean: float | None
    median: float | None

    @classmethod
    def of(cls, differences: Iterable[Fraction]) -> Errors:
        """From signed differences in seconds."""
        sizes = [float(abs(d)) for d in differences]
        if not sizes:
            return cls(None, None)
        return cls(statistics.fmean(sizes), statistics.median(sizes))


@dataclasses.dataclass(frozen=True, slots=True)
class EventCounts:
    """How many events of one predicate, or of all, are right; streams may be added up.

    A match counts as ``found`` for the true event's predicate and as ``right`` for the predicted
    one; they differ where the labels name several predicates as right.

    Attributes:
        truths, found: true events that count, and those that were found.
        predicted, right: predicted events without the ignored ones, and those that are true.
        ignored: predicted events that agree only with labels that do not count.
    """

    truths: int
    found: int
    predicted: int
    right: int
    ignored: int

    def __add__(self, other: EventCounts) -> EventCounts:
        return EventCounts(
            truths=self.truths + other.truths,
            found=self.found + other.found,
            predicted=self.predicted + other.predicted,
            right=self.right + other.right,
            ignored=self.ignored + other.ignored,
        )

    @property
    def false(self) -> int:
        """Predicted events that are not true."""
        return self.predicted - self.right

    @property
    def precision(self) -> float | None:
        """``right / predicted``; None when nothing was predicted."""
        return self.right / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """``found / truths``; None when there is nothing to find."""
        return self.found / self.truths if self.truths else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean; None where a side has no value and the other is not 0.

        Labels that call several predicates right can make a predicate found without one predicted.
        """
        precision, recall = self.precision, self.recall
        if precision is None or recall is None:
            return 0.0 if 0 in (precision, recall) else None
        if not precision or not recall:
            return 0.0
        return 2 * precision * recall / (precision + recall)


@dataclasses.dataclass(frozen=True, slots=True)
class EventScores(EventCounts):
    """Figures of one predicate, or of all.

    Attributes:
        mean_overlap: mean temporal IoU of the matches, or None.
        onset, offset: absolute errors of start and end over the matches.
        false_per_hour: false events per hour of stream, or None where the length is not known.
    """

    mean_overlap: float | None
    onset: Errors
    offset: Errors
    false_per_hour: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            **dataclasses.asdict(self),
        }


@dataclasses.dataclass(frozen=True, slots=True)
class EventEvaluation:
    """What `evaluate_events` found.

    Attributes:
        threshold: least temporal IoU of a match.
        hours: length of the streams in hours, or None.
        overall: figures over all predicates.
        by_predicate: figures by normalised predicate, in alphabetical order.
        sayable: number of true events that the given vocabulary has a word for, or None.
        recall_sayable: share of them that was found, or None.
        matches, missed, false, ignored: every event, in order of time.
    """

    threshold: float
    hours: float | None
    overall: EventScores
    by_predicate: dict[str, EventScores]
    sayable: int | None
    recall_sayable: float | None
    matches: tuple[Match, ...]
    missed: tuple[Missed, ...]
    false: tuple[FalseEvent, ...]
    ignored: tuple[Event, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record; times in seconds."""
        return {
            "threshold": self.threshold,
            "hours": self.hours,
            "overall": self.overall.to_dict(),
            "by_predicate": {name: s.to_dict() for name, s in self.by_predicate.items()},
            "sayable": self.sayable,
            "recall_sayable": self.recall_sayable,
            "matches": [
                {
                    "truth": _truth_dict(m.truth),
                    "predicted": _event_dict(m.predicted),
                    "overlap": m.overlap,
                }
                for m in self.matches
            ],
            "missed": [
                {
                    "truth": _truth_dict(m.truth),
                    "reason": m.reason,
                    "overlap": m.overlap,
                    "closest": None if m.closest is None else _event_dict(m.closest),
                }
                for m in self.missed
            ],
            "false": [
                {
                    "predicted": _event_dict(f.predicted),
                    "reason": f.reason,
                    "note": f.note,
                    "overlap": f.overlap,
                    "closest": None if f.closest is None else _truth_dict(f.closest),
                }
                for f in self.false
            ],
            "ignored": [_event_dict(event) for event in self.ignored],
        }


def evaluate_events(
    truth: Path | str | Collection[EventTruth],
    predicted: Path | str | Collection[Event],
    *,
    threshold: float = 0.5,
    certainty: Collection[str] = ("sure",),
    predicates: Collection[str] | None = None,
    duration: Fraction | float | None = None,
) -> EventEvaluation:
    """Compare events with true ones (docs/events.md, "Measuring events").

    Args:
        truth: labels (``vinfer-events-truth/1``) or event lines of the true events; or labels that
            were read already, one entry a stream.
        predicted: event lines as `vinfer run` writes them, or events; the last report of each
            event counts.
        threshold: least temporal IoU of a match, in (0, 1].
        certainty: which labels of a file count; predictions that agree with the others are ignored.
        predicates: the model's vocabulary, for the recall over what it can say.
        duration: length of all streams in seconds, where the labels do not say it.

    Raises:
        SourceNotFoundError: a file can't be opened.
        InputError: a file is not valid, or its streams do not fit together.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold: found {threshold}, expected a number in (0, 1]")
    if isinstance(truth, str | Path):
        truths = load_event_truth(truth, certainty=certainty)
    else:
        truths = tuple(truth)
    events = final_events(
        read_events(predicted) if isinstance(predicted, str | Path) else predicted
    )
    vocabulary = None if predicates is None else frozenset(map(normalised, predicates))
    pairs = _by_stream(truths, events)
    matchings = [
        match_events(labels, these, threshold=Fraction(str(threshold)), vocabulary=vocabulary)
        for labels, these in pairs
    ]
    return _evaluation(matchings, threshold, _hours(pairs, duration), vocabulary)


def _by_stream(
    truths: Sequence[EventTruth], events: Sequence[Event]
) -> list[tuple[EventTruth, list[Event]]]:
    by_stream: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_stream[event.stream].append(event)
    if not truths:
        return [(EventTruth(stream, None, ()), these) for stream, these in by_stream.items()]
    if len(truths) == 1:
        # Labels name a file, streams are named after files or by the user.
        (labels,) = truths
        fitting = [s for s in by_stream if PurePath(s).stem == PurePath(labels.stream).stem]
        if len(by_stream) <= 1 or len(fitting) == 1:
            return [(labels, by_stream[fitting[0]] if fitting else list(events))]
    unknown = sorted(by_stream.keys() - {labels.stream for labels in truths})
    if unknown:
        raise InputError(
            f"found predictions of {', '.join(unknown)} and labels of "
            f"{', '.join(sorted(labels.stream for labels in truths))}; expected labels of the "
            "same streams"
        )
    return [(labels, by_stream[labels.stream]) for labels in truths]


def _hours(
    pairs: Sequence[tuple[EventTruth, Sequence[Event]]], duration: Fraction | float | None
) -> float | None:
    if duration is not None:
        return float(duration) / 3600
    lengths = [labels.duration for labels, _ in pairs]
    known = [length for length in lengths if length is not None]
    if not known or len(known) < len(lengths):
        return None
    return float(sum(known)) / 3600


def _evaluation(
    matchings: Sequence[Matching],
    threshold: float,
    hours: float | None,
    vocabulary: frozenset[str] | None,
) -> EventEvaluation:
    matches = sorted(
        (m for matching in matchings for m in matching.matches), key=lambda m: m.truth.start
    )
    missed = sorted(
        (m for matching in matchings for m in matching.missed), key=lambda m: m.truth.start
    )
    false = sorted(
        (f for matching in matchings for f in matching.false), key=lambda f: f.predicted.start
    )
    ignored = sorted((e for m in matchings for e in m.ignored), key=lambda e: e.start)
    said = {normalised(e.predicate) for e in _predictions(matches, false, ignored)}
    names = sorted({t.predicate for t in _truths(matches, missed)} | said)
    sayable = recall_sayable = None
    if vocabulary is not None:
        sayable = sum(bool(t.predicates & vocabulary) for t in _truths(matches, missed))
        found = sum(bool(m.truth.predicates & vocabulary) for m in matches)
        recall_sayable = found / sayable if sayable else None
    return EventEvaluation(
        threshold=threshold,
        hours=hours,
        overall=_scores(matches, missed, false, ignored, hours, None),
        by_predicate={
            name: _scores(matches, missed, false, ignored, hours, name) for name in names
        },
        sayable=sayable,
        recall_sayable=recall_sayable,
        matches=tuple(matches),
        missed=tuple(missed),
        false=tuple(false),
        ignored=tuple(ignored),
    )


def _truths(matches: Sequence[Match], missed: Sequence[Missed]) -> list[TrueEvent]:
    return [m.truth for m in matches] + [m.truth for m in missed]


def _predictions(
    matches: Sequence[Match], false: Sequence[FalseEvent], ignored: Sequence[Event]
) -> list[Event]:
    return [m.predicted for m in matches] + [f.predicted for f in false] + list(ignored)


def _scores(
    matches: Sequence[Match],
    missed: Sequence[Missed],
    false: Sequence[FalseEvent],
    ignored: Sequence[Event],
    hours: float | None,
    predicate: str | None,
) -> EventScores:
    def is_said(event: Event) -> bool:
        return predicate is None or normalised(event.predicate) == predicate

    def is_true(event: TrueEvent) -> bool:
        return predicate is None or event.predicate == predicate

    found = [m for m in matches if is_true(m.truth)]
    right = sum(is_said(m.predicted) for m in matches)
    wrong = sum(is_said(f.predicted) for f in false)
    return EventScores(
        truths=len(found) + sum(is_true(m.truth) for m in missed),
        found=len(found),
        predicted=right + wrong,
        right=right,
        ignored=sum(is_said(event) for event in ignored),
        mean_overlap=statistics.fmean(m.overlap for m in found) if found else None,
        onset=Errors.of(m.predicted.start - m.truth.start for m in found),
        offset=Errors.of(m.predicted.end - m.truth.end for m in found),
        false_per_hour=wrong / hours if hours else None,
    )


def _truth_dict(truth: TrueEvent) -> dict[str, Any]:
    return {
        "name": truth.name,
        "subject": truth.subject,
        "predicate": truth.predicate,
        "object": truth.object,
        "start": float(truth.start),
        "end": float(truth.end),
    }


def _event_dict(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "stream": event.stream,
        "subject": event.subject.label,
        "predicate": event.predicate,
        "object": event.object.label,
        "start": float(event.start),
        "end": float(event.end),
        "score": event.score,
    }
