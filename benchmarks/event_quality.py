"""Precision and recall of `vinfer run`'s events on labelled clips, with what is wrong and why.

    python -m benchmarks.event_quality --labels DIR CLIP... [--bundle B] [--detector D]
        [--output FILE]

DIR holds one label file a clip (``bikes.json`` for ``bikes.mp4``; the schema of docs/events.md); a
clip without one is run too, and every event found in it is listed to be looked at. The second
recall counts only the true events whose predicate the bundle reports as an event.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import vinfer
from benchmarks.machine import machine, versions
from vinfer.evaluation.events import evaluate_events


def judge(clip: Path, labels: Path, events: tuple[vinfer.Event, ...], said: set[str]) -> Any:
    """The figures of one clip, JSON-ready, and its lines printed."""
    result = evaluate_events(labels, events, predicates=said)
    overall = result.overall
    print(
        f"{clip.name}: {overall.predicted} predicted, {overall.right} right (precision "
        f"{overall.precision}); {overall.found} of {overall.truths} found, of those it has a word "
        f"for {result.recall_sayable}; {overall.false_per_hour} false an hour"
    )
    for match in result.matches:
        print(f"  right   {match.predicted}   overlap {match.overlap:.2f}")
    for false in result.false:
        print(f"  false   {false.predicted}: {false.reason} {false.note}")
    for missed in result.missed:
        true = missed.truth
        print(f"  missed  {float(true.start)}-{float(true.end)} s {true.name}: {missed.reason}")
    return result.to_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--bundle", help="of the relation model; default: the engine's")
    parser.add_argument("--detector", help="name or path, in place of the bundle's own")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    results: dict[str, Any] = {}
    with vinfer.Engine(args.bundle, detector=args.detector) as engine:
        said = set(engine.thresholds)
        for clip in args.clips:
            events = engine.run(clip).events
            labels = args.labels / f"{clip.stem}.json"
            if labels.exists():
                results[clip.name] = judge(clip, labels, events, said)
            else:
                print(f"{clip.name}: no labels; {len(events)} events found")
                for event in events:
                    print(f"  found   {event}")
                results[clip.name] = {"labels": None, "found": [str(event) for event in events]}
        described = engine.describe()
    report = {
        "machine": machine(),
        "versions": versions("onnxruntime", "av", "trackers"),
        "bundle": described["bundle"],
        "detector": described["detector"],
        "config_hash": described["config_hash"],
        "reported_predicates": sorted(said),
        "clips": results,
    }
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
