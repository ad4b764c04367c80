"""What a score rests on, measured without gradients: parts of the picture are covered one after
another (Zeiler and Fergus 2014, section 4.2)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vinfer.errors import ConfigError
from vinfer.scheduler import OrderedMap
from vinfer.types import Float32Array, UInt8Array

Box = tuple[float, float, float, float]
LEAST_DROP = 0.05
"""Score drops below it are not worth a word."""

PixelBox = tuple[int, int, int, int]
Score = Callable[[UInt8Array], float]


@dataclasses.dataclass(frozen=True, slots=True)
class OcclusionSettings:
    """How finely and how far around the pair is looked.

    Attributes:
        patches: how many patches side by side make the longer side of what is examined, >= 1. The
            work grows with its square.
        steps: the patch moves by this fraction of its side: 2 by half of it, >= 1.
        margin: what is examined beyond the box around subject and object, in that box's sides,
            >= 0.

    Raises:
        ConfigError: a value is out of range.
    """

    patches: int = 8
    steps: int = 2
    margin: float = 0.35

    def __post_init__(self) -> None:
        for name, value in (("patches", self.patches), ("steps", self.steps)):
            if value < 1:
                raise ConfigError(f"{name} is {value}, expected 1 or more")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ConfigError(f"margin is {self.margin}, expected 0 or more")


@dataclasses.dataclass(frozen=True, slots=True)
class Fill:
    """What a patch is filled with: an RGB colour, and what that colour is, in words."""

    color: tuple[int, int, int]
    name: str


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """How much a score falls when a part of the picture is covered.

    Attributes:
        values: float32 ``[H, W]``, the picture's size: mean score drop of the patches that cover a
            pixel; negative where the score rises. 0 outside ``region``, which was not examined.
        cells: float32 ``[rows, columns]``: the same, one value a cell of ``stride`` pixels, from
            the upper left corner of ``region`` on.
        drops: float32 ``[rows + steps - 1, columns + steps - 1]``: score drop of each patch.
        region: what was examined, xyxy in whole pixels.
        patch, stride: side of the patch and how far it moves, pixels.
        fill: what the patch is filled with.
        base_score: the score without a patch.
    """

    values: Float32Array
    cells: Float32Array
    drops: Float32Array
    region: PixelBox
    patch: int
    stride: int
    fill: Fill
    base_score: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return {
            "method": "occlusion",
            "region": list(self.region),
            "patch": self.patch,
            "stride": self.stride,
            "fill": {"color": list(self.fill.color), "name": self.fill.name},
            "cells": self.cells.tolist(),
        }

    def to_text(self) -> str:
        """Where it is highest, in words; or that no place alone matters."""
        if float(self.cells.max()) < LEAST_DROP:
            return (
                f"No place of {self.patch} pixels alone matters: covered, none costs {LEAST_DROP}."
            )
        row, column = np.unravel_index(int(np.argmax(self.cells)), self.cells.shape)
        x = self.region[0] + (int(column) + 0.5) * self.stride
        y = self.region[1] + (int(row) + 0.5) * self.stride
        return (
            f"Covering {self.patch} pixels lowers the score most at ({x:.0f}, {y:.0f}): by "
            f"{float(self.cells.max()):.2f}."
        )


def examined_region(
    subject: Box, object_: Box, margin: float, size: tuple[int, int]
) -> PixelBox | None:
    """The box around both with a margin, in whole pixels within the picture.

    Args:
        subject, object_: xyxy in pixels.
        margin: in sides of the box around both.
        size: height and width of the picture.

    Returns:
        xyxy with x1 < x2 and y1 < y2; None when no pixel of the picture lies in it.
    """
    height, width = size
    x1, y1 = min(subject[0], object_[0]), min(subject[1], object_[1])
    x2, y2 = max(subject[2], object_[2]), max(subject[3], object_[3])
    across, down = margin * (x2 - x1), margin * (y2 - y1)
    left, top = max(0, math.floor(x1 - across)), max(0, math.floor(y1 - down))
    right, bottom = min(width, math.ceil(x2 + across)), min(height, math.ceil(y2 + down))
    return (left, top, right, bottom) if left < right and top < bottom else None


def occlusion_map(
    image: UInt8Array,
    region: PixelBox,
    score: Score,
    base_score: float,
    *,
    fill: Fill,
    settings: OcclusionSettings | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> HeatMap:
    """Cover the region patch by patch, everywhere equally often, and score each picture.

    Each cell of the region is covered by ``steps * steps`` patches; those at the border reach
    beyond the region, and end at the picture's border.

    Args:
        image: uint8 ``[H, W, 3]``.
        region: as `examined_region` gives it.
        score: of a picture; called from ``workers`` threads at once. That many pictures and two
            more are in memory.
        base_score: of the picture as it is.
        fill: what to fill the patch with.
        settings: how fine.
        workers: threads, >= 1.
        on_progress: called with how many pictures are scored, and of how many.
    """
    settings = settings or OcclusionSettings()
    x1, y1, x2, y2 = region
    stride = max(1, round(max(x2 - x1, y2 - y1) / (settings.patches * settings.steps)))
    patch = stride * settings.steps
    before = patch - stride
    rows, columns = math.ceil((y2 - y1) / stride), math.ceil((x2 - x1) / stride)
    lefts = [x1 - before + stride * k for k in range(columns + settings.steps - 1)]
    tops = [y1 - before + stride * k for k in range(rows + settings.steps - 1)]
    total = len(tops) * len(lefts)

    def covered() -> Iterator[UInt8Array]:
        for top in tops:
            for left in lefts:
                picture = image.copy()
                picture[max(0, top) : top + patch, max(0, left) : left + patch] = fill.color
                yield picture

    drops = np.zeros((len(tops), len(lefts)), np.float32)
    with OrderedMap(score, covered(), workers=workers) as scores:
        for number, found in enumerate(scores):
            drops.flat[number] = base_score - found
            if on_progress is not None:
                on_progress(number + 1, total)
    windows = np.lib.stride_tricks.sliding_window_view(drops, (settings.steps, settings.steps))
    cells = windows.mean(axis=(2, 3), dtype=np.float64).astype(np.float32)
    values = np.zeros(image.shape[:2], np.float32)
    whole = np.repeat(np.repeat(cells, stride, 0), stride, 1)
    values[y1:y2, x1:x2] = whole[: y2 - y1, : x2 - x1]
    return HeatMap(values, cells, drops, region, patch, stride, fill, base_score)
