#!/usr/bin/env python3
"""Draw docs/images/explain.png: one event of a synthetic clip, explained.

.venv/bin/python tools/draw_explanation.py BUNDLE [--kind holds] [--seed 3] [OUTPUT]

BUNDLE is a relation bundle of the sprites' vocabulary. The boxes are the clip's true ones, so that
the picture shows what the relation network looks at and nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, find_bundle
from vinfer.events.segments import Segmenter
from vinfer.explain import ScoreHistory, explain_frame, write_explanation
from vinfer.stages.relate import Relator
from vinfer.training.sprites import make_clip, noisy_detections
from vinfer.types import Frame, FrameResult

ROOT = Path(__file__).resolve().parent.parent


def draw(bundle: str, kind: str, seed: int, output: Path) -> None:
    clip = make_clip(seed, kinds=(kind,))
    true_boxes = noisy_detections(clip, 0, jitter=0, drop_percent=0, switch_percent=0)
    with Relator(Bundle.open(find_bundle(bundle)), SessionOptions(provider="cpu")) as relator:
        manifest = relator.manifest
        history = ScoreHistory(manifest.events, symmetric=manifest.symmetric)
        segmenter = Segmenter(
            f"sprites-{seed}",
            manifest.events,
            symmetric=manifest.symmetric,
            bundle=f"{manifest.name}@{manifest.version}",
        )
        for index, detections in enumerate(true_boxes):
            image, time = clip.image(index), clip.time(index)
            relations = relator.relate(detections, image)
            frame = Frame(image, time, index, f"sprites-{seed}", 0.0)
            history.frame(frame, FrameResult(detections, relations))
            for event in segmenter.push(time, index, detections, relations):
                history.event(event)
        for event in segmenter.finish():
            history.event(event)
        chosen = next((event for event in history.events() if event.predicate == kind), None)
        if chosen is None:
            raise SystemExit(f"{bundle} finds no {kind!r} in clip {seed}: take another --seed")
        explanation = explain_frame(
            relator,
            chosen,
            clip.image(chosen.peak_frame),
            history.trace(chosen),
            manifest.events[kind],
        )
    write_explanation(output, explanation)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("output", nargs="?", type=Path, default=ROOT / "docs/images/explain.png")
    parser.add_argument("--kind", default="holds")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    draw(options.bundle, options.kind, options.seed, options.output)
