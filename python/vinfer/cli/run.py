"""`vinfer run`: events of one or more sources, written into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vinfer.cli.console import JsonOption, print_json
from vinfer.cli.engine_options import (
    SOURCE_HELP,
    BackendOption,
    BundleOption,
    ConfigOption,
    ConfOption,
    DetectorOption,
    PredicatesOption,
    ProviderOption,
    StrideOption,
    ThreadsOption,
    engine_config,
)

EXAMPLE = "Example: vinfer run clip.mp4 -o out/"


def run(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help=SOURCE_HELP),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the results; files of an earlier run in it are replaced, its database "
            "is added to, others stay. "
            "Several sources get a folder each below it.",
        ),
    ] = Path("out"),
    bundle: BundleOption = None,
    detector: DetectorOption = None,
    config: ConfigOption = None,
    provider: ProviderOption = None,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    stride: StrideOption = None,
    conf: ConfOption = None,
    predicates: PredicatesOption = None,
    video: Annotated[
        bool | None,
        typer.Option("--video/--no-video", help="Write annotated.mp4.", show_default="yes"),
    ] = None,
    report: Annotated[
        bool | None,
        typer.Option("--report/--no-report", help="Write report.html.", show_default="yes"),
    ] = None,
    explain: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Explain so many of the best events in report.html; the source is read twice.",
            show_default="0",
        ),
    ] = None,
    sqlite: Annotated[
        bool | None,
        typer.Option("--sqlite/--no-sqlite", help="Write events.sqlite.", show_default="yes"),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(help="Write events into this database too, such as postgresql://host/name."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the events of a video and write events.jsonl, annotated.mp4, report.html and more.

    Ctrl-C stops after the current frame and finishes the files; a second one ends at once.
    """
    from vinfer.cli.run_sources import run_sources

    settings = engine_config(
        config,
        bundle=bundle,
        detector=detector,
        provider=provider,
        backend=backend,
        threads=threads,
        stride=stride,
        conf=conf,
        predicates=predicates,
        outputs__video=video,
        outputs__report=report,
        outputs__explain=explain,
        outputs__sqlite=sqlite,
        outputs__database=database,
    )
    outcome = run_sources(sources, output, settings, show_results=not as_json)
    if as_json:
        print_json(outcome.to_dict())
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
