"""Which negatives to learn from, on whose boxes: what each is worth on clips, over seeds.

    python -m benchmarks.relation_negatives [--scale 0.25] [--seeds 3]
        [--work DIR] [--output benchmarks/results/relation_negatives.json]

The recipe of `relations-synthetic` on a part of its pictures, four ways: a quarter of a batch's
pairs related, as the paper has it, or nearly all pairs, as the recipe; annotated boxes, or those
that the recipe's detector finds. Measured on clips of other seeds with the detector's boxes, as
inference has them: mAP* of their frames, and how many of their events are found if so many false
ones a minute are allowed. Events begin at one low threshold for all and are ranked by their score,
as networks that saw other shares of related pairs differ in what a score means.
One thread a training, as many side by side as there are cores. A run that is in the work folder
already is not repeated; one that was cut off goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import vinfer.training
from benchmarks.machine import machine, versions
from benchmarks.relation_ablation import summarise
from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, EventThresholds, find_bundle
from vinfer.evaluation.alarm_budget import alarm_budget_of_events
from vinfer.evaluation.events import evaluate_events
from vinfer.export.trained_relations import export_trained_relations
from vinfer.stages.detect import Detector
from vinfer.stages.relate import Relator
from vinfer.threads import usable_threads
from vinfer.training.clip_thresholds import (
    LONGEST_GAP,
    clips_with_cuts,
    events_of,
    score_clip,
    seen_objects,
)
from vinfer.training.detected_boxes import detections_of, with_detected_boxes
from vinfer.training.relation_config import (
    RelationTrainingConfig,
    SpriteClipsSource,
    read_training_config,
)
from vinfer.training.relation_data import RelationData
from vinfer.training.relation_scoring import score_pairs
from vinfer.training.relation_training import load_network, train_relations
from vinfer.training.sprites import SYMMETRIC, make_clip_frames

RECIPE = Path(vinfer.training.__file__).parent / "recipes" / "relations-synthetic.yaml"
# By name: the least share of related pairs, per cent, and whether the detector's boxes are taken.
VARIANTS = {
    "a quarter related, annotated boxes": (25, False),
    "a quarter related, detector's boxes": (25, True),
    "nearly all pairs, annotated boxes": (4, False),
    "nearly all pairs, detector's boxes": (4, True),
}
TEST_SEED, TEST_CLIPS, TEST_FRAMES = 7001, 200, 6
LOW = EventThresholds(
    on=0.3,
    off=0.2,
    min_peak=0.3,
    min_duration=0.3,
    merge_gap=LONGEST_GAP,
    max_missing=LONGEST_GAP,
)
BUDGETS = {"recall at 1 false a minute": 1.0, "recall at 0.1": 0.1}
METRICS = ("mAP*", *BUDGETS)


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What a process makes once: training with annotated and with detected boxes, and test."""

    annotated: RelationData
    detected: RelationData
    test: RelationData


def recipe(percent: int, seed: int) -> RelationTrainingConfig:
    config = read_training_config(RECIPE)
    batches = config.batches.model_copy(update={"least_positive_percent": percent})
    return config.model_copy(update={"batches": batches, "seed": seed, "threads": 1})


@functools.cache
def pictures(scale: float) -> Pictures:
    config = read_training_config(RECIPE)
    assert isinstance(config.data, SpriteClipsSource)
    assert config.detector is not None
    whole = config.data
    parts = ("train_clips", "train_hard_clips", "train_singles")
    part = {name: max(1, round(scale * getattr(whole, name))) for name in parts}
    annotated, _ = whole.model_copy(update={**part, "validation_clips": 1}).load()
    test = make_clip_frames(
        TEST_CLIPS, TEST_SEED, frames_per_clip=TEST_FRAMES, jitter=0, drop_percent=0
    )
    detected, seen = (
        with_detected_boxes(data, detections_of(data, config.detector))
        for data in (annotated, test)
    )
    return Pictures(annotated, detected, seen)


def run(variant: str, seed: int, scale: float, work: Path) -> dict[str, Any]:
    """One training and its figures."""
    folder = work / f"{variant.replace(' ', '_')}_{seed}_{scale}"
    done = folder / "result.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    percent, is_detected = VARIANTS[variant]
    config = recipe(percent, seed)
    made = pictures(scale)
    training = made.detected if is_detected else made.annotated
    result = train_relations(config, folder, data=(training, made.test))
    network = load_network(result.weights, config, made.test)
    scored = score_pairs(network, made.test, config.batch_settings())
    quality = scored.quality(made.test.predicates, config.ignored)
    figures = {
        "variant": variant,
        "seed": seed,
        "pictures": len(training.pictures),
        "seconds": result.seconds,
        "mAP*": quality.mean_star,
        "ap": dict(zip(made.test.predicates, quality.ap, strict=True)),
        **events_on_clips(config, made.test, folder),
    }
    done.write_text(json.dumps(figures))
    return figures


def events_on_clips(
    config: RelationTrainingConfig, names: RelationData, folder: Path
) -> dict[str, Any]:
    """Events of the test clips, objects as the detector and the tracker give them."""
    assert config.detector is not None
    reported = [name for name in names.predicates if name not in config.ignored]
    thresholds = dict.fromkeys(reported, LOW)
    bundle = export_trained_relations(
        folder,
        name="trial",
        detector=config.detector,
        events=thresholds,
        output=folder / "trial.vinfer",
    )
    options = SessionOptions(provider="cpu", threads=1)
    with (
        Relator(Bundle.open(bundle), options) as relator,
        Detector(Bundle.open(find_bundle(config.detector)), options) as detector,
    ):
        clips = [
            score_clip(relator, clip, seen_objects(clip, detector))
            for clip in clips_with_cuts(TEST_CLIPS, TEST_SEED)
        ]
    events = [event for clip in clips for event in events_of(clip, thresholds, SYMMETRIC)]
    found = evaluate_events([clip.truth for clip in clips], events)
    curve = alarm_budget_of_events(found, budgets=tuple(BUDGETS.values()))
    assert curve is not None
    return {name: each.point.recall for name, each in zip(BUDGETS, curve.budgets, strict=True)}


def table(summary: dict[str, dict[str, Any]]) -> str:
    """Mean (standard deviation)."""
    lines = [f"| | {' | '.join(METRICS)} |", "|---" * (len(METRICS) + 1) + "|"]
    for variant, figures in summary.items():
        cells = (_shown(figures[name]) for name in METRICS)
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(figure: dict[str, float | None]) -> str:
    spread = "" if figure["std"] is None else f" ({figure['std']:.3f})"
    return f"{figure['mean']:.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scale", type=float, default=0.25)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("build/relation_negatives"))
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    began = time.monotonic()
    runs = []
    with ProcessPoolExecutor(usable_threads()) as pool:
        waiting = [
            pool.submit(run, variant, seed, args.scale, args.work)
            for seed in range(args.seeds)
            for variant in VARIANTS
        ]
        for future in waiting:
            runs.append(figures := future.result())
            shown = ", ".join(f"{name} {figures[name]:.3f}" for name in METRICS)
            print(f"{figures['variant']}, seed {figures['seed']}: {shown}", flush=True)
    summary = summarise(runs, METRICS)
    print(table(summary))
    if args.output:
        report = {
            "machine": machine(),
            "versions": versions("vinfer", "torch", "numpy"),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "seconds": round(time.monotonic() - began),
            "scale": args.scale,
            "test": {"clips": TEST_CLIPS, "first_seed": TEST_SEED},
            "summary": summary,
            "runs": runs,
        }
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
