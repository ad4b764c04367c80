"""What a picture shows, before a pixel of it is drawn: sprites, marks, and the units they form."""

from __future__ import annotations

import dataclasses
from typing import Literal

CLASSES = ("person", "ball", "crate", "table", "hat", "bowl", "car", "block")
PREDICATES = (
    "on",
    "inside_of",
    "holds",
    "moving_towards",
    "passing",
    "linked_to",
    "hits",
    "wears",
    "under",
)
SYMMETRIC = ("linked_to",)
"""Predicates that hold both ways."""

PERSON, BALL, CRATE, TABLE, HAT, BOWL, CAR, BLOCK = range(len(CLASSES))

Colour = tuple[int, int, int]
"""RGB, each in [0, 255]."""

Rect = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels; the pixel column x2 and the row y2 are outside."""

Direction = tuple[int, int]
"""(dx, dy): (1, 0), (-1, 0), (0, 1) or (0, -1); y points down."""


@dataclasses.dataclass(frozen=True, slots=True)
class Texture:
    """Stripes of two tones: the second where ``(a*x + b*y) // period`` is odd.

    Attributes:
        first, second: the tones.
        period: width of a stripe in pixels, 1 or more.
        slope: (a, b); (0, 1) gives horizontal stripes.
    """

    first: Colour
    second: Colour
    period: int
    slope: tuple[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Sprite:
    """One object. Its box is tight on its shape.

    Attributes:
        label: index into `CLASSES`.
        x, y: left column and top row in pixels.
        width, height: in pixels.
        texture: its colours, whatever its class.
        inverted: drawn upside down.
    """

    label: int
    x: int
    y: int
    width: int
    height: int
    texture: Texture
    inverted: bool = False

    @property
    def box(self) -> Rect:
        """Its pixels are in it and touch all four sides."""
        return self.x, self.y, self.x + self.width, self.y + self.height

    @property
    def centre2(self) -> tuple[int, int]:
        """Twice the coordinates of its centre: integers also where the centre is at a half."""
        return 2 * self.x + self.width, 2 * self.y + self.height

    def moved(self, dx: int, dy: int) -> Sprite:
        """The same elsewhere."""
        return dataclasses.replace(self, x=self.x + dx, y=self.y + dy)


@dataclasses.dataclass(frozen=True, slots=True)
class Arm:
    """A person's arm: to the item, half the way to it, or as long to the other side."""

    person: int
    item: int
    reach: Literal["full", "half", "mirrored"]


@dataclasses.dataclass(frozen=True, slots=True)
class Rope:
    """A rope between two sprites; the middle 40 % of a broken one is missing."""

    first: int
    second: int
    whole: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Burst:
    """Eight spokes where a ball touches something."""

    ball: int
    target: int


@dataclasses.dataclass(frozen=True, slots=True)
class Trail:
    """Ghosts of a car, behind the way that it is heading."""

    car: int
    heading: Direction


Mark = Arm | Rope | Burst | Trail
"""What is drawn beside the sprites; numbers are indices into `Scene.sprites`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Two sprites that were placed together: a relation, or its twin without one.

    Attributes:
        kind: the predicate that the layout was made for.
        subject, object: indices into `Scene.sprites`.
        related: False for a twin.
    """

    kind: str
    subject: int
    object: int
    related: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """One picture or one frame.

    Attributes:
        height, width: in pixels.
        sprites: the objects; their order says nothing.
        marks: drawn below the sprites, bursts above them.
        order: the indices of the sprites, from the back to the front.
        pairs: what was placed together; the other sprites are distractors.
        occluders: bars in front of everything, which are no objects.
    """

    height: int
    width: int
    sprites: tuple[Sprite, ...]
    marks: tuple[Mark, ...] = ()
    order: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()
    occluders: tuple[Rect, ...] = ()


def with_inverted_bowls(scene: Scene) -> Scene:
    """The scene with its bowls upside down, so that they do not look like hats."""
    sprites = tuple(
        dataclasses.replace(sprite, inverted=True) if sprite.label == BOWL else sprite
        for sprite in scene.sprites
    )
    return dataclasses.replace(scene, sprites=sprites)
