"""True events, from the labels of a clip (``vinfer-events-truth/1``) or from event lines."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection
from fractions import Fraction
from pathlib import Path
from typing import Any

from vinfer.errors import InputError, SourceNotFoundError
from vinfer.stores.jsonl import read_events
from vinfer.types import Event

SCHEMA = "vinfer-events-truth/1"
CERTAINTIES = ("sure", "likely", "doubtful")


def normalised(name: str) -> str:
    """A predicate or class name without case, and with single blanks for ``_`` and ``-``."""
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


@dataclasses.dataclass(frozen=True, slots=True)
class TrueEvent:
    """One labelled event.

    Attributes:
        subject, predicate, object: class names and predicate, normalised.
        also_right: predicates that are equally right, normalised.
        start, end: stream time in seconds.
        scored: False where it is too uncertain to count: what agrees with it is neither right nor
            wrong.
        name: the triplet with the objects' own names, for people.
        symmetric: it is as right with subject and object exchanged.
    """

    subject: str
    predicate: str
    object: str
    start: Fraction
    end: Fraction
    also_right: frozenset[str] = frozenset()
    scored: bool = True
    name: str = ""
    symmetric: bool = False

    @property
    def predicates(self) -> frozenset[str]:
        """Every predicate that is right."""
        return self.also_right | {self.predicate}


@dataclasses.dataclass(frozen=True, slots=True)
class Never:
    """What certainly does not happen in ``[start, end]``; names are normalised."""

    subject: str
    predicate: str
    object: str
    start: Fraction
    end: Fraction
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class EventTruth:
    """The labels of one stream.

    Attributes:
        stream: its name, a file name or a stem.
        duration: seconds, None where the labels do not say.
        events, never: the labels.
    """

    stream: str
    duration: Fraction | None
    events: tuple[TrueEvent, ...]
    never: tuple[Never, ...] = ()


def load_event_truth(
    path: Path | str, *, certainty: Collection[str] = ("sure",)
) -> tuple[EventTruth, ...]:
    """Read true events.

    Args:
        path: a JSON file of schema ``vinfer-events-truth/1``, or event lines
            (``vinfer.event/1``, the last line of each event counts).
        certainty: which labels count, of ``sure``, ``likely``, ``doubtful``; the others make
            predictions that agree with them neither right nor wrong.

    Returns:
        The labels by stream; one stream for a JSON file.

    Raises:
        SourceNotFoundError: the file can't be opened.
        InputError: it is neither, or a field is missing or wrong; the message names it.
    """
    unknown = set(certainty) - set(CERTAINTIES)
    if unknown:
        raise InputError(
            f"certainty: found {', '.join(sorted(unknown))}, expected any of "
            f"{', '.join(CERTAINTIES)}"
        )
    try:
        content = Path(path).read_bytes()
    except OSError as exc:
        raise SourceNotFoundError(
            f"can't read {path}: {exc.strerror}; expected a file of true events"
        ) from exc
    try:
        data = json.loads(content)
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        if isinstance(data, dict) and str(data.get("schema")).startswith("vinfer-events-truth/"):
            raise InputError(
                f"{path}: found schema {data['schema']!r}, this vinfer reads {SCHEMA!r}; "
                "upgrade vinfer"
            )
        return _truth_of_lines(final_events(read_events(path)))
    try:
        return (truth_of_labels(data, certainty),)
    except KeyError as exc:
        raise InputError(f"{path}: found no {exc.args[0]!r} where {SCHEMA} needs it") from exc
    except (TypeError, ValueError, AttributeError) as exc:
        raise InputError(f"{path}: not valid {SCHEMA}: {exc}") from exc


def final_events(events: Collection[Event]) -> list[Event]:
    """The last report of each event, in the order in which the events were announced."""
    last: dict[tuple[str, str], Event] = {}
    for event in events:
        last[event.stream, event.event_id] = event
    return list(last.values())


def _truth_of_lines(events: Collection[Event]) -> tuple[EventTruth, ...]:
    by_stream: dict[str, list[TrueEvent]] = {}
    for event in events:
        by_stream.setdefault(event.stream, []).append(
            TrueEvent(
                normalised(event.subject.label),
                normalised(event.predicate),
                normalised(event.object.label),
                event.start,
                event.end,
                name=f"{event.subject.label}#{event.subject.track_id} {event.predicate} "
                f"{event.object.label}#{event.object.track_id}",
            )
        )
    return tuple(EventTruth(stream, None, tuple(these)) for stream, these in by_stream.items())


def _seconds(value: Any, where: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where}: found {value!r}, expected seconds")
    return Fraction(str(value))


def truth_of_labels(data: dict[str, Any], certainty: Collection[str] = ("sure",)) -> EventTruth:
    """The labels that a JSON file of schema ``vinfer-events-truth/1`` holds.

    Of an event of a symmetric predicate that is labelled both ways one is left.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: a field is missing or wrong.
    """
    classes = {str(entry["id"]): str(entry["class"]) for entry in data["presence"]}

    def class_of(event: dict[str, Any], role: str) -> str:
        if event[role] not in classes:
            raise ValueError(f"{role} {event[role]!r} is not among the ids of presence")
        return normalised(classes[event[role]])

    symmetric = frozenset(normalised(name) for name in data.get("symmetric", ()))
    mirrored: set[tuple[Any, ...]] = set()
    events = []
    for number, event in enumerate(data["events"]):
        if event["certainty"] not in CERTAINTIES:
            raise ValueError(
                f"events[{number}].certainty: found {event['certainty']!r}, expected one of "
                f"{', '.join(CERTAINTIES)}"
            )
        predicate = normalised(event["predicate"])
        if predicate in symmetric:
            pair = frozenset((event["subject"], event["object"]))
            key = pair, predicate, event["start"], event["end"]
            if key in mirrored:
                continue
            mirrored.add(key)
        events.append(
            TrueEvent(
                class_of(event, "subject"),
                predicate,
                class_of(event, "object"),
                _seconds(event["start"], f"events[{number}].start"),
                _seconds(event["end"], f"events[{number}].end"),
                frozenset(normalised(name) for name in event.get("also_right", ())),
                event["certainty"] in certainty,
                f"{event['subject']} {event['predicate']} {event['object']}",
                predicate in symmetric,
            )
        )
    never = tuple(
        Never(
            normalised(entry["subject"]),
            normalised(entry["predicate"]),
            normalised(entry["object"]),
            _seconds(entry["from"], "never.from"),
            _seconds(entry["to"], "never.to"),
            str(entry["why"]),
        )
        for entry in data.get("never", ())
    )
    duration = _seconds(data["duration"], "duration") if "duration" in data else None
    return EventTruth(str(data["video"]), duration, tuple(events), never)
