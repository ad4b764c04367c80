"""`vinfer run`: events of one or more sources, written into a folder."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from vinfer.cli.console import JsonOption, print_json

EXAMPLE = "Example: vinfer run clip.mp4 -o out/"


class Provider(enum.StrEnum):
    """What runs the graphs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Backend(enum.StrEnum):
    """What runs the graphs on the CPU."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    AUTO = "auto"


def run(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Video file, image, folder or quoted pattern of images, rtsp:// or http:// URL, "
            "or camera:0.",
        ),
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
    bundle: Annotated[
        str | None,
        typer.Option(help="Relation bundle, name or path.", show_default="relation-prior"),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="Detector bundle, name or path.", show_default="the relation bundle's"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file; options here win over it.")
    ] = None,
    provider: Annotated[
        Provider | None, typer.Option(help="What runs the models.", show_default="auto")
    ] = None,
    backend: Annotated[
        Backend | None,
        typer.Option(
            help="What runs them on the CPU; auto measures once which is faster.",
            show_default="onnxruntime",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="CPU threads; 0: all cores.", show_default="0")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Take every n-th frame.", show_default="1")
    ] = None,
    conf: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least score of a detection.", show_default="the bundle's"),
    ] = None,
    predicates: Annotated[
        list[str] | None,
        typer.Option(
            "--predicates",
            "-p",
            help="Report these only: ride,on or one a -p.",
            show_default="all of the bundle",
        ),
    ] = None,
    video: Annotated[
        bool | None,
        typer.Option("--video/--no-video", help="Write annotated.mp4.", show_default="yes"),
    ] = None,
    report: Annotated[
        bool | None,
        typer.Option("--report/--no-report", help="Write report.html.", show_default="yes"),
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
    from vinfer.config import load_config

    given: dict[str, Any] = {
        "bundle": bundle,
        "detector": detector,
        "provider": None if provider is None else provider.value,
        "backend": None if backend is None else backend.value,
        "threads": threads,
        "source.stride": stride,
        "detect.score_threshold": conf,
        "events.only": _split(predicates),
        "outputs.video": video,
        "outputs.report": report,
        "outputs.sqlite": sqlite,
        "outputs.database": database,
    }
    settings = load_config(
        config, {key: value for key, value in given.items() if value is not None}
    )
    outcome = run_sources(sources, output, settings, show_results=not as_json)
    if as_json:
        print_json(outcome.to_dict())
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _split(names: list[str] | None) -> list[str] | None:
    if names is None:
        return None
    return [name.strip() for part in names for name in part.split(",") if name.strip()]
