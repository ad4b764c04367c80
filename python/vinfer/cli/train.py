"""`vinfer train`: make a bundle from labelled data."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vinfer.cli.console import JsonOption, note, print_json, print_line, print_table
from vinfer.cli.progress import clock, counting

if TYPE_CHECKING:
    from vinfer.export.sprite_detector import SpriteDetectorReport
    from vinfer.training.relation_prior import TrainingReport
    from vinfer.training.relation_training import Progress

RELATIONS_EXAMPLE = "Example: vinfer train relations --config relations.yaml -o out/relations"
SPRITES_EXAMPLE = "Example: vinfer train sprites-detector -o sprites-detector.vinfer"
EXAMPLE = "Example: vinfer train relation-prior --data vrd/ -o relation-prior.vinfer"

app = typer.Typer(help="Train a model and pack it into a bundle.", no_args_is_help=True)


@app.command("relation-prior", epilog=EXAMPLE)
def relation_prior(
    data: Annotated[Path, typer.Option("--data", help="Folder with VRD's train.json.gz.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Bundle to write; default: relation-prior.vinfer among the bundles.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal bundles.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train the relation model that needs no image: classes and geometry of a pair."""
    from vinfer.bundles import default_bundle_dir
    from vinfer.training.relation_prior import train

    with counting("epochs") as update:
        report = train(
            data,
            output or default_bundle_dir() / "relation-prior.vinfer",
            seed=seed,
            progress=lambda done, most, loss: update(done, most),
        )
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)


@app.command("relations", epilog=RELATIONS_EXAMPLE)
def relations(
    config: Annotated[Path, typer.Option("--config", help="YAML file; see docs/relations.md.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for checkpoint, weights and logs; goes on where it was."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Train the visual relationship network with mined negatives."""
    from vinfer.training.relation_config import read_training_config
    from vinfer.training.relation_training import train_relations

    settings = read_training_config(config)
    with counting("batches") as update:

        def show(progress: Progress) -> None:
            done = (progress.epoch - 1) * progress.batches + progress.batch
            best = "" if progress.map_star is None else f", best mAP* {progress.map_star:.3f}"
            update(
                done,
                progress.epochs * progress.batches,
                f"loss {progress.loss:.4f}{best}, {clock(progress.seconds_left)} left",
            )

        result = train_relations(settings, output, progress=show)
    if as_json:
        print_json(result.to_dict())
        return
    note(
        f"{result.epochs} epochs in {result.seconds:.0f} s; {result.dropped_batches} batches "
        "without a relation were left out"
    )
    _note_skipped(result.skipped)
    print_line(f"validation mAP*: {result.map_star:.3f} (epoch {result.best_epoch})")
    print_line(f"weights: {result.weights}")
    note(f"Pack them with: vinfer export NAME --model relations --source {output} --detector NAME")


@app.command("sprites-detector", epilog=SPRITES_EXAMPLE)
def sprites_detector(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Bundle to write; default: sprites-detector.vinfer among the bundles.",
        ),
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(help="Pictures to train on; default: as the shipped bundle.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over them; default: as the shipped bundle.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal bundles.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train the small detector of the synthetic pictures and clips: 7 minutes on one fast core."""
    from vinfer.export import sprite_detector

    with contextlib.ExitStack() as shown:
        updates: dict[str, Callable[..., None]] = {}

        def show(what: str, done: int, most: int, detail: str) -> None:
            if what not in updates:
                shown.close()  # the step before is over, and so is its bar
                updates[what] = shown.enter_context(counting(what))
            updates[what](done, most, detail)

        report = sprite_detector.make_sprite_detector(
            output,
            num_pictures=sprite_detector.PICTURES if pictures is None else pictures,
            epochs=sprite_detector.EPOCHS if epochs is None else epochs,
            seed=seed,
            progress=show,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        _print_sprites_report(report)


def _print_sprites_report(report: SpriteDetectorReport) -> None:
    quality = report.quality
    note(
        f"{report.epochs} epochs on {report.num_pictures} pictures in {report.seconds:.0f} s, "
        f"loss {report.loss:.3f}"
    )
    rows = [(name, f"{share:.3f}") for name, share in quality.recall.items()]
    print_table("Held-out clips", ("object", "found"), rows, numeric=1)
    print_line(
        f"{quality.false_per_picture:.3f} false detections a frame; boxes off by "
        f"{quality.error_median:.2f} pixels (median), {quality.error_95:.2f} (95 %)"
    )
    print_line(f"bundle: {report.bundle}")


def _print_report(report: TrainingReport) -> None:
    note(
        f"{report.epochs} epochs on {report.num_pairs} pairs in {report.seconds:.1f} s; log loss "
        f"{report.held_out_loss:.4f} on {report.num_held_out} held-out pairs"
    )
    _note_skipped(report.skipped)
    rows = [
        (name, f"{e.threshold:.2f}", f"{e.precision:.3f}", str(e.right), str(e.found))
        for name, e in sorted(report.events.items())
    ]
    columns = ("event", "threshold", "precision", "right", "found")
    print_table("Held-out pictures", columns, rows, numeric=4)
    print_line(f"bundle: {report.bundle}")


def _note_skipped(skipped: Mapping[str, int]) -> None:
    if skipped:
        left_out = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        note(f"rows left out: {left_out}")
