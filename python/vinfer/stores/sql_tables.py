"""Tables of the event store and the rows that go into them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from vinfer.types import Event, Participant

SCHEMA_VERSION = 1

metadata = sa.MetaData()

schema_version = sa.Table(
    "schema_version",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
)

streams = sa.Table(
    "streams",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.UniqueConstraint("name", "uri"),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stream_id", sa.ForeignKey("streams.id"), nullable=False, index=True),
    sa.Column("bundle", sa.Text, nullable=False),
    sa.Column("detector", sa.Text, nullable=False),
    sa.Column("config_hash", sa.Text, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("started", sa.Double, nullable=False),  # Unix time, seconds
    # NULL until the run is closed: a run that broke off keeps NULL.
    sa.Column("finished", sa.Double),
    sa.Column("complete", sa.Boolean),
    sa.Column("num_frames", sa.BigInteger),
    sa.Column("dropped", sa.JSON),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("run_id", sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("event_id", sa.String(16), primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    # *_num / *_den are exact; *_s, rounded to a double, is what can be indexed.
    sa.Column("start_num", sa.BigInteger, nullable=False),
    sa.Column("start_den", sa.BigInteger, nullable=False),
    sa.Column("start_s", sa.Double, nullable=False),
    sa.Column("end_num", sa.BigInteger, nullable=False),
    sa.Column("end_den", sa.BigInteger, nullable=False),
    sa.Column("end_s", sa.Double, nullable=False),
    sa.Column("start_frame", sa.BigInteger, nullable=False),
    sa.Column("end_frame", sa.BigInteger, nullable=False),
    sa.Column("subject_label", sa.Text, nullable=False),
    sa.Column("subject_track", sa.BigInteger, nullable=False),
    sa.Column("subject_box", sa.JSON, nullable=False),
    sa.Column("predicate", sa.Text, nullable=False),
    sa.Column("object_label", sa.Text, nullable=False),
    sa.Column("object_track", sa.BigInteger, nullable=False),
    sa.Column("object_box", sa.JSON, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("peak_score", sa.Double, nullable=False),
    sa.Column("peak_num", sa.BigInteger, nullable=False),
    sa.Column("peak_den", sa.BigInteger, nullable=False),
    sa.Column("peak_frame", sa.BigInteger, nullable=False),
    sa.Column("support", sa.BigInteger, nullable=False),
    sa.Index("events_by_time", "start_s", "end_s"),
    sa.Index("events_by_predicate", "predicate", "start_s"),
    sa.Index("events_by_subject", "subject_label", "start_s"),
    sa.Index("events_by_object", "object_label", "start_s"),
)


def event_values(event: Event) -> dict[str, Any]:
    """Column values of an event, without its run and id."""
    return {
        "type": event.type,
        "start_num": event.start.numerator,
        "start_den": event.start.denominator,
        "start_s": float(event.start),
        "end_num": event.end.numerator,
        "end_den": event.end.denominator,
        "end_s": float(event.end),
        "start_frame": event.start_frame,
        "end_frame": event.end_frame,
        "subject_label": event.subject.label,
        "subject_track": event.subject.track_id,
        "subject_box": list(event.subject.box),
        "predicate": event.predicate,
        "object_label": event.object.label,
        "object_track": event.object.track_id,
        "object_box": list(event.object.box),
        "score": event.score,
        "peak_score": event.peak_score,
        "peak_num": event.peak_time.numerator,
        "peak_den": event.peak_time.denominator,
        "peak_frame": event.peak_frame,
        "support": event.support,
    }


def event_of_row(row: sa.Row[Any]) -> Event:
    """The event of a row of `events` joined with its run and stream (`event_query`)."""
    return Event(
        type=row.type,
        event_id=row.event_id,
        stream=row.stream,
        start=Fraction(row.start_num, row.start_den),
        end=Fraction(row.end_num, row.end_den),
        start_frame=row.start_frame,
        end_frame=row.end_frame,
        subject=Participant(row.subject_label, row.subject_track, tuple(row.subject_box)),
        predicate=row.predicate,
        object=Participant(row.object_label, row.object_track, tuple(row.object_box)),
        score=row.score,
        peak_score=row.peak_score,
        peak_time=Fraction(row.peak_num, row.peak_den),
        peak_frame=row.peak_frame,
        support=row.support,
        bundle=row.bundle,
        config_hash=row.config_hash,
    )


def event_query() -> sa.Select[Any]:
    """All events, each with what its run and stream know, in a fixed order."""
    return (
        sa.select(events, streams.c.name.label("stream"), runs.c.bundle, runs.c.config_hash)
        .join(runs, events.c.run_id == runs.c.id)
        .join(streams, runs.c.stream_id == streams.c.id)
        .order_by(
            streams.c.name,
            events.c.run_id,
            events.c.start_s,
            events.c.end_s,
            events.c.subject_track,
            events.c.predicate,
            events.c.object_track,
            events.c.event_id,
        )
    )
