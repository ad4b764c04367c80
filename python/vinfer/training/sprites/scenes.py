"""Composing a scene: which units, in which state, and where."""

from __future__ import annotations

from vinfer.errors import TrainingError
from vinfer.training.sprites.appearance import draw_sprite_of, draw_textures
from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.layouts import bowl_on_head, make_unit
from vinfer.training.sprites.placing import concerns, room_for
from vinfer.training.sprites.scene import (
    CLASSES,
    PREDICATES,
    Mark,
    Pair,
    Rect,
    Scene,
    Sprite,
    Texture,
)
from vinfer.training.sprites.units import TWINNED, State, Unit, bounds

SCENE = 1
"""What its stream of random numbers is for, as part of its key."""

COMPOSITIONS: tuple[tuple[str, ...], ...] = (
    *(("twinned", "twin"),) * 4,
    *(("free", "twin"),) * 3,
    *(("twinned", "free"),) * 3,
    *(("twinned", "free", "twin"),) * 2,
    ("free",),
)
"""Units of a picture, equally likely. In all as many twins as true relations that have a twin."""

FEWEST, MOST = 4, 7
"""Objects of a picture."""

UNDER_EVERY = 500
"""One picture in so many has an `under`."""

TRIES, PROPOSALS = 60, 80


def make_scene(seed: int, number: int, *, height: int = 128, width: int = 128) -> Scene:
    """The scene of one picture, whatever was made before it.

    Args:
        seed: of the data set.
        number: of the picture.
        height, width: in pixels, 128 or more.

    Raises:
        TrainingError: no room was found.
    """
    random = KeyedRandom(SCENE, seed, number)
    roles = random.choice(COMPOSITIONS)
    if number % UNDER_EVERY == KeyedRandom(SCENE, seed, -1, number // UNDER_EVERY).below(
        UNDER_EVERY
    ):
        roles = random.choice((("under", "twin"), ("twinned", "under")))
    kinds = [random.choice(TWINNED) if role in ("twinned", "twin") else role for role in roles]
    states: list[State] = ["twin" if role == "twin" else "related" for role in roles]
    count = random.between(max(FEWEST, 2 * len(roles)), MOST)
    for attempt in range(TRIES):
        scene = _attempt(
            KeyedRandom(SCENE, seed, number, attempt), kinds, states, count, height, width
        )
        if scene is not None:
            return scene
    raise TrainingError(
        f"picture {number} of seed {seed}: no room for {', '.join(kinds)} among {count} objects in "
        f"{width}x{height} pixels; give a larger size or another seed"
    )


def _attempt(
    random: KeyedRandom,
    kinds: list[str],
    states: list[State],
    count: int,
    height: int,
    width: int,
) -> Scene | None:
    textures = draw_textures(random, count)
    units: list[Unit] = []
    taken: list[Rect] = []
    for number, kind in enumerate(kinds):
        unit = _proposed(random, kind, textures[2 * number : 2 * number + 2])
        for _ in range(PROPOSALS):
            place = room_for(random, unit.clear, taken, height, width)
            if place is None:
                continue
            moved = unit.moved(*place)
            if not any(
                concerns(one, sprite)
                for one, other in [(moved, u) for u in units] + [(u, moved) for u in units]
                for sprite in (other.subject, other.object)
            ):
                units.append(moved)
                taken += moved.clear
                break
        else:
            return None
    singles: list[Sprite] = []
    for texture in textures[2 * len(units) :]:
        sprite = draw_sprite_of(random, random.below(len(CLASSES)), texture)
        for _ in range(PROPOSALS):
            place = room_for(random, [sprite.box], taken, height, width)
            if place is not None and not any(concerns(u, sprite.moved(*place)) for u in units):
                singles.append(sprite.moved(*place))
                taken.append(singles[-1].box)
                break
        else:
            return None
    order = random.shuffled(range(count))
    return assemble(units, states, singles, order, height, width)


def _proposed(random: KeyedRandom, kind: str, textures: list[Texture]) -> Unit:
    if kind == "free":
        # A hat and a bowl are as often on a head.
        kind = random.choice(("on", "on", "on", "wears", "bowl"))
    if kind == "bowl":
        return bowl_on_head(random, textures)
    return make_unit(random, kind, textures)


def assemble(
    units: list[Unit],
    states: list[State],
    singles: list[Sprite],
    places: list[int],
    height: int,
    width: int,
) -> Scene:
    """A scene of units in given states, and of single sprites.

    Args:
        units, states: as many.
        singles: distractors.
        places: the index of each sprite in the scene: the units' subject and object in turn, then
            the singles.
        height, width: in pixels.
    """
    sprites = [sprite for unit in units for sprite in (unit.subject, unit.object)] + singles
    placed = [sprites[places.index(k)] for k in range(len(sprites))]
    marks: list[Mark] = []
    order: list[int] = []
    pairs: list[Pair] = []
    for number, (unit, state) in enumerate(zip(units, states, strict=True)):
        i, j = places[2 * number], places[2 * number + 1]
        marks += unit.marks(state, i, j)
        order += (i, j) if unit.is_reversed(state) else (j, i)
        pairs.append(Pair(unit.kind, i, j, state == "related"))
    order += places[2 * len(units) :]
    return Scene(height, width, tuple(placed), tuple(marks), tuple(order), tuple(pairs))


def example_scene(seed: int, kind: str, *, related: bool, size: int = 128) -> Scene:
    """One unit alone in the middle: the same layout and colours with the relation and without.

    Args:
        seed: of layout and colours.
        kind: one of `PREDICATES`.
        related: False for the twin; for "wears" that is a bowl in the hat's place, and `on` and
            `under` have none.
        size: of the square picture in pixels.
    """
    if kind not in PREDICATES:
        raise TrainingError(f"kind: found {kind!r}, expected one of {', '.join(PREDICATES)}")
    random = KeyedRandom(SCENE, seed)
    textures = draw_textures(random, 2)
    is_bowl = kind == "wears" and not related
    unit = bowl_on_head(random, textures) if is_bowl else make_unit(random, kind, textures)
    x1, y1, x2, y2 = bounds(unit.clear)
    unit = unit.moved((size - x1 - x2) // 2, (size - y1 - y2) // 2)
    state: State = "related" if related or is_bowl else "twin"
    return assemble([unit], [state], [], [0, 1], size, size)
