"""Two sprites placed together: a relation, or its twin without one.

A relation and its twin share the layout exactly: it is made before it is decided whether the
relation is true, and keeps clear what either would draw. So boxes and classes say nothing about it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

from vinfer.training.sprites.scene import (
    Arm,
    Burst,
    Direction,
    Mark,
    Rect,
    Rope,
    Sprite,
    Trail,
)

TWINNED = ("inside_of", "holds", "moving_towards", "passing", "linked_to", "hits")
"""Predicates that only pixels decide: their twins have no relation."""

State = Literal["related", "twin", "idle"]


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """Two sprites that stand to each other as a predicate needs.

    Attributes:
        kind: the predicate.
        subject, object: the sprites.
        clear: what nothing else may touch: the boxes and whatever marks there may be.
        heading: of the car of a moving unit.
        reach: the twin's arm.
    """

    kind: str
    subject: Sprite
    object: Sprite
    clear: tuple[Rect, ...]
    heading: Direction = (0, 0)
    reach: Literal["half", "mirrored"] = "half"

    def moved(self, dx: int, dy: int) -> Unit:
        """The same elsewhere."""
        return dataclasses.replace(
            self,
            subject=self.subject.moved(dx, dy),
            object=self.object.moved(dx, dy),
            clear=tuple((x1 + dx, y1 + dy, x2 + dx, y2 + dy) for x1, y1, x2, y2 in self.clear),
        )

    def marks(self, state: State, subject: int, object_: int) -> tuple[Mark, ...]:
        """What is drawn beside the sprites.

        Args:
            state: whether the relation is true; "idle" is a car that stands.
            subject, object_: indices of the sprites in their scene.
        """
        related = state == "related"
        if self.kind == "holds":
            return (Arm(subject, object_, "full" if related else self.reach),)
        if self.kind == "linked_to":
            return (Rope(subject, object_, related),)
        if self.kind == "hits" and related:
            return (Burst(subject, object_),)
        if self.kind == "passing" and related:
            return (Trail(subject, self.heading),)
        if self.kind == "moving_towards" and state != "idle":
            dx, dy = self.heading
            return (Trail(subject, (dx, dy) if related else (-dx, -dy)),)
        return ()

    def is_reversed(self, state: State) -> bool:
        """Whether the object is drawn over the subject: the rim over what is inside."""
        return self.kind == "inside_of" and state == "related"


def bounds(rects: Iterable[Rect]) -> Rect:
    """The smallest rectangle around some."""
    x1, y1, x2, y2 = zip(*rects, strict=True)
    return min(x1), min(y1), max(x2), max(y2)
