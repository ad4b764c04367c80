"""``events.jsonl``: one line of JSON for each thing that becomes known about an event."""

from __future__ import annotations

import json
from pathlib import Path

from vinfer.errors import InputError, SourceNotFoundError
from vinfer.stores.base import RunInfo
from vinfer.stores.event_record import event_from_record, event_to_record
from vinfer.stores.files import RecordFile
from vinfer.types import Event, Frame, FrameResult, RunSummary, StreamInfo


class EventsJsonl:
    """Sink that writes ``vinfer.event/1`` lines as they become known.

    A line is written by one system call, so ``tail -f`` sees whole lines and a crash leaves whole
    lines. Equal input, bundle and settings give equal bytes.
    """

    def __init__(self, path: Path | str) -> None:
        """Args: path: the file; it is replaced when the run begins."""
        self._path = Path(path)
        self._file: RecordFile | None = None

    def open(self, info: StreamInfo, run: RunInfo) -> None:
        """Create the file.

        Raises:
            OutputError: it can't be created.
        """
        self._file = RecordFile(self._path)

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """Frames are not written."""

    def event(self, event: Event) -> None:
        """Write a line.

        Raises:
            OutputError: it can't be written; the lines before it stay whole.
        """
        assert self._file is not None, "event before open"
        line = json.dumps(event_to_record(event), separators=(",", ":"), allow_nan=False)
        self._file.append(line.encode("ascii") + b"\n")

    def close(self, summary: RunSummary) -> None:
        """Close the file.

        Raises:
            OutputError: the file system reports a late write error.
        """
        if self._file is not None:
            self._file.close()


def read_events(path: Path | str) -> list[Event]:
    """All lines of an ``events.jsonl``, in the order of the file.

    Raises:
        SourceNotFoundError: the file can't be opened.
        InputError: a line is not an event of schema ``vinfer.event/1``, or is cut off; the message
            names the line.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as exc:
        raise SourceNotFoundError(
            f"can't read {path}: {exc.strerror}; expected a file of events, as `vinfer run` writes"
        ) from exc
    lines = content.split(b"\n")
    if lines.pop():
        raise InputError(
            f"{path}, line {len(lines) + 1}: the file ends within this line, expected a line "
            "break; copy the file again or remove the line"
        )
    events = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(event_from_record(line))
        except InputError as exc:
            raise InputError(f"{path}, line {number}: {exc}") from exc
    return events
