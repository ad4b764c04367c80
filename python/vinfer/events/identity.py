"""Which event is which: its key, its id and its place in a list."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from typing import NamedTuple

from vinfer.types import Event


class EventKey(NamedTuple):
    """What an event is about: a predicate between two tracks of one stream."""

    subject: int
    predicate: str
    object: int


def event_id(stream: str, key: EventKey, start: Fraction) -> str:
    """The id of an event: the same for the same input, on any machine, at any time.

    The first 16 hexadecimal digits of the SHA-256 of a JSON array without blanks, in ASCII (other
    characters as ``\\uXXXX``): stream, subject track, predicate, object track, and the start in
    seconds as numerator and denominator in lowest terms. For example
    ``["bikes",3,"on",7,76,25]`` gives ``26c1f4419cc01643``.
    """
    fields = [stream, *key, start.numerator, start.denominator]
    encoded = json.dumps(fields, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return hashlib.sha256(encoded).hexdigest()[:16]


def event_order(event: Event) -> tuple[Fraction, Fraction, int, str, int]:
    """Sort key of events of one stream: start, end, subject track, predicate, object track."""
    return (
        event.start,
        event.end,
        event.subject.track_id,
        event.predicate,
        event.object.track_id,
    )
