"""`vinfer eval relations` and `vinfer eval vidvrd`: quality figures of relations."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from vinfer.cli.console import JsonOption, print_json, print_table

RELATIONS_EXAMPLE = "Example: vinfer eval relations truth.json predictions.json"
VIDVRD_EXAMPLE = "Example: vinfer eval vidvrd truth.json out/events.vidvrd.json"


def relations(
    truth: Annotated[Path, typer.Argument(help="True relations: vinfer-scene-graphs/1.")],
    predicted: Annotated[
        list[Path],
        typer.Argument(help="Predictions of the same form; of several runs, their mean is given."),
    ],
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Predicate that mAP* leaves out, such as a very rare one; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """mAP, mAP* and over related pairs only, R@K, ngR@K, mR@K, the Open Images score."""
    from vinfer.evaluation.relation_quality import evaluate_relations
    from vinfer.evaluation.uncertainty import mean_over_runs

    runs = [evaluate_relations(truth, path, ignored=ignore or ()) for path in predicted]
    every = [run.figures() for run in runs]
    names = list(dict.fromkeys(name for figures in every for name in figures))
    means = {name: mean_over_runs([figures.get(name) for figures in every]) for name in names}
    if as_json:
        print_json(
            {
                "figures": {name: dataclasses.asdict(mean) for name, mean in means.items()},
                "runs": [run.to_dict() for run in runs],
            }
        )
        return
    title = f"{runs[0].relations} relations in {runs[0].pictures} pictures"
    if len(runs) > 1:
        rows = [(n, _figure(m.mean), _figure(m.std), str(m.runs)) for n, m in means.items()]
        print_table(title, ("figure", "mean", "std", "runs"), rows, numeric=3)
        return
    print_table(
        title, ("figure", "value"), [(n, _figure(m.mean)) for n, m in means.items()], numeric=1
    )
    by_predicate = runs[0].to_dict()["by_predicate"]
    columns = ["ap", "ap_foreground", "ap_voc", "open_images_ap", "open_images_ap_phrase"]
    print_table(
        "By predicate",
        ("predicate", *(name.replace("_", " ") for name in columns)),
        [(name, *(_figure(row[c]) for c in columns)) for name, row in by_predicate.items()],
        numeric=len(columns),
    )


def vidvrd(
    truth: Annotated[Path, typer.Argument(help="True relations with trajectories, as VidVRD's.")],
    predicted: Annotated[Path, typer.Argument(help="The events.vidvrd.json of a run.")],
    viou: Annotated[
        float, typer.Option(min=0, max=1, help="Least volume IoU of subject and object.")
    ] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Relation detection mAP, R@50, R@100 and tagging P@1, P@5, P@10, as VidVRD has them."""
    from vinfer.evaluation.vidvrd import evaluate_vidvrd
    from vinfer.evaluation.vidvrd_file import read_vidvrd

    quality = evaluate_vidvrd(read_vidvrd(truth), read_vidvrd(predicted), viou_threshold=viou)
    if as_json:
        print_json(dataclasses.asdict(quality))
        return
    figures = [("detection mAP", quality.mean_ap)]
    figures += [(f"detection R@{k}", value) for k, value in quality.recall.items()]
    figures += [(f"tagging P@{k}", value) for k, value in quality.precision.items()]
    print_table(
        f"{quality.relations} relations in {quality.videos} videos",
        ("figure", "value"),
        [(name, _figure(value)) for name, value in figures],
        numeric=1,
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
