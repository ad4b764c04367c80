"""Drawing a scene. Integers only: the same bytes on every platform."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from vinfer.training.sprites.anchors import Point, arm_line, contact, rope_line
from vinfer.training.sprites.scene import Arm, Burst, Colour, Rope, Scene, Sprite, Trail
from vinfer.training.sprites.shapes import shape_of

Canvas = npt.NDArray[np.uint8]

DARK: Colour = (24, 24, 28)
ROPE: tuple[Colour, Colour] = ((250, 226, 160), (96, 58, 20))
SPOKE: Colour = (255, 240, 70)

ARM_WIDTH, ROPE_WIDTH, SPOKE_WIDTH = 4, 3, 2
SPOKE_FROM, SPOKE_TO = 3, 9
SPOKES = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1), (-1, -1), (1, -1))

GHOST_STEP = 6
"""Pixels from one ghost of a trail to the next."""

GHOST_ALPHAS = (179, 128, 77)
"""0.7, 0.5 and 0.3 of 256, from the car to the trail's end."""

BROKEN = (300, 700)
"""Where a broken rope is missing, in thousandths of what is seen of it."""


def draw_scene(canvas: Canvas, scene: Scene) -> None:
    """Draw marks, sprites and occluders over a background.

    Args:
        canvas: uint8 ``[height, width, 3]``, RGB; changed in place.
        scene: what to draw; nothing of it may lie outside the canvas but marks.
    """
    sprites = scene.sprites
    for mark in scene.marks:
        match mark:
            case Trail(car=car, heading=(dx, dy)):
                for step in (3, 2, 1):
                    ghost = sprites[car].moved(-dx * GHOST_STEP * step, -dy * GHOST_STEP * step)
                    draw_sprite(canvas, ghost, GHOST_ALPHAS[step - 1])
            case Arm(person=person, item=item, reach=reach):
                start, end = arm_line(sprites[person], sprites[item], reach)
                _draw_line(canvas, start, end, ARM_WIDTH, (sprites[person].texture.first,) * 2)
            case Rope(first=first, second=second, whole=whole):
                _draw_rope(canvas, sprites[first], sprites[second], whole)
    for index in scene.order:
        draw_sprite(canvas, sprites[index])
    for mark in scene.marks:
        if isinstance(mark, Burst):
            _draw_burst(canvas, contact(sprites[mark.ball], sprites[mark.target]))
    for x1, y1, x2, y2 in scene.occluders:
        canvas[y1:y2, x1:x2] = DARK
        canvas[y1:y2, x1 + 2 : x2 - 2] = (122, 112, 104)


def draw_sprite(canvas: Canvas, sprite: Sprite, alpha: int = 256) -> None:
    """Draw one object.

    Args:
        canvas: uint8 ``[height, width, 3]``; changed in place. What lies outside is not drawn.
        sprite: the object.
        alpha: in 256ths; 256 covers what is below.
    """
    body, _ = shape_of(sprite.label, sprite.width, sprite.height)
    texture = sprite.texture
    tones = np.array([texture.first, texture.second, DARK], np.uint8)
    tone = _tones(sprite.label, sprite.width, sprite.height, texture.period, texture.slope)
    if sprite.inverted:
        body, tone = body[::-1], tone[::-1]
    x1, y1, x2, y2 = sprite.box
    target = canvas[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]
    top, left = max(0, -y1), max(0, -x1)
    inside = slice(top, top + target.shape[0]), slice(left, left + target.shape[1])
    colours = tones[tone[inside]]
    if alpha < 256:
        mixed = alpha * colours.astype(np.int32) + (256 - alpha) * target.astype(np.int32)
        colours = ((mixed + 128) >> 8).astype(np.uint8)
    np.copyto(target, colours, where=body[inside][:, :, None])


@functools.lru_cache(maxsize=4096)
def _tones(label: int, width: int, height: int, period: int, slope: tuple[int, int]) -> Canvas:
    """uint8 ``[height, width]``: 0 for the texture's first tone, 1 for its second, 2 for dark."""
    _, dark = shape_of(label, width, height)
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    tone = ((slope[0] * x + slope[1] * y) // period % 2).astype(np.uint8)
    tone[dark] = 2
    tone.setflags(write=False)
    return tone


def _draw_line(
    canvas: Canvas,
    start: Point,
    end: Point,
    width: int,
    colours: tuple[Colour, ...],
    part: tuple[int, int] = (0, 1000),
) -> None:
    """Draw a thick line with dashes of two colours, or the part of it between two thousandths.

    Points are twice the coordinates; a pixel is drawn if its centre is within half the width.
    """
    height, breadth = canvas.shape[:2]
    reach = width + 1
    x1 = max(0, (min(start[0], end[0]) - reach) // 2)
    y1 = max(0, (min(start[1], end[1]) - reach) // 2)
    x2 = min(breadth, (max(start[0], end[0]) + reach) // 2 + 1)
    y2 = min(height, (max(start[1], end[1]) + reach) // 2 + 1)
    x = 2 * np.arange(x1, x2, dtype=np.int64)[None, :] + 1 - start[0]
    y = 2 * np.arange(y1, y2, dtype=np.int64)[:, None] + 1 - start[1]
    dx, dy = end[0] - start[0], end[1] - start[1]
    squared = dx * dx + dy * dy
    along, across = x * dx + y * dy, x * dy - y * dx
    drawn = (
        (1000 * along >= part[0] * squared)
        & (1000 * along <= part[1] * squared)
        & (across**2 <= width**2 * squared)
    )
    dash = along // (8 * max(1, math.isqrt(squared))) % 2
    window = canvas[y1:y2, x1:x2]
    for number, colour in enumerate(colours):
        window[drawn & (dash == number)] = colour


def _draw_rope(canvas: Canvas, first: Sprite, second: Sprite, whole: bool) -> None:
    start, end, seen_from, seen_to = rope_line(first, second)
    parts = [(0, 1000)]
    if not whole:
        length = seen_to - seen_from
        parts = [
            (0, seen_from + length * BROKEN[0] // 1000),
            (seen_from + length * BROKEN[1] // 1000, 1000),
        ]
    for part in parts:
        _draw_line(canvas, start, end, ROPE_WIDTH, ROPE, part)


def _draw_burst(canvas: Canvas, centre: Point) -> None:
    for dx, dy in SPOKES:
        # 181/256 is 1/sqrt(2): diagonal spokes are as long as the others.
        scale = 256 if dx == 0 or dy == 0 else 181
        start, end = (
            (
                centre[0] + (2 * length * dx * scale) // 256,
                centre[1] + (2 * length * dy * scale) // 256,
            )
            for length in (SPOKE_FROM, SPOKE_TO)
        )
        _draw_line(canvas, start, end, SPOKE_WIDTH, (SPOKE, SPOKE))
