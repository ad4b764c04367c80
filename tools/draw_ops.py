#!/usr/bin/env python3
"""Draw docs/images/ops.png: what each op does, on a frame of the demo clip, by the ops themselves.

.venv/bin/python tools/draw_ops.py [OUTPUT]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from vinfer import open_source, ops

ROOT = Path(__file__).resolve().parent.parent
SIZE = 96  # network pixels a side of the small feature map
RIDER = np.array([[355.0, 14.0, 484.0, 266.0]], np.float32)
BICYCLE = np.array([[366.0, 143.0, 519.0, 269.0]], np.float32)


def frame(index: int) -> Any:
    with open_source(str(ROOT / "models" / "bikes.mp4")) as source:
        for found in source:
            if found.index == index:
                return found.image
    raise SystemExit(f"the demo clip has no frame {index}")


def outline(axes: Any, box: Any, colour: str, label: str) -> None:
    x1, y1, x2, y2 = box
    axes.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=colour, lw=1.6, label=label)


def draw(output: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot

    picture = frame(129)
    height, width = picture.shape[:2]
    pyplot.rcParams["axes.titlesize"] = 10
    figure, rows = pyplot.subplots(2, 4, figsize=(13, 6.6), constrained_layout=True)
    for axes in rows.ravel():
        axes.set_xticks([])
        axes.set_yticks([])

    rows[0, 0].imshow(picture)
    outline(rows[0, 0], RIDER[0], "tab:orange", "box")
    bins = 7
    x1, y1, x2, y2 = RIDER[0]
    samples = (np.arange(2 * bins) + 0.5) / (2 * bins)
    for position in np.linspace(0, 1, bins + 1)[1:-1]:
        rows[0, 0].plot([x1 + position * (x2 - x1)] * 2, [y1, y2], color="white", lw=0.6)
        rows[0, 0].plot([x1, x2], [y1 + position * (y2 - y1)] * 2, color="white", lw=0.6)
    across, down = np.meshgrid(x1 + samples * (x2 - x1), y1 + samples * (y2 - y1))
    rows[0, 0].plot(across.ravel(), down.ravel(), ".", color="tab:red", ms=2)
    rows[0, 0].set_title("RoIAlign: 7x7 bins, 2x2 samples each")
    maps = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
    pooled = ops.roi_align(maps, RIDER, np.zeros(1, np.int64), 28, 1.0, 2)
    rows[1, 0].imshow(pooled[0].transpose(1, 2, 0) / 255.0)
    rows[1, 0].set_title("pooled (28x28 bins, of the picture itself)")

    union = np.concatenate(
        [np.minimum(RIDER, BICYCLE)[:, :2], np.maximum(RIDER, BICYCLE)[:, 2:]], axis=1
    )
    rows[0, 1].imshow(picture)
    for box, colour, label in (
        (RIDER, "tab:orange", "subject"),
        (BICYCLE, "tab:cyan", "object"),
        (union, "white", "union"),
    ):
        outline(rows[0, 1], box[0], colour, label)
    rows[0, 1].legend(loc="lower left", fontsize=7)
    rows[0, 1].set_title("positional maps: boxes and their union")
    x_and_y = ops.positional_maps(BICYCLE, union, 14)[0]
    rows[1, 1].imshow(
        np.hstack([x_and_y[0], np.full((14, 1), np.nan), x_and_y[1]]), vmin=-1, vmax=1
    )
    rows[1, 1].set_title("object's x map and y map, -1 to 1")

    grey = ops.letterbox(picture, 13, mode="stretch")[0].mean(axis=0, dtype=np.float32)
    pooled_map, highest, lowest = ops.weldon_pool(grey[None, None], 8, 8, return_indices=True)
    for axes, positions, colour, title in (
        (rows[0, 2], highest, "tab:red", "Weldon pooling: the 8 highest"),
        (rows[1, 2], lowest, "tab:cyan", "and the 8 lowest of a 13x13 map"),
    ):
        axes.imshow(grey, cmap="gray")
        axes.plot(positions[0, 0] % 13, positions[0, 0] // 13, "o", color=colour, mfc="none")
        axes.set_title(title)
    rows[1, 2].set_xlabel(f"mean of highest + mean of lowest = {pooled_map.item():.0f}")

    rows[0, 3].imshow(picture)
    rows[0, 3].set_title(f"letterbox: {width}x{height} ...")
    network_image, _ = ops.letterbox(picture, SIZE, layout="hwc")
    rows[1, 3].imshow(network_image / 255.0)
    for axes in rows[0, :2]:
        axes.set_xlim(295, 545)
    rows[1, 3].set_title(f"... in {SIZE}x{SIZE}, padded")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=75)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "ops.png")
