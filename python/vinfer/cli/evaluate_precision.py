"""`vinfer eval precision`: what a relation model loses in int8, float16 and bfloat16."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from vinfer.cli.console import JsonOption, note, print_json, print_line, print_table
from vinfer.errors import ConfigError

EXAMPLE = (
    "Example: vinfer eval precision relations.vinfer --config relations.yaml -o measured.vinfer"
)


class Graph(enum.StrEnum):
    """Precisions that are another graph."""

    INT8 = "int8"
    FLOAT16 = "float16"


def precision(
    bundle: Annotated[str, typer.Argument(help="Name or path of a relation bundle.")],
    config: Annotated[
        Path, typer.Option("--config", help="The training's YAML file: pictures and their sizes.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Bundle to write: the same with what was measured."),
    ] = None,
    use: Annotated[
        Graph | None,
        typer.Option("--use", help="Pack this graph in place of the float32 one, if accepted."),
    ] = None,
    max_loss: Annotated[
        float, typer.Option(min=0, max=1, help="Most that a figure may fall by; 0.01 is one point.")
    ] = 0.01,
    threads: Annotated[int, typer.Option(min=0, help="Of one run; 0 is all cores.")] = 0,
    clips: Annotated[
        int, typer.Option(min=0, help="Synthetic clips to count events on, for a model of sprites.")
    ] = 60,
    as_json: JsonOption = False,
) -> None:
    """Measure a relation model in fewer bits on its validation pictures, accept or refuse each."""
    from vinfer.bundles import Bundle, find_bundle
    from vinfer.export.relation_precision import (
        CALIBRATION_PICTURES,
        CLIP_SEED,
        measure_precisions,
        write_precisions,
    )
    from vinfer.training.clip_thresholds import clips_with_cuts
    from vinfer.training.relation_config import read_training_config

    if use is not None and output is None:
        raise ConfigError(f"--use {use.value} needs a bundle to write: add --output FILE")
    opened = Bundle.open(find_bundle(bundle))
    settings = read_training_config(config)
    note("Reading or drawing the pictures")
    calibration, validation = settings.data.fewer(CALIBRATION_PICTURES).load()
    seen = clips_with_cuts(clips if settings.data.is_sprites else 0, CLIP_SEED)
    note(f"Measuring on {len(validation.pictures)} pictures and {len(seen)} clips")
    report, variants = measure_precisions(
        opened,
        calibration,
        validation,
        settings.batch_settings(),
        ignored=settings.ignored,
        max_loss=max_loss,
        threads=threads,
        clips=seen,
    )
    if output is not None:
        chosen = None if use is None else use.value
        write_precisions(opened, report, variants, output, use=chosen)
    if as_json:
        print_json({"bundle": opened.identity, **report, "output": output and str(output)})
        return
    _print_report(opened.identity, report)
    if output is not None:
        print_line(f"Written to {output}")


def _print_report(identity: str, report: dict[str, Any]) -> None:
    metrics = report["float32"]["metrics"]
    reference = [_figure(value) for value in metrics.values()]
    rows: list[tuple[str, ...]] = [
        ("float32", backend, *reference, "", f"{ms:.2f}", "")
        for backend, ms in report["float32"]["ms"].items()
    ]
    for each in report["variants"]:
        rows.append(
            (
                each["precision"],
                each["backend"] + (" (emulated)" if each["how"] == "emulated" else ""),
                *(_figure(each.get("metrics", {}).get(name)) for name in metrics),
                _figure(each.get("largest_difference")),
                f"{each['ms']:.2f}" if "ms" in each else "-",
                "accepted" if each["accepted"] else "refused",
            )
        )
    print_table(
        f"{identity} on {report['data']['pictures']} pictures",
        ("precision", "backend", *metrics, "logits differ by", "ms a picture", "verdict"),
        rows,
    )
    for each in report["variants"]:
        print_line(f"{each['precision']}, {each['backend']}: {each['reason']}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
