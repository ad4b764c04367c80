"""Which predicted event is which true one, and why the rest is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Literal

from vinfer.evaluation.event_truth import EventTruth, TrueEvent, normalised
from vinfer.types import Event

MissReason = Literal["not in vocabulary", "taken", "wrong time", "wrong label", "not found"]
FalseReason = Literal["never", "duplicate", "wrong time", "wrong label", "nothing there"]


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """A predicted event that is a true one; ``overlap`` is their temporal IoU."""

    truth: TrueEvent
    predicted: Event
    overlap: float


@dataclasses.dataclass(frozen=True, slots=True)
class Missed:
    """A true event that was not found.

    Attributes:
        reason: ``not in vocabulary``: the model has no word for it; ``taken``: what fits was
            matched to another one; ``wrong time``: the triplet was predicted at another or only
            partly at this time; ``wrong label``: something else was predicted at this time;
            ``not found``.
        closest: the prediction that the reason speaks of, if any, and its temporal IoU.
    """

    truth: TrueEvent
    reason: MissReason
    overlap: float
    closest: Event | None


@dataclasses.dataclass(frozen=True, slots=True)
class FalseEvent:
    """A predicted event that is not true.

    Attributes:
        reason: ``never``: the labels say that it does not happen (``note`` says why);
            ``duplicate``: true, but found already; ``wrong time``: true at another time, or only
            partly at this one; ``wrong label``: something else is true at this time; ``nothing
            there``.
        closest: the label that the reason speaks of, if any, and its temporal IoU.
    """

    predicted: Event
    reason: FalseReason
    overlap: float
    closest: TrueEvent | None
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Matching:
    """All events of one stream; ``ignored`` predictions agree with labels that do not count."""

    matches: tuple[Match, ...]
    missed: tuple[Missed, ...]
    false: tuple[FalseEvent, ...]
    ignored: tuple[Event, ...]


def temporal_overlap(first: TrueEvent | Event, second: TrueEvent | Event) -> Fraction:
    """Intersection over union of two intervals; two equal instants overlap fully."""
    shared = _shared(first.start, first.end, second)
    union = (first.end - first.start) + (second.end - second.start) - shared
    if union == 0:
        return Fraction(first.start == second.start)
    return shared / union


def match_events(
    truth: EventTruth,
    predicted: Collection[Event],
    *,
    threshold: Fraction,
    vocabulary: frozenset[str] | None,
) -> Matching:
    """Match greedily, the most certain prediction first, each true event once.

    A prediction takes the true event of its triplet with the largest temporal IoU among those that
    are left, if that is at least ``threshold``.
    """
    scored = [event for event in truth.events if event.scored]
    order = sorted(predicted, key=lambda e: (-e.score, e.start, e.end, e.event_id))
    left, matches, rest = list(scored), [], []
    for event in order:
        fitting = [t for t in left if _agree(t, event)]
        best = max(fitting, key=lambda t: temporal_overlap(t, event), default=None)
        if best is None or temporal_overlap(best, event) < threshold:
            rest.append(event)
            continue
        left = [t for t in left if t is not best]
        matches.append(Match(best, event, float(temporal_overlap(best, event))))
    ignored = [event for event in rest if _is_ignored(truth, event, threshold)]
    false = [event for event in rest if not any(event is other for other in ignored)]
    return Matching(
        tuple(matches),
        tuple(_missed(event, order, threshold, vocabulary) for event in left),
        tuple(_false(event, truth, scored, threshold) for event in false),
        tuple(ignored),
    )


def _shared(start: Fraction, end: Fraction, other: TrueEvent | Event) -> Fraction:
    return max(Fraction(0), min(end, other.end) - max(start, other.start))


def _triplet(event: Event) -> tuple[str, str, str]:
    return (
        normalised(event.subject.label),
        normalised(event.predicate),
        normalised(event.object.label),
    )


def _agree(truth: TrueEvent, event: Event) -> bool:
    subject, predicate, object_ = _triplet(event)
    roles = [(truth.subject, truth.object), (truth.object, truth.subject)]
    return (subject, object_) in roles[: 1 + truth.symmetric] and predicate in truth.predicates


def _contradicted(truth: EventTruth, event: Event) -> str | None:
    """Why the labels say that this never happens, or None."""
    for never in truth.never:
        same = _triplet(event) == (never.subject, never.predicate, never.object)
        if same and _shared(never.start, never.end, event) > 0:
            return never.why
    return None


def _is_ignored(truth: EventTruth, event: Event, threshold: Fraction) -> bool:
    # As with crowd regions of object detection: the share of the prediction counts, so that a long
    # wrong event is not excused by a short doubtful one.
    if _contradicted(truth, event) is not None:
        return False
    return any(
        _share_within(label, event) >= threshold
        for label in truth.events
        if not label.scored and _agree(label, event)
    )


def _share_within(label: TrueEvent, event: Event) -> Fraction:
    """Share of a predicted event's duration that lies in a label's."""
    if event.duration == 0:
        return Fraction(label.start <= event.start <= label.end)
    return _shared(label.start, label.end, event) / event.duration


def _false(
    event: Event, truth: EventTruth, scored: Sequence[TrueEvent], threshold: Fraction
) -> FalseEvent:
    why = _contradicted(truth, event)
    if why is not None:
        return FalseEvent(event, "never", 0.0, None, why)

    def overlap_of(label: TrueEvent) -> Fraction:
        return temporal_overlap(label, event)

    same = max((t for t in scored if _agree(t, event)), key=overlap_of, default=None)
    other = max((t for t in scored if not _agree(t, event)), key=overlap_of, default=None)
    if same is not None and overlap_of(same) >= threshold:
        return FalseEvent(event, "duplicate", float(overlap_of(same)), same)
    if same is not None and overlap_of(same) > 0:
        return FalseEvent(event, "wrong time", float(overlap_of(same)), same)
    if other is not None and overlap_of(other) >= threshold:
        return FalseEvent(event, "wrong label", float(overlap_of(other)), other)
    if same is not None:
        return FalseEvent(event, "wrong time", 0.0, same)
    return FalseEvent(event, "nothing there", 0.0, None)


def _missed(
    truth: TrueEvent,
    predicted: Sequence[Event],
    threshold: Fraction,
    vocabulary: frozenset[str] | None,
) -> Missed:
    if vocabulary is not None and not truth.predicates & vocabulary:
        return Missed(truth, "not in vocabulary", 0.0, None)

    def overlap_with(event: Event) -> Fraction:
        return temporal_overlap(truth, event)

    same = max((e for e in predicted if _agree(truth, e)), key=overlap_with, default=None)
    other = max((e for e in predicted if not _agree(truth, e)), key=overlap_with, default=None)
    if same is not None and overlap_with(same) >= threshold:
        return Missed(truth, "taken", float(overlap_with(same)), same)
    if same is not None and overlap_with(same) > 0:
        return Missed(truth, "wrong time", float(overlap_with(same)), same)
    if other is not None and overlap_with(other) >= threshold:
        return Missed(truth, "wrong label", float(overlap_with(other)), other)
    if same is not None:
        return Missed(truth, "wrong time", 0.0, same)
    return Missed(truth, "not found", 0.0, None)
