"""What verbs print: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vinfer.errors import OutputError

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, for machines.")
]


def stdout() -> Console:
    """The console for results; made anew, as tests and pipes replace `sys.stdout`."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def stderr() -> Console:
    """The console for progress, notes and errors."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


def _write(text: str) -> None:
    # Flushed here, as a full disk would else be noticed only while the interpreter ends.
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # the reader has seen enough, as `head` has: typer ends quietly
    except OSError as exc:
        # What is left in the buffer would fail again when the interpreter ends, with a code of its
        # own (120) in place of ours.
        with contextlib.suppress(OSError), Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        raise OutputError(
            f"can't write standard output: {exc.strerror or exc}; send it to where there is room"
        ) from exc


def print_json(document: Any) -> None:
    """Write one JSON document to stdout.

    Raises:
        OutputError: it can't be written.
    """
    _write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_line(text: str) -> None:
    """Write a line to stdout.

    Raises:
        OutputError: it can't be written.
    """
    _write(text + "\n")


def counted(number: int, noun: str) -> str:
    """``1 event``, ``2 events``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def note(text: str) -> None:
    """Write a line to stderr."""
    stderr().print(Text(text))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: int = 0
) -> None:
    """Write a table to stdout: drawn for a terminal, tab-separated lines for a pipe or file.

    Args:
        title: stands above it on a terminal.
        columns: their headings.
        rows: their cells.
        numeric: how many columns at the right end hold numbers.
    """
    if not sys.stdout.isatty():
        _write("".join("\t".join(row) + "\n" for row in (columns, *rows)))
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for i, heading in enumerate(columns):
        table.add_column(
            heading, justify="right" if i >= len(columns) - numeric else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    stdout().print(table)


class _StderrHandler(logging.Handler):
    """Prints through rich, so that a log line does not tear a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        note(f"{record.levelname.lower()}: {self.format(record)}")


@contextlib.contextmanager
def log_to_stderr(debug: bool) -> Iterator[None]:
    """Show log records of vinfer on stderr: warnings, or with ``debug`` all of them."""
    logger = logging.getLogger("vinfer")
    handler = _StderrHandler()
    level = logger.level
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
