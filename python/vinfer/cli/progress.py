"""How far a run is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from vinfer.cli.console import counted, note, stderr

if TYPE_CHECKING:
    from vinfer.config import SourceSettings
    from vinfer.delivery import Progress as RunProgress
    from vinfer.types import StreamInfo

_SECONDS_BETWEEN_LINES = 5.0


def expected_frames(info: StreamInfo, settings: SourceSettings) -> int | None:
    """How many frames a run will process if the container is right; None: it does not say."""
    total = info.num_frames
    rate = info.average_rate
    if rate is not None:
        if total is None and info.duration is not None:
            total = round(info.duration * rate)
        if total is not None:
            total -= round(Fraction(settings.start) * rate)
        if settings.duration is not None:
            wanted = round(Fraction(settings.duration) * rate)
            total = wanted if total is None else min(total, wanted)
    return None if total is None or total <= 0 else -(-total // settings.stride)


def clock(seconds: float) -> str:
    """``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class RunReporter:
    """Shows the progress of one run on stderr.

    Args:
        info: the stream.
        settings: which of its frames are read.
    """

    def __init__(self, info: StreamInfo, settings: SourceSettings) -> None:
        self._name = info.name
        self._total = expected_frames(info, settings)
        self._bar = _bar("rate", "events") if sys.stderr.isatty() else None
        self._last_line = time.monotonic()

    def __enter__(self) -> RunReporter:
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task(self._name, total=self._total, rate="", events="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, progress: RunProgress) -> None:
        """Show where the run is."""
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=progress.num_frames,
                rate=f"{progress.frames_per_second:.1f} frames/s",
                events=counted(progress.num_events, "event"),
            )
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            note(self._line(progress))

    def _line(self, progress: RunProgress) -> str:
        frames = f"{progress.num_frames}"
        left = ""
        if self._total is not None:
            frames += f"/{self._total}"
            rest = max(self._total - progress.num_frames, 0) / max(progress.frames_per_second, 1e-9)
            left = f", {clock(rest)} left"
        return (
            f"{self._name}: {frames} frames, {progress.frames_per_second:.1f} frames/s, "
            f"{counted(progress.num_events, 'event')}{left}"
        )


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[..., None]]:
    """Shows the progress of a count on stderr.

    Yields:
        Takes how many of ``what`` are done, how many there are, and optionally a few words more.
    """
    if sys.stderr.isatty():
        with _bar("detail") as bar:
            task = bar.add_task(what, total=None, detail="")

            def show(done: int, total: int, detail: str = "") -> None:
                bar.update(task, completed=done, total=total, detail=detail)

            yield show
        return
    last_line = time.monotonic()

    def line(done: int, total: int, detail: str = "") -> None:
        nonlocal last_line
        if time.monotonic() - last_line >= _SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            note(f"{done}/{total} {what}" + (f", {detail}" if detail else ""))

    yield line


def _bar(*fields: str) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *(TextColumn(f"{{task.fields[{field}]}}") for field in fields),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=stderr(),
    )
