"""How two sprites lie to each other, for each predicate. All lengths in pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from vinfer.training.sprites.anchors import arm_line, contact
from vinfer.training.sprites.appearance import draw_sprite_of
from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.raster import GHOST_ALPHAS, GHOST_STEP, SPOKE_TO
from vinfer.training.sprites.scene import (
    BALL,
    BLOCK,
    BOWL,
    CAR,
    CLASSES,
    CRATE,
    HAT,
    PERSON,
    TABLE,
    Direction,
    Rect,
    Sprite,
    Texture,
)
from vinfer.training.sprites.units import Unit

SMALL = (BALL, HAT, BOWL, BLOCK)
DIRECTIONS: tuple[Direction, ...] = ((1, 0), (-1, 0), (0, 1), (0, -1))
TRAIL = GHOST_STEP * len(GHOST_ALPHAS)


def make_unit(random: KeyedRandom, kind: str, textures: Sequence[Texture]) -> Unit:
    """A layout for a predicate, somewhere.

    Args:
        random: decides classes, sizes and distances.
        kind: one of `PREDICATES`; "wears" is for a hat on a head, "on" for the rest.
        textures: of subject and object.
    """
    return _MAKERS[kind](random, textures)


def bowl_on_head(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    """The twin of "wears": the same sprites in the same place, and only a label differs."""
    worn = _wears(random, textures)
    bowl = dataclasses.replace(worn.object, label=BOWL)
    return _unit("on", bowl, worn.subject)


def _unit(kind: str, subject: Sprite, object_: Sprite, *marks: Rect) -> Unit:
    return Unit(kind, subject, object_, (subject.box, object_.box, *marks))


def _at(sprite: Sprite, x: int, y: int) -> Sprite:
    return dataclasses.replace(sprite, x=x, y=y)


def _over(random: KeyedRandom, upper: Sprite, lower: Sprite, y: int) -> Sprite:
    """The upper sprite with its bottom at ``y`` or a pixel off, its centre above the lower one."""
    half = upper.width // 2
    x = random.between(lower.x - half + 3, lower.box[2] - upper.width + half - 3)
    return _at(upper, x, y - upper.height + random.between(-1, 1))


def _on(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    upper = draw_sprite_of(random, random.choice((*SMALL, PERSON)), textures[0])
    lower = draw_sprite_of(random, random.choice((TABLE, CRATE, BLOCK, CAR)), textures[1])
    return _unit("on", _over(random, upper, lower, 0), lower)


def _wears(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    person = draw_sprite_of(random, PERSON, textures[0])
    hat = draw_sprite_of(random, HAT, textures[1])
    x = (person.width - hat.width) // 2 + random.between(-2, 2)
    return _unit("wears", person, _at(hat, x, random.between(-1, 1) - hat.height))


def _under(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    lower = draw_sprite_of(random, random.choice(SMALL), textures[0])
    upper = draw_sprite_of(random, random.choice((TABLE, CRATE)), textures[1])
    # The upper one's middle lies beside the lower one, so that it does not stand on it.
    outermost = (upper.width - lower.width) // 2
    aside = random.between(lower.width // 2 + 2, outermost + lower.width // 2 - 2)
    x = (upper.width - lower.width) // 2 + random.sign() * aside
    return _unit("under", _at(lower, x, upper.height + random.between(-1, 1)), upper)


def _inside_of(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    item = draw_sprite_of(random, random.choice(SMALL), textures[0])
    crate = draw_sprite_of(random, CRATE, textures[1])
    x = random.between(0, crate.width - item.width)
    y = crate.height - item.height - random.between(0, 1)
    return _unit("inside_of", _at(item, x, y), crate)


def _holds(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    person = draw_sprite_of(random, PERSON, textures[0])
    item = draw_sprite_of(random, random.choice(SMALL), textures[1])
    gap, rise = random.between(13, 22), random.between(-16, 12)
    height = person.width + 3 + rise - item.height // 2
    right = random.chance(1, 2)
    item = _at(item, person.width + gap if right else -gap - item.width, height)
    reach: Literal["half", "mirrored"] = "half" if random.chance(1, 2) else "mirrored"
    arms = [_around(*arm_line(person, item, which)) for which in ("full", "mirrored")]
    return dataclasses.replace(_unit("holds", person, item, *arms), reach=reach)


def _around(start: tuple[int, int], end: tuple[int, int], margin: int = 3) -> Rect:
    """The rectangle around a line whose ends are given as twice their coordinates."""
    x1, x2 = sorted((start[0] // 2, end[0] // 2))
    y1, y2 = sorted((start[1] // 2, end[1] // 2))
    return x1 - margin, y1 - margin, x2 + margin, y2 + margin


def _linked_to(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    first, second = (draw_sprite_of(random, random.below(len(CLASSES)), t) for t in textures)
    gap, aside = random.between(16, 34), random.between(-14, 14)
    if random.chance(1, 2):
        y = (first.height - second.height) // 2 + aside
        second = _at(second, first.width + gap, y)
    else:
        x = (first.width - second.width) // 2 + aside
        second = _at(second, x, first.height + gap)
    if random.chance(1, 2):
        first, second = second, first
    between = _around(first.centre2, second.centre2)
    return _unit("linked_to", first, second, between)


def _hits(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    ball = draw_sprite_of(random, BALL, textures[0])
    target = draw_sprite_of(random, random.choice((PERSON, CRATE, CAR, BLOCK)), textures[1])
    # A person's sides are straight between the two round ends.
    inset = target.width // 2 if target.label == PERSON else 5
    height = random.between(inset, target.height - inset) - ball.height // 2
    right = random.chance(1, 2)
    ball = _at(ball, target.width if right else -ball.width, height)
    x, y = (value // 2 for value in contact(ball, target))
    reach = SPOKE_TO + 1
    return _unit("hits", ball, target, (x - reach, y - reach, x + reach, y + reach))


def _car(random: KeyedRandom, texture: Texture) -> tuple[Sprite, Direction]:
    """A car, and one of the two ways along its length."""
    car = draw_sprite_of(random, CAR, texture)
    heading = random.choice(DIRECTIONS[:2] if car.width > car.height else DIRECTIONS[2:])
    return car, heading


def _with_trails(unit: Unit, heading: Direction) -> Unit:
    """Trails to both sides are kept clear, whichever will be drawn."""
    x1, y1, x2, y2 = unit.subject.box
    dx, dy = abs(heading[0]) * (TRAIL + 2), abs(heading[1]) * (TRAIL + 2)
    trails = (x1 - dx, y1 - dy, x2 + dx, y2 + dy)
    return dataclasses.replace(unit, clear=(*unit.clear, trails), heading=heading)


def _beside(car: Sprite, heading: Direction, other: Sprite, ahead: int, beside: int) -> Sprite:
    """The other sprite so many pixels ahead of the car and beside it, from centre to centre."""
    x = car.centre2[0] // 2 + ahead * heading[0] - beside * heading[1]
    y = car.centre2[1] // 2 + ahead * heading[1] + beside * heading[0]
    return _at(other, x - other.width // 2, y - other.height // 2)


def _extent(sprite: Sprite, along: Direction) -> int:
    return sprite.width if along[0] else sprite.height


def _moving_towards(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    car, heading = _car(random, textures[0])
    goal = draw_sprite_of(random, random.choice((PERSON, *SMALL)), textures[1])
    # No trail reaches the goal, so that it shows whichever way the car goes.
    nearest = TRAIL + 3 + (_extent(car, heading) + _extent(goal, heading)) // 2
    ahead = random.between(min(nearest, 54), 56)
    aside = ahead * 300 // 1000
    beside = random.between(-aside, aside)
    goal = _beside(car, heading, goal, ahead, beside)
    return _with_trails(_unit("moving_towards", car, goal), heading)


def _passing(random: KeyedRandom, textures: Sequence[Texture]) -> Unit:
    car, heading = _car(random, textures[0])
    passed = draw_sprite_of(random, random.choice((PERSON, *SMALL)), textures[1])
    across = (heading[1], heading[0])
    nearest = 4 + (_extent(car, across) + _extent(passed, across)) // 2
    beside = random.between(nearest, 33)
    # Within 20 degrees also after centres are rounded by a pixel each way.
    aside = (beside - 1) * 364 // 1000 - 1
    ahead = random.between(-aside, aside)
    passed = _beside(car, heading, passed, ahead, random.sign() * beside)
    return _with_trails(_unit("passing", car, passed), heading)


_MAKERS = {
    "on": _on,
    "inside_of": _inside_of,
    "holds": _holds,
    "moving_towards": _moving_towards,
    "passing": _passing,
    "linked_to": _linked_to,
    "hits": _hits,
    "wears": _wears,
    "under": _under,
}
