"""What a sink is: something that takes a run's frames and events and writes them somewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from vinfer.types import Event, Frame, FrameResult, RunSummary, StreamInfo


@dataclasses.dataclass(frozen=True, slots=True)
class RunInfo:
    """What made the results of a run.

    Attributes:
        bundle: ``name@version`` of the relation bundle.
        detector: ``name@version`` of the detector bundle.
        config_hash: 16 hexadecimal digits of everything that decides the result.
        config: the settings, JSON-ready.
        version: version of vinfer.
        predicates: those that may become events, in alphabetical order.
    """

    bundle: str
    detector: str
    config_hash: str
    config: Mapping[str, Any]
    version: str
    predicates: tuple[str, ...] = ()


class Sink(Protocol):
    """Takes one run. All methods are called from one thread, in stream order.

    For each frame: `frame`, then `event` for each event that became known with it. Events that a
    shot cut ends come before the frame of the new shot. `close` is called exactly once after
    `open`, whatever happened in between, and leaves a valid file behind.

    Any method raises `OutputError` when the result can't be written.
    """

    def open(self, info: StreamInfo, run: RunInfo) -> None:
        """The run begins."""

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """A frame was processed; ``result.detections`` carry track ids."""

    def event(self, event: Event) -> None:
        """An event was announced, went on or became final."""

    def close(self, summary: RunSummary) -> None:
        """The run ended."""
