"""`vinfer eval`: quality figures of a detector, of relations or of events."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vinfer.cli.console import JsonOption, counted, print_json, print_line, print_table
from vinfer.cli.evaluate_precision import EXAMPLE as PRECISION_EXAMPLE
from vinfer.cli.evaluate_precision import precision
from vinfer.cli.evaluate_relations import RELATIONS_EXAMPLE, VIDVRD_EXAMPLE, relations, vidvrd
from vinfer.cli.progress import counting

if TYPE_CHECKING:
    from vinfer.evaluation.alarm_budget import AlarmBudget
    from vinfer.evaluation.events import EventEvaluation, EventScores

DETECTION_EXAMPLE = (
    "Example: vinfer eval detection ssd-mobilenet-v2-coco --annotations annotations.json "
    "--images images/"
)
EVENTS_EXAMPLE = "Example: vinfer eval events truth.json out/events.jsonl"

app = typer.Typer(help="Measure quality against labels.", no_args_is_help=True)
app.command("relations", epilog=RELATIONS_EXAMPLE)(relations)
app.command("vidvrd", epilog=VIDVRD_EXAMPLE)(vidvrd)
app.command("precision", epilog=PRECISION_EXAMPLE)(precision)


class Certainty(enum.StrEnum):
    """How sure the labels are of an event; each level takes in the surer ones."""

    SURE = "sure"
    LIKELY = "likely"
    DOUBTFUL = "doubtful"


@app.command("detection", epilog=DETECTION_EXAMPLE)
def detection(
    bundle: Annotated[str, typer.Argument(help="Name or path of a detector bundle.")],
    annotations: Annotated[Path, typer.Option(help="Annotations in COCO's format.")],
    images: Annotated[Path, typer.Option(help="Folder with the pictures that they name.")],
    split: Annotated[
        str | None, typer.Option(help="Only pictures whose field `split` is this.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Average precision of a detector, as COCO defines it."""
    from vinfer.backends import SessionOptions
    from vinfer.bundles import Bundle, find_bundle
    from vinfer.evaluation.detection import evaluate_detection, evaluation_detector

    opened = Bundle.open(find_bundle(bundle))
    with (
        evaluation_detector(opened, SessionOptions()) as detector,
        counting("pictures") as progress,
    ):
        quality = evaluate_detection(detector, annotations, images, split=split, progress=progress)
    facts = quality.to_dict()
    if as_json:
        print_json({"bundle": opened.identity, **facts})
        return
    per_class = facts.pop("per_class")
    rows = [(name.replace("_", " "), _figure(value)) for name, value in facts.items()]
    print_table(opened.identity, ("figure", "value"), rows, numeric=1)
    rows = [(name, _figure(value)) for name, value in per_class.items()]
    print_table("By class", ("class", "ap"), rows, numeric=1)


@app.command("events", epilog=EVENTS_EXAMPLE)
def events(
    truth: Annotated[
        Path, typer.Argument(help="True events: vinfer-events-truth/1 or an events.jsonl.")
    ],
    predicted: Annotated[Path, typer.Argument(help="The events.jsonl of a run.")],
    iou: Annotated[float, typer.Option(min=0, max=1, help="Least temporal IoU of a match.")] = 0.5,
    certainty: Annotated[
        Certainty,
        typer.Option(help="Labels that count, with the surer ones; others neither help nor hurt."),
    ] = Certainty.SURE,
    bundle: Annotated[
        str | None,
        typer.Option(help="Relation bundle, for the recall over what it reports."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Precision, recall, F1, timing, false events per hour, recall at budgets of false alarms."""
    from vinfer.evaluation.alarm_budget import alarm_budget_of_events
    from vinfer.evaluation.events import evaluate_events

    levels = list(Certainty)
    evaluation = evaluate_events(
        truth,
        predicted,
        threshold=iou,
        certainty=levels[: levels.index(certainty) + 1],
        predicates=None if bundle is None else _predicates(bundle),
    )
    budget = alarm_budget_of_events(evaluation)
    if as_json:
        print_json(
            {**evaluation.to_dict(), "alarm_budget": None if budget is None else budget.to_dict()}
        )
        return
    _print_evaluation(evaluation)
    if budget is not None:
        _print_alarm_budget(budget)


def _predicates(name: str) -> tuple[str, ...]:
    from vinfer.bundles import Bundle, RelationManifest, find_bundle
    from vinfer.errors import BundleSchemaError

    bundle = Bundle.open(find_bundle(name))
    if not isinstance(bundle.manifest, RelationManifest):
        raise BundleSchemaError(
            f"{bundle.identity}: its task is {bundle.manifest.task}, expected relations; give the "
            "relation bundle of the run"
        )
    return tuple(bundle.manifest.events)


def _print_evaluation(evaluation: EventEvaluation) -> None:
    columns = ["predicate", "precision", "recall", "f1", "true", "found", "predicted", "right"]
    columns += ["ignored", "overlap", "onset s", "offset s", "false/h"]
    rows = [("all", evaluation.overall), *evaluation.by_predicate.items()]
    print_table(
        f"Events at temporal IoU {evaluation.threshold:g}",
        columns,
        [(name, *_scores(scores)) for name, scores in rows],
        numeric=len(columns) - 1,
    )
    if evaluation.recall_sayable is not None:
        print_line(
            f"recall over the {counted(evaluation.sayable or 0, 'true event')} of a kind that "
            f"the bundle reports: {evaluation.recall_sayable:.3f}"
        )
    for missed in evaluation.missed:
        event = missed.truth
        print_line(
            f"missed  {float(event.start):.2f}-{float(event.end):.2f} s  {event.name}: "
            f"{missed.reason}"
        )
    for false in evaluation.false:
        remark = f" ({false.note})" if false.note else ""
        print_line(f"false   {false.predicted}: {false.reason}{remark}")


def _print_alarm_budget(alarms: AlarmBudget) -> None:
    for figures in alarms.budgets:
        point = figures.point
        since = "nothing" if point.threshold is None else f"score {point.threshold:.3f} and above"
        line = (
            f"false events a minute up to {figures.budget:g}: recall {_figure(point.recall)}, "
            f"precision {_figure(point.precision)} ({since}; "
            f"true rate below {figures.upper_false_per_minute:.2g} a minute at 95 %)"
        )
        if not figures.resolvable:
            line += (
                f"; not resolvable: {alarms.minutes:.3g} minutes without a false event only show a "
                f"rate below {alarms.least_provable:.2g} a minute"
            )
        print_line(line)


def _scores(scores: EventScores) -> tuple[str, ...]:
    figures = [scores.precision, scores.recall, scores.f1, scores.truths, scores.found]
    figures += [scores.predicted, scores.right, scores.ignored, scores.mean_overlap]
    figures += [scores.onset.mean, scores.offset.mean, scores.false_per_hour]
    return tuple(map(_figure, figures))


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
