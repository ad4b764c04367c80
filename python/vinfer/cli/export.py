"""`vinfer export`: make a bundle of published weights, or of a model of one's own."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from vinfer.cli.console import JsonOption, note, print_json, print_line
from vinfer.errors import ConfigError

EXAMPLE = "Example: vinfer export ssd-mobilenet-v2-coco"


class Family(enum.StrEnum):
    """What can be packed: an ONNX file, or the folder of a training."""

    YOLOX = "yolox"
    RELATIONS = "relations"


def export(
    name: Annotated[
        str, typer.Argument(help="The bundle: ssd-mobilenet-v2-coco, or any for --model.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write; default: NAME.vinfer among the bundles."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            help="File with the weights, or folder of the training; default: downloaded by pip.",
        ),
    ] = None,
    model: Annotated[
        Family | None,
        typer.Option("--model", help="Pack what is in --source, which is of this family."),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            "--detector", help="With --model relations: the detector bundle that it is to follow."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bundle that `run` can use.

    The weights are fetched, converted to ONNX, checked and packed with their licence. What
    `vinfer train relations` wrote is packed with: --model relations --source FOLDER --detector NAME
    """
    from vinfer.bundles import Bundle
    from vinfer.export import export as export_published
    from vinfer.export import import_yolox

    if model is None:
        path = export_published(name, output, source, progress=note)
    elif source is None:
        what = "training's folder" if model is Family.RELATIONS else "ONNX file"
        kind = what.split()[1].upper()
        raise ConfigError(f"--model {model.value} needs the {what}: add --source {kind}")
    elif model is Family.RELATIONS:
        from vinfer.export.trained_relations import export_trained_relations

        if detector is None:
            raise ConfigError(
                "--model relations needs the detector bundle that it is to follow, whose classes "
                "it knows: add --detector NAME"
            )
        path = export_trained_relations(
            source, name=name, detector=detector, output=output, progress=note
        )
    else:
        path = import_yolox(source, name=name, output=output, progress=note)
    bundle = Bundle.open(path)
    if as_json:
        print_json({"path": str(path), "identity": bundle.identity, "digest": bundle.digest})
    else:
        print_line(f"{bundle.identity}: {path}")
        note(f"Look at it with: vinfer inspect {path}")
