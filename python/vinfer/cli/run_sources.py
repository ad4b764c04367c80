"""Runs the engine over sources, one after another, and shows what came of it."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vinfer.bundles.manifest import EventThresholds
from vinfer.cli import exit_codes
from vinfer.cli.console import counted, note, print_line, print_table
from vinfer.cli.interrupt import Interrupted, StopBetweenFrames
from vinfer.cli.progress import RunReporter, clock
from vinfer.cli.run_explanations import ReportExplanations
from vinfer.config import Config, OutputSettings, SourceSettings
from vinfer.delivery import Progress as RunProgress
from vinfer.engine import Engine
from vinfer.errors import VinferError
from vinfer.events.segments import longest_lead
from vinfer.sources import Source, open_source
from vinfer.sources.address import shown_url, url_scheme
from vinfer.stores.base import RunInfo, Sink
from vinfer.stores.event_record import event_to_record
from vinfer.stores.files import output_error
from vinfer.types import Event, Frame, FrameResult, RunSummary, StreamInfo

SCHEMA = "vinfer.run/1"

_MAX_ROWS = 40

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of one source.

    Attributes:
        source: as it was given; a URL without its credentials.
        summary: None when the run did not begin.
        files: what was written, by kind.
        error: what ended it before its end; None for a whole run.
    """

    source: str
    summary: RunSummary | None
    files: dict[str, Path]
    error: BaseException | None

    @property
    def exit_code(self) -> int:
        """By the kind of `error`."""
        if self.error is None:
            return exit_codes.OK
        if isinstance(self.error, VinferError | Interrupted):
            return self.error.exit_code
        return exit_codes.UNEXPECTED

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record, one of ``runs``."""
        record: dict[str, Any] = {"source": self.source, "exit_code": self.exit_code}
        if self.error is not None:
            record["error"] = {"kind": type(self.error).__name__, "message": str(self.error)}
        if self.summary is not None:
            record |= {
                "stream": self.summary.stream.name,
                "complete": self.summary.complete and self.error is None,
                "num_frames": self.summary.num_frames,
                "stream_seconds": float(self.summary.stream_seconds),
                "wall_seconds": self.summary.wall_seconds,
                "dropped": dict(self.summary.dropped),
                "events": [event_to_record(event) for event in self.summary.events],
            }
        return record | {"files": {kind: str(path) for kind, path in self.files.items()}}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of all sources; ``engine`` is `Engine.describe`."""

    engine: dict[str, Any]
    results: list[Result]

    @property
    def exit_code(self) -> int:
        """That of an interrupt, else of the first source that failed."""
        codes = [result.exit_code for result in self.results if result.exit_code]
        if codes and codes[-1] >= exit_codes.INTERRUPTED:
            return codes[-1]
        return codes[0] if codes else exit_codes.OK

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record of schema ``vinfer.run/1``."""
        return {
            "schema": SCHEMA,
            "exit_code": self.exit_code,
            "engine": self.engine,
            "runs": [result.to_dict() for result in self.results],
        }


def run_sources(
    sources: Sequence[str], output: Path, config: Config, *, show_results: bool = True
) -> Outcome:
    """Run every source; one that fails does not stop the others, an interrupt does.

    Args:
        sources: what to open.
        output: folder for the results; several sources get a folder each below it.
        config: settings.
        show_results: print them on stdout; progress and errors go to stderr in any case.

    Raises:
        BundleError, BackendError, ConfigError: the engine can't be made.
    """
    results: list[Result] = []
    names: set[str] = set()
    with Engine(config=config) as engine:
        description = engine.describe()
        note(_description_line(description))
        for source in sources:
            result = _run_source(engine, source, output, names, several=len(sources) > 1)
            results.append(result)
            if show_results:
                _print_result(result)
            _note_result(result)
            if isinstance(result.error, Interrupted):
                break
    return Outcome(description, results)


def _run_source(
    engine: Engine, source: str, output: Path, names: set[str], *, several: bool
) -> Result:
    kept = _KeepSummary()
    files: dict[str, Path] = {}
    before: dict[str, object] = {}
    error: BaseException | None = None
    try:
        with _open(source, engine.config.source, names) as stream:
            folder = output / _folder_name(stream.info.name) if several else output
            with (
                StopBetweenFrames(stream.close) as stop,
                RunReporter(stream.info, engine.config.source) as reporter,
            ):
                outputs = engine.config.outputs
                explainer = None
                if outputs.explain:
                    explainer = ReportExplanations(engine, source, outputs.explain, stop.check)
                sinks, files = _sinks(folder, outputs, engine.thresholds, explainer)
                before = {kind: _version(path) for kind, path in files.items()}

                def on_progress(progress: RunProgress) -> None:
                    reporter.update(progress)
                    stop.check()

                engine.run(stream, *sinks, kept, on_progress=on_progress)
                stop.check()
    except (VinferError, Interrupted) as exc:
        error = exc
    except Exception as exc:  # the other sources still have to be run
        _logger.debug("the run of %s ended in", source, exc_info=True)
        error = exc
    # A run that ends early may not have come to a file that an earlier run left there.
    written = {
        kind: path for kind, path in files.items() if _version(path) not in (None, before.get(kind))
    }
    shown = shown_url(source) if url_scheme(source) else source
    return Result(shown, kept.summary, written, error)


def _version(path: Path) -> object:
    """What changes when a file is written or replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _open(source: str, settings: SourceSettings, names: set[str]) -> Source:
    """Open it under a name that no source before had: event ids and folders are made from it."""
    options = settings.model_dump()
    stream = open_source(source, **options)
    name = stream.info.name
    number = 2
    while _folder_name(stream.info.name) in names:
        stream.close()
        stream = open_source(source, name=f"{name}-{number}", **options)
        number += 1
    names.add(_folder_name(stream.info.name))
    return stream


def _folder_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "stream"


def _sinks(
    folder: Path,
    outputs: OutputSettings,
    thresholds: Mapping[str, EventThresholds],
    explainer: ReportExplanations | None,
) -> tuple[list[Sink], dict[str, Path]]:
    # Imported here: each needs packages that a run without it does not.
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
    sinks: list[Sink] = []
    files: dict[str, Path] = {}
    if outputs.jsonl:
        from vinfer.stores.jsonl import EventsJsonl

        files["events"] = folder / "events.jsonl"
        sinks.append(EventsJsonl(files["events"]))
    if outputs.vidvrd:
        from vinfer.stores.vidvrd import VidvrdJson

        files["vidvrd"] = folder / "events.vidvrd.json"
        sinks.append(VidvrdJson(files["vidvrd"], history=longest_lead(thresholds.values()) + 60))
    if outputs.sqlite:
        from vinfer.stores.sql import SqlStore

        files["sqlite"] = folder / "events.sqlite"
        sinks.append(SqlStore(files["sqlite"]))
    if outputs.database is not None:
        from vinfer.stores.sql import SqlStore

        sinks.append(SqlStore(outputs.database.get_secret_value()))
    if outputs.video:
        from vinfer.report.annotate import AnnotatedVideo

        files["video"] = folder / "annotated.mp4"
        sinks.append(AnnotatedVideo(files["video"]))
    if outputs.report:
        from vinfer.report.html import HtmlReport

        files["report"] = folder / "report.html"
        if explainer is not None:
            sinks.append(explainer.history)
        sinks.append(
            HtmlReport(
                files["report"],
                video=files["video"].name if outputs.video else None,
                explain=explainer,
            )
        )
    return sinks, files


class _KeepSummary:
    """Sink that keeps the summary, which an interrupted or failed run does not return."""

    summary: RunSummary | None = None

    def open(self, info: StreamInfo, run: RunInfo) -> None:
        """Nothing to prepare."""

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """Frames are not kept."""

    def event(self, event: Event) -> None:
        """The summary has the final ones."""

    def close(self, summary: RunSummary) -> None:
        """Keep it."""
        self.summary = summary


def _description_line(engine: dict[str, Any]) -> str:
    session = engine["sessions"]["detector"]
    backend = "" if session["backend"] == "onnxruntime" else f"{session['backend']} "
    return (
        f"{engine['bundle']} with {engine['detector']} on {backend}{session['providers'][0]}, "
        f"{counted(engine['workers'] * session['threads'], 'thread')}"
    )


def _print_result(result: Result) -> None:
    """Events and files, on stdout."""
    if result.summary is not None and result.summary.events:
        events = result.summary.events
        print_table(
            result.summary.stream.name,
            ("start", "end", "subject", "predicate", "object", "score"),
            [_row(event) for event in events[:_MAX_ROWS]],
        )
        if len(events) > _MAX_ROWS:
            print_line(f"and {len(events) - _MAX_ROWS} more")
    for kind, path in result.files.items():
        print_line(f"{kind}: {path}")


def _note_result(result: Result) -> None:
    """Figures and what went wrong, on stderr."""
    if result.summary is not None:
        summary = result.summary
        rate = summary.num_frames / max(summary.wall_seconds, 1e-9)
        note(
            f"{summary.stream.name}: {counted(len(summary.events), 'event')} in "
            f"{counted(summary.num_frames, 'frame')}; "
            f"{clock(float(summary.stream_seconds))} of video in {clock(summary.wall_seconds)} "
            f"({rate:.1f} frames/s)"
        )
        if summary.dropped:
            lost = ", ".join(f"{count} {reason}" for reason, count in summary.dropped.items())
            note(f"dropped: {lost}")
    if result.error is not None:
        message = _message(result)
        # Errors of a source name it already.
        known = message.startswith(f"{result.source}: ")
        note(f"vinfer: {message}" if known else f"vinfer: {result.source}: {message}")


def _message(result: Result) -> str:
    if isinstance(result.error, Interrupted):
        return f"stopped by {result.error}; the files hold what was found until then"
    if isinstance(result.error, VinferError):
        return str(result.error)
    return f"unexpected {type(result.error).__name__}: {result.error}; --debug shows the traceback"


def _row(event: Event) -> tuple[str, ...]:
    subject, object_ = event.subject, event.object
    return (
        f"{float(event.start):.2f} s",
        f"{float(event.end):.2f} s",
        f"{subject.label} #{subject.track_id}",
        event.predicate,
        f"{object_.label} #{object_.track_id}",
        f"{event.score:.2f}",
    )
