"""Events of a relation bundle on synthetic clips that nothing was trained or chosen on.

    python -m benchmarks.sprite_events BUNDLE [--detector D] [--clips 600] [--seed 6001]
        [--parts true noisy engine] [--output benchmarks/results/sprite_events.json]

The same clips three ways: with the true boxes and identities; with boxes, misses and changed
identities as `noisy_detections` makes them; and as MP4 through `vinfer.Engine` with the bundle's
detector, tracker and all. Six seconds each, every fourth with a cut; seeds, and with them objects,
textures and backgrounds, are those of no training. An event is found at temporal IoU 0.5. Intervals
are of 95 %: of precision and recall Wilson's, of F1 by drawing clips, and the rate of false events
has an exact upper bound.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import vinfer
from benchmarks.machine import machine, versions
from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, RelationManifest, find_bundle
from vinfer.evaluation.alarm_budget import alarm_budget_of_events
from vinfer.evaluation.event_truth import EventTruth, truth_of_labels
from vinfer.evaluation.events import EventEvaluation, EventScores, evaluate_events
from vinfer.evaluation.uncertainty import (
    bootstrap_interval,
    poisson_upper_bound,
    wilson_interval,
)
from vinfer.stages.relate import Relator
from vinfer.training.clip_thresholds import (
    clips_with_cuts,
    events_of,
    known_objects,
    score_clip,
)
from vinfer.training.sprites import (
    SpriteClip,
    clip_truth,
    noisy_detections,
    write_clip,
)

PARTS = ("true", "noisy", "engine")
FIRST_SEED = 6001
FIND = Callable[[SpriteClip], Sequence[vinfer.Event]]


def stream(clip: SpriteClip) -> str:
    return f"sprites-{clip.seed}"


def with_objects(bundle: Bundle, relator: Relator, *, noisy: bool) -> FIND:
    """Events by the engine's rules, of objects that are known or nearly so."""
    manifest = bundle.manifest
    assert isinstance(manifest, RelationManifest)

    def find(clip: SpriteClip) -> Sequence[vinfer.Event]:
        exact = {"jitter": 0, "drop_percent": 0, "switch_percent": 0}
        objects = noisy_detections(clip, clip.seed, **({} if noisy else exact))
        scored = score_clip(relator, clip, known_objects(objects))
        return events_of(scored, manifest.events, manifest.symmetric)

    return find


def through_engine(engine: vinfer.Engine, folder: Path) -> FIND:
    """Events of the clip's MP4, as `vinfer run` finds them."""

    def find(clip: SpriteClip) -> Sequence[vinfer.Event]:
        path = folder / f"{stream(clip)}.mp4"
        write_clip(clip, path)
        with vinfer.open_source(path, name=stream(clip)) as source:
            events = engine.run(source).events
        path.unlink()
        return events

    return find


def measured(find: FIND, clips: Sequence[SpriteClip]) -> dict[str, Any]:
    """The figures over all clips, JSON-ready."""
    began = time.perf_counter()
    truths = [truth_of_labels(clip_truth(clip, stream(clip))) for clip in clips]
    found = [list(find(clip)) for clip in clips]
    seconds = time.perf_counter() - began
    return evaluated(truths, found) | {"seconds_taken": round(seconds, 1)}


def evaluated(
    truths: Sequence[EventTruth], found: Sequence[Sequence[vinfer.Event]]
) -> dict[str, Any]:
    whole = evaluate_events(truths, [event for events in found for event in events])
    each = [evaluate_events([truth], events) for truth, events in zip(truths, found, strict=True)]
    minutes = (whole.hours or 0) * 60
    budget = alarm_budget_of_events(whole)
    return {
        "minutes": minutes,
        "overall": figures(whole.overall, minutes) | {"f1_interval": f1_interval(each)},
        "by_predicate": {n: figures(s, minutes) for n, s in whole.by_predicate.items()},
        "recall_within_budget": None
        if budget is None
        else {
            f"{b.budget:g} a minute": {"recall": b.point.recall, "threshold": b.point.threshold}
            for b in budget.budgets
        },
        "false": [f"{f.predicted.stream} {f.predicted}: {f.reason}" for f in whole.false],
        "missed": [
            f"{float(m.truth.start):.1f}-{float(m.truth.end):.1f} s {m.truth.name}: {m.reason}"
            for m in whole.missed
        ],
    }


def figures(scores: EventScores, minutes: float) -> dict[str, Any]:
    return {
        "truths": scores.truths,
        "found": scores.found,
        "predicted": scores.predicted,
        "right": scores.right,
        "precision": scores.precision,
        "precision_interval": wilson_interval(scores.right, scores.predicted),
        "recall": scores.recall,
        "recall_interval": wilson_interval(scores.found, scores.truths),
        "f1": scores.f1,
        "mean_overlap": scores.mean_overlap,
        "onset_s": scores.onset.mean,
        "offset_s": scores.offset.mean,
        "false_per_minute": scores.false / minutes,
        "false_per_minute_below": poisson_upper_bound(scores.false) / minutes,
    }


def f1_interval(each: Sequence[EventEvaluation]) -> tuple[float, float] | None:
    counts = np.array(
        [
            (one.overall.right, one.overall.predicted, one.overall.found, one.overall.truths)
            for one in each
        ]
    )

    def f1(drawn: Any) -> float | None:
        right, predicted, found, truths = counts[drawn].sum(0)
        if not predicted or not truths:
            return None
        precision, recall = right / predicted, found / truths
        return float(2 * precision * recall / (precision + recall)) if found else 0.0

    return bootstrap_interval(np.arange(len(each)), f1)


def show(part: str, result: dict[str, Any]) -> None:
    def text(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    print(f"{part}: {result['minutes']:.1f} minutes, {result['seconds_taken']} s")
    for name, row in {"all": result["overall"], **result["by_predicate"]}.items():
        print(
            f"  {name:15} {row['truths']:4} true  P {text(row['precision'])}  "
            f"R {text(row['recall'])}  F1 {text(row['f1'])}  false/min "
            f"{row['false_per_minute']:.3f} (< {row['false_per_minute_below']:.3f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("--detector", help="name or path, in place of the bundle's own")
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    clips = clips_with_cuts(args.clips, args.seed)
    bundle = Bundle.open(find_bundle(args.bundle))
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("onnxruntime", "av", "trackers"),
        "bundle": bundle.identity,
        "digest": bundle.digest,
        "clips": {"count": args.clips, "first_seed": args.seed},
        "parts": {},
    }
    options = SessionOptions(provider="cpu", threads=args.threads)
    with Relator(bundle, options) as relator, tempfile.TemporaryDirectory() as folder:
        for part in args.parts:
            if part == "engine":
                config = vinfer.Config(threads=args.threads, provider="cpu")
                with vinfer.Engine(args.bundle, detector=args.detector, config=config) as engine:
                    result = measured(through_engine(engine, Path(folder)), clips)
                    report["detector"] = engine.describe()["detector"]
            else:
                result = measured(with_objects(bundle, relator, noisy=part == "noisy"), clips)
            report["parts"][part] = result
            show(part, result)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
