"""`vinfer explain`: why one event was reported, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vinfer.cli.console import JsonOption, note, print_json, print_line, print_table
from vinfer.cli.engine_options import (
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

if TYPE_CHECKING:
    from vinfer.explain import Explanation
    from vinfer.types import Event

EXAMPLE = "Example: vinfer explain clip.mp4 --event 2 -o explain.png"

_MAX_ROWS = 40
_SOURCE_HELP = "Video file, image, folder or quoted pattern of images, or http:// URL."


def explain(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_SOURCE_HELP)],
    event: Annotated[
        str | None,
        typer.Option(
            "--event",
            "-e",
            help="Number of the event in the list that this prints, or its event_id.",
            show_default="the one with the best score",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write.")] = Path(
        "explain.png"
    ),
    patches: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Patches along the longer side of what is examined; the work grows with its "
            "square.",
        ),
    ] = 8,
    bundle: BundleOption = None,
    detector: DetectorOption = None,
    config: ConfigOption = None,
    provider: ProviderOption = None,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    stride: StrideOption = None,
    conf: ConfOption = None,
    predicates: PredicatesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why an event was reported: the frame, the pair, its score over time, and a heat map.

    The heat map says how much the score falls when a part of the picture is covered.

    Give the options with which the event was found: others find others.
    """
    from vinfer.cli.progress import RunReporter, counting
    from vinfer.engine import Engine
    from vinfer.explain import (
        OcclusionSettings,
        check_readable_twice,
        choose_event,
        explain_events,
        trace_events,
    )
    from vinfer.explain.picture import write_explanation
    from vinfer.sources import open_source

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
    )
    check_readable_twice(source)
    with Engine(config=settings) as engine:
        stream = open_source(source, **settings.source.model_dump())
        with stream, RunReporter(stream.info, settings.source) as reporter:
            traced = trace_events(engine, stream, on_frame=reporter.update)
        chosen = choose_event(traced, _wanted(event))
        number = traced.summary.events.index(chosen) + 1
        if not as_json:
            _print_events(traced.summary.stream.name, traced.summary.events, number)
        with counting("covered pictures") as show:
            (explanation,) = explain_events(
                engine,
                source,
                [chosen],
                traced.history.trace,
                settings=OcclusionSettings(patches=patches),
                on_progress=show,
            )
    write_explanation(output, explanation)
    if as_json:
        print_json(_record(explanation, number, output))
    else:
        _print_explanation(explanation, number)
        print_line(f"explanation: {output}")


def _wanted(event: str | None) -> str | int | None:
    # An id has 16 digits, some of which may all be decimal.
    return int(event) if event is not None and event.isdecimal() and len(event) < 16 else event


def _record(explanation: Explanation, number: int, output: Path) -> dict[str, Any]:
    return explanation.to_dict() | {"number": number, "files": {"explanation": str(output)}}


def _print_events(name: str, events: tuple[Event, ...], chosen: int) -> None:
    rows = [
        (
            f"{number}*" if number == chosen else str(number),
            event.event_id,
            f"{float(event.start):.2f} s",
            f"{float(event.end):.2f} s",
            f"{event.subject.label} #{event.subject.track_id}",
            event.predicate,
            f"{event.object.label} #{event.object.track_id}",
            f"{event.score:.2f}",
        )
        for number, event in enumerate(events, 1)
    ]
    columns = ("event", "id", "start", "end", "subject", "predicate", "object", "score")
    print_table(name, columns, rows[:_MAX_ROWS])
    if len(rows) > _MAX_ROWS:
        print_line(f"and {len(rows) - _MAX_ROWS} more")


def _print_explanation(explanation: Explanation, number: int) -> None:
    event = explanation.event
    print_line(
        f"event {number}: scores best on frame {event.peak_frame}, at "
        f"{float(event.peak_time):.2f} s"
    )
    rows = [("as it is", f"{explanation.base_score:.3f}")]
    rows += [(row.change, f"{row.score:.3f}") for row in explanation.what_if]
    print_table("What if", ("change", "score"), rows, numeric=1)
    if explanation.heat_map is None:
        note(f"no heat map: {explanation.no_heat_map}")
    else:
        note(explanation.heat_map.to_text())
