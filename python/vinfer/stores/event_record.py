"""One event as one JSON object: schema ``vinfer.event/1`` (docs/events.md)."""

from __future__ import annotations

import importlib.resources
import json
import math
from fractions import Fraction
from typing import Annotated, Any, Literal

import pydantic

from vinfer.errors import InputError
from vinfer.types import Event, EventType, Participant

SCHEMA = "vinfer.event/1"

_Probability = Annotated[float, pydantic.Field(ge=0, le=1, allow_inf_nan=False)]
_Coordinate = Annotated[float, pydantic.Field(allow_inf_nan=False)]
_Count = Annotated[int, pydantic.Field(ge=0)]
_Pts = Annotated[int, pydantic.Field(description="Stream time in units of time_base.")]
_Seconds = Annotated[
    float,
    pydantic.Field(
        allow_inf_nan=False,
        description="The same in seconds, rounded to a double; *_pts * time_base is exact.",
    ),
]
_Hash = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{16}$")]


class _Record(pydantic.BaseModel):
    # Writers may add fields; a change of those below makes vinfer.event/2.
    model_config = pydantic.ConfigDict(extra="allow", strict=True, frozen=True)


class ParticipantRecord(_Record):
    """Subject or object of an event."""

    label: Annotated[str, pydantic.Field(description="Class name.")]
    track_id: Annotated[int, pydantic.Field(ge=0, description="Unique within the stream.")]
    box: Annotated[
        list[_Coordinate],
        pydantic.Field(
            min_length=4,
            max_length=4,
            description="[x1, y1, x2, y2] in pixels of the source frame, at the peak.",
        ),
    ]


class PeakRecord(_Record):
    """The frame with the highest score."""

    pts: _Pts
    time: _Seconds
    frame: _Count
    score: _Probability


class EventRecord(_Record):
    """An event of ``<subject, predicate, object>`` over a closed interval of stream time."""

    schema_: Annotated[Literal["vinfer.event/1"], pydantic.Field(alias="schema")]
    event_id: Annotated[
        _Hash, pydantic.Field(description="The same in every line about this event.")
    ]
    type: Annotated[
        Literal["open", "update", "close"],
        pydantic.Field(description="open: announced; update: goes on; close: final."),
    ]
    stream: str
    time_base: Annotated[
        str,
        pydantic.Field(
            pattern=r"^[1-9][0-9]*/[1-9][0-9]*$",
            description="Seconds a unit of the *_pts of this line, as a fraction.",
        ),
    ]
    start_pts: _Pts
    end_pts: _Pts
    start: _Seconds
    end: _Seconds
    frames: Annotated[
        list[_Count],
        pydantic.Field(
            min_length=2,
            max_length=2,
            description="Numbers of the first and last supporting frame, both inclusive.",
        ),
    ]
    subject: ParticipantRecord
    predicate: str
    object: ParticipantRecord
    score: Annotated[
        _Probability, pydantic.Field(description="Mean score of the supporting frames.")
    ]
    support: Annotated[int, pydantic.Field(ge=1, description="Number of supporting frames.")]
    peak: PeakRecord
    model: Annotated[str, pydantic.Field(description="name@version of the relation bundle.")]
    config_hash: Annotated[
        str,
        pydantic.Field(
            pattern=r"^([0-9a-f]{16})?$", description="Of everything that decides the result."
        ),
    ]

    def to_event(self) -> Event:
        """The event, with exact times.

        Raises:
            ValueError: the fields contradict each other.
        """
        base = Fraction(self.time_base)
        if self.end_pts < self.start_pts or self.frames[1] < self.frames[0]:
            raise ValueError("the event ends before it starts")
        for name, pts, seconds in (
            ("start", self.start_pts, self.start),
            ("end", self.end_pts, self.end),
            ("peak.time", self.peak.pts, self.peak.time),
        ):
            if not math.isclose(float(pts * base), seconds, rel_tol=1e-9, abs_tol=1e-9):
                raise ValueError(f"{name}: {seconds} s does not agree with {pts} * {base} s")
        return Event(
            type=self.type,
            event_id=self.event_id,
            stream=self.stream,
            start=self.start_pts * base,
            end=self.end_pts * base,
            start_frame=self.frames[0],
            end_frame=self.frames[1],
            subject=_participant(self.subject),
            predicate=self.predicate,
            object=_participant(self.object),
            score=self.score,
            peak_score=self.peak.score,
            peak_time=self.peak.pts * base,
            peak_frame=self.peak.frame,
            support=self.support,
            bundle=self.model,
            config_hash=self.config_hash,
        )


def _participant(record: ParticipantRecord) -> Participant:
    x1, y1, x2, y2 = record.box
    return Participant(record.label, record.track_id, (x1, y1, x2, y2))


def event_to_record(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready object of schema ``vinfer.event/1``, keys in a fixed order."""
    times = (event.start, event.end, event.peak_time)
    units = math.lcm(*(time.denominator for time in times))
    start_pts, end_pts, peak_pts = (int(time * units) for time in times)
    kind: EventType = event.type
    return {
        "schema": SCHEMA,
        "event_id": event.event_id,
        "type": kind,
        "stream": event.stream,
        "time_base": f"1/{units}",
        "start_pts": start_pts,
        "end_pts": end_pts,
        "start": float(event.start),
        "end": float(event.end),
        "frames": [event.start_frame, event.end_frame],
        "subject": event.subject.to_dict(),
        "predicate": event.predicate,
        "object": event.object.to_dict(),
        "score": event.score,
        "support": event.support,
        "peak": {
            "pts": peak_pts,
            "time": float(event.peak_time),
            "frame": event.peak_frame,
            "score": event.peak_score,
        },
        "model": event.bundle,
        "config_hash": event.config_hash,
    }


def event_from_record(record: str | bytes) -> Event:
    """Read one event from its JSON text.

    Raises:
        InputError: not JSON, another or newer schema, or a field that is missing or wrong; the
            message names the field.
    """
    try:
        data = json.loads(record)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"not a JSON object: {exc}") from exc
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise InputError(
            f'found schema {schema!r}, expected "{SCHEMA}"; '
            "a newer one needs a newer vinfer, other JSON is not an event"
        )
    try:
        return EventRecord.model_validate(data).to_event()
    except pydantic.ValidationError as exc:
        raise InputError(
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        ) from exc
    except (ValueError, ArithmeticError) as exc:
        raise InputError(str(exc)) from exc


def event_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of a line of ``events.jsonl``."""
    text = importlib.resources.files("vinfer.stores").joinpath("event.schema.json").read_bytes()
    schema: dict[str, Any] = json.loads(text)
    return schema
