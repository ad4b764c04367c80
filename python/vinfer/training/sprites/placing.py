"""Finding room in a picture, so that nothing is related or overlaps unless it is meant to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.rules import FARTHEST_AHEAD, FARTHEST_BESIDE, NEAREST_AHEAD, offset2
from vinfer.training.sprites.scene import Rect, Scene, Sprite
from vinfer.training.sprites.units import Unit, bounds

MARGIN = 3
"""Pixels between what was not placed together; more than what counts as contact."""

BORDER = 1
"""Pixels to the picture's edge."""

TANGENT_24 = 445
"""1000 tan 24 degrees: nobody stands on the edge of a rule."""

Clear = Sequence[Rect]


def room_for(
    random: KeyedRandom, clear: Clear, taken: Clear, height: int, width: int
) -> tuple[int, int] | None:
    """A free place.

    Args:
        random: proposes one place.
        clear: what must lie in the picture and touch nothing that is taken.
        taken: what is there already.
        height, width: of the picture.

    Returns:
        How far to move ``clear``; None where the proposed place is taken or there can't be any.
    """
    x1, y1, x2, y2 = bounds(clear)
    if x2 - x1 > width - 2 * BORDER or y2 - y1 > height - 2 * BORDER:
        return None
    dx = random.between(BORDER, width - BORDER - (x2 - x1)) - x1
    dy = random.between(BORDER, height - BORDER - (y2 - y1)) - y1
    for a1, b1, a2, b2 in clear:
        left, top = a1 + dx - MARGIN, b1 + dy - MARGIN
        right, bottom = a2 + dx + MARGIN, b2 + dy + MARGIN
        for u1, v1, u2, v2 in taken:
            if left < u2 and u1 < right and top < v2 and v1 < bottom:
                return None
    return dx, dy


def concerns(unit: Unit, other: Sprite) -> bool:
    """Whether a moving unit's car could be about another sprite, too, whichever way it goes.

    Asked whether the car has a trail or not: what a picture holds must not depend on that.
    """
    if unit.heading == (0, 0):
        return False
    ahead, beside = offset2(unit.subject, unit.heading, other)
    squared = ahead**2 + beside**2
    in_line = 1000 * beside <= TANGENT_24 * abs(ahead)
    abreast = 1000 * abs(ahead) <= TANGENT_24 * beside
    return (
        in_line and (2 * NEAREST_AHEAD - 4) ** 2 <= squared <= (2 * FARTHEST_AHEAD + 4) ** 2
    ) or (abreast and squared <= (2 * FARTHEST_BESIDE + 4) ** 2)


BAR = 8
"""Width of an occluder in pixels; less than any sprite's sides."""

IN_VIEW = 24
"""Pixels around what was placed together that no occluder covers: its marks are there."""


def bar_in_front(random: KeyedRandom, scene: Scene) -> Scene:
    """The scene with an upright bar in front of one of its distractors, if there is room.

    What was placed together stays in full view, as its relation would else be a guess.
    """
    together: set[int] = set()
    seen = []
    for pair in scene.pairs:
        together |= {pair.subject, pair.object}
        x1, y1, x2, y2 = bounds(scene.sprites[k].box for k in (pair.subject, pair.object))
        seen.append((x1 - IN_VIEW, y1 - IN_VIEW, x2 + IN_VIEW, y2 + IN_VIEW))
    singles = [sprite for k, sprite in enumerate(scene.sprites) if k not in together]
    for sprite in random.shuffled(singles):
        x = sprite.x + random.between(1, sprite.width - BAR - 1)
        inside = [rect for rect in seen if x < rect[2] and rect[0] < x + BAR]
        top = max((y2 for _, y1, _, y2 in inside if y1 < sprite.y), default=0)
        bottom = min((y1 for _, y1, _, y2 in inside if y2 > sprite.box[3]), default=scene.height)
        if top <= sprite.y and sprite.box[3] <= bottom:
            return dataclasses.replace(scene, occluders=((x, max(top, 0), x + BAR, bottom),))
    return scene
