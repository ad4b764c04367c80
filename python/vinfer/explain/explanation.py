"""What is known of one event when it was explained."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from vinfer.bundles.manifest import EventThresholds
from vinfer.explain.history import ScoreTrace
from vinfer.explain.occlusion import HeatMap
from vinfer.stores.event_record import event_to_record
from vinfer.types import Event, UInt8Array

SCHEMA = "vinfer.explanation/1"


@dataclasses.dataclass(frozen=True, slots=True)
class WhatIf:
    """The score with one thing changed.

    Attributes:
        change: what was changed, such as ``bicycle covered``.
        score: of the same pair and predicate then, in [0, 1].
    """

    change: str
    score: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """One event, and what its score rests on.

    Attributes:
        event: final; its participants' boxes are those of its best frame.
        image: the best frame, uint8 ``[H, W, 3]`` RGB.
        trace: scores of this pair and predicate over the event and some time around it.
        thresholds: what the scores were compared with.
        base_score: the pair's score on the best frame, scored alone, as everything below is. It may
            differ from ``event.peak_score`` in the last digits.
        heat_map: how much the score falls when a part of the frame is covered; None where there is
            none.
        no_heat_map: why there is none; empty where there is one.
        what_if: scores with one thing changed.
    """

    event: Event
    image: UInt8Array
    trace: ScoreTrace
    thresholds: EventThresholds
    base_score: float
    heat_map: HeatMap | None
    no_heat_map: str
    what_if: tuple[WhatIf, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record of schema ``vinfer.explanation/1``; a score that is unknown is null."""
        return {
            "schema": SCHEMA,
            "event": event_to_record(self.event),
            "frame": self.event.peak_frame,
            "time": float(self.event.peak_time),
            "base_score": self.base_score,
            "thresholds": self.thresholds.model_dump(),
            "scores": [
                {"time": float(time), "score": None if math.isnan(score) else score}
                for time, score in zip(self.trace.times, self.trace.scores.tolist(), strict=True)
            ],
            "heat_map": None if self.heat_map is None else self.heat_map.to_dict(),
            "no_heat_map": self.no_heat_map or None,
            "what_if": [dataclasses.asdict(row) for row in self.what_if],
        }

    def to_text(self) -> str:
        """One paragraph that says what the picture shows, for those who can't see it."""
        event = self.event
        subject, object_ = event.subject.label, event.object.label
        parts = [
            f"{subject} #{event.subject.track_id} {event.predicate} {object_} "
            f"#{event.object.track_id}: score {self.base_score:.2f} at "
            f"{float(event.peak_time):.2f} s, mean {event.score:.2f} over the event."
        ]
        if self.heat_map is None:
            parts.append(f"No heat map: {self.no_heat_map}.")
        else:
            parts.append(self.heat_map.to_text())
        changes = [f"{row.change} {row.score:.2f}" for row in self.what_if]
        if changes:
            parts.append(f"The score would be: {', '.join(changes)}.")
        return " ".join(parts)
