"""Where marks begin and end on a sprite. Points are twice the coordinates, in integers."""

from __future__ import annotations

from typing import Literal

from vinfer.training.sprites.scene import CRATE, TABLE, Rect, Sprite
from vinfer.training.sprites.shapes import RIM, SLAB

Point = tuple[int, int]


def anchor(sprite: Sprite, towards: Sprite) -> Point:
    """A point of the body, as the centre of a crate and of a table is none.

    Of a crate the middle of the rim that faces the other sprite, of a table the middle of its top.
    """
    x, y = sprite.centre2
    if sprite.label == TABLE:
        return x, 2 * sprite.y + SLAB
    if sprite.label == CRATE:
        dx, dy = towards.centre2[0] - x, towards.centre2[1] - y
        if abs(dx) >= abs(dy):
            return (x + (sprite.width - RIM) * (1 if dx > 0 else -1), y)
        return (x, y + (sprite.height - RIM) * (1 if dy > 0 else -1))
    return x, y


def shoulder(person: Sprite, side: int) -> Point:
    """Below the head, 3 pixels within the left (-1) or right (1) side."""
    x, _ = person.centre2
    return x + side * (person.width - 6), 2 * person.y + 2 * person.width + 6


def arm_line(
    person: Sprite, item: Sprite, reach: Literal["full", "half", "mirrored"]
) -> tuple[Point, Point]:
    """Start and end of an arm. A full one ends inside the item, which is drawn over it."""
    x, _ = person.centre2
    side = 1 if item.centre2[0] > x else -1
    start, end = shoulder(person, side), item.centre2
    if reach == "full":
        return start, end
    edge = 2 * (item.x if side > 0 else item.box[2])
    at_edge = edge, start[1] + (end[1] - start[1]) * (edge - start[0]) // (end[0] - start[0])
    if reach == "half":
        # Half of what would be seen of it: from the person's side, not from the shoulder within.
        outside = 2 * (person.box[2] if side > 0 else person.x)
        return start, _on(start, at_edge, (outside + edge) // 2)
    return shoulder(person, -side), (2 * x - at_edge[0], at_edge[1])


def _on(start: Point, end: Point, x: int) -> Point:
    return x, start[1] + (end[1] - start[1]) * (x - start[0]) // (end[0] - start[0])


def rope_line(first: Sprite, second: Sprite) -> tuple[Point, Point, int, int]:
    """Start and end of a rope, and between which thousandths it is seen between the boxes."""
    start, end = anchor(first, second), anchor(second, first)
    seen_to = 1000 - _leaves(second.box, end, start)
    return start, end, _leaves(first.box, start, end), seen_to


def _leaves(box: Rect, start: Point, end: Point) -> int:
    """Thousandths of the way from a point in a box at which it leaves the box."""
    fractions = [1000]
    for axis in (0, 1):
        step = end[axis] - start[axis]
        if step:
            side = 2 * (box[axis + 2] if step > 0 else box[axis])
            fractions.append((side - start[axis]) * 1000 // step)
    return min(fractions)


def contact(ball: Sprite, target: Sprite) -> Point:
    """Where a ball beside something touches it."""
    right_of_it = ball.centre2[0] > target.centre2[0]
    return 2 * (ball.x if right_of_it else ball.box[2]), ball.centre2[1]
