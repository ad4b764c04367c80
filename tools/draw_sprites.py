#!/usr/bin/env python3
"""Draw docs/images/sprites.png: each predicate beside its twin, whole pictures, a clip.

.venv/bin/python tools/draw_sprites.py [OUTPUT]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from vinfer.training.sprites import (
    CLASSES,
    PREDICATES,
    TWINNED,
    example_scene,
    make_clip,
    make_sprite_data,
    render,
)
from vinfer.training.sprites.scene import Arm
from vinfer.training.sprites.units import bounds

ROOT = Path(__file__).resolve().parent.parent
SIZE = 128
MARGIN = 18  # pixels around an example; a trail is as long
CLIP_SEED, CLIP_FRAMES = 6, (0, 12, 15, 23, 32, 45)

TWINS = {
    "inside_of": "twin: in front of the rim",
    "holds": "twin: half an arm",
    "moving_towards": "twin: moving away",
    "passing": "twin: parked",
    "linked_to": "twin: broken rope",
    "hits": "twin: touching only",
    "wears": "a bowl instead: bowl on person",
}
SEEDS = {
    "on": (4, 2),
    "inside_of": (3, 2),
    "holds": (1, 2),
    "moving_towards": (1, 2),
    "passing": (1, 2),
    "linked_to": (0, 3),
    "hits": (0, 3),
    "wears": (2, 1),
    "under": (0, 2),
}


MIRRORED = (Arm(0, 1, "mirrored"),)


def example(kind: str, seed: int, *, related: bool) -> Any:
    scene = example_scene(seed, kind, related=related)
    picture = render(scene, seed, seed, noise=0)
    x1, y1, x2, y2 = bounds(sprite.box for sprite in scene.sprites)
    side = min(SIZE, max(x2 - x1, y2 - y1) + 2 * MARGIN + 2)
    left = min(max(0, (x1 + x2 - side) // 2), SIZE - side)
    top = min(max(0, (y1 + y2 - side) // 2), SIZE - side)
    return picture[top : top + side, left : left + side]


def show(axes: Any, picture: Any, title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize=9)


def draw(output: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, cells = pyplot.subplots(7, 6, figsize=(13, 16.4), constrained_layout=True)
    for axes in cells.ravel():
        axes.set_xticks([])
        axes.set_yticks([])
    free = iter(cells.ravel())
    for kind in (*TWINNED, "wears"):
        for seed in SEEDS[kind][: 1 if kind == "wears" else 2]:
            show(next(free), example(kind, seed, related=True), kind)
            is_mirrored = example_scene(seed, kind, related=False).marks[:1] == MIRRORED
            twin = "twin: an arm to the other side" if is_mirrored else TWINS[kind]
            show(next(free), example(kind, seed, related=False), twin)
    for kind, seed in (("on", 0), ("on", 1), ("under", 0), ("under", 1)):
        show(next(free), example(kind, SEEDS[kind][seed], related=True), kind)

    data = make_sprite_data(60, 3)
    assert data.read is not None
    chosen = [k for k, scene in enumerate(data.scenes) if len(scene.pairs) == 3]
    for number in chosen[:6]:
        axes = next(free)
        picture = data.pictures[number]
        said = [
            f"{CLASSES[picture.labels[s]]} {PREDICATES[p]} {CLASSES[picture.labels[o]]}"
            for s, p, o in picture.triplets.tolist()
        ]
        show(axes, data.read(picture), "\n".join(said[:2]))
        for x1, y1, x2, y2 in picture.boxes.tolist():
            corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]) - 0.5
            axes.plot(*corners.T, color="white", lw=0.8)
    clip = make_clip(CLIP_SEED, kinds=("holds", "hits"))
    for number in CLIP_FRAMES:
        said = [
            f"{event.predicate}"
            for event in clip.events
            if event.start_frame <= number <= event.end_frame
        ]
        title = f"{float(clip.time(number)):.1f} s: {', '.join(said) or 'nothing'}"
        show(next(free), clip.image(number), title)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=70)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "sprites.png")
