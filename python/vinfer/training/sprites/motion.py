"""How a unit moves in a clip, and when its relation is true."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.layouts import TRAIL, bowl_on_head, make_unit
from vinfer.training.sprites.rules import NEAREST_AHEAD, offset2
from vinfer.training.sprites.scene import Rect, Sprite, Texture
from vinfer.training.sprites.units import State, Unit, bounds

DRIFT = 14
"""Most pixels that a unit or a distractor moves along each axis in a shot."""

APPROACH, APPROACH_SPEED = 15, 3
"""Pixels from which a subject comes, and pixels a frame: contact is over within one frame."""

PASSING_SPAN = 24
"""Pixels that a car drives before and after it is beside something."""


@dataclasses.dataclass(frozen=True, slots=True)
class Course:
    """A unit in every frame of a shot.

    Attributes:
        units: where it is.
        states: what is drawn.
    """

    units: tuple[Unit, ...]
    states: tuple[State, ...]

    @property
    def clear(self) -> list[Rect]:
        """What nothing else may touch in any frame."""
        return [bounds(rects) for rects in zip(*(unit.clear for unit in self.units), strict=True)]

    def moved(self, dx: int, dy: int) -> Course:
        """The same elsewhere."""
        return Course(tuple(unit.moved(dx, dy) for unit in self.units), self.states)


def make_course(
    random: KeyedRandom, kind: str, textures: Sequence[Texture], num_frames: int
) -> Course:
    """A unit that becomes related and ceases to be, once.

    Args:
        random: decides layout and times.
        kind: one of `PREDICATES`, or "bowl" for a bowl on a head.
        textures: of subject and object.
        num_frames: of the shot.
    """
    is_bowl = kind == "bowl"
    unit = bowl_on_head(random, textures) if is_bowl else make_unit(random, kind, textures)
    first = random.between(num_frames // 6, num_frames // 3)
    end = random.between(num_frames // 2, 5 * num_frames // 6)
    if kind == "moving_towards":
        return _towards_and_away(random, unit, first, end, num_frames)
    if kind == "passing":
        return _past(random, unit, num_frames)
    states: list[State] = ["related" if first <= t < end else "twin" for t in range(num_frames)]
    units = [unit] * num_frames
    if kind in ("on", "wears", "bowl", "under"):
        away = 1 if kind == "under" else -1
        units = [
            _subject_moved(unit, 0, away * _distance(t, first, end)) for t in range(num_frames)
        ]
    elif kind == "hits":
        # It touches for some frames before and after the burst.
        touching = first - random.between(0, 4), end + random.between(0, 4)
        away = 1 if unit.subject.x > unit.object.x else -1
        units = [_subject_moved(unit, away * _distance(t, *touching), 0) for t in range(num_frames)]
    drift = drifting(random, num_frames)
    return Course(
        tuple(unit.moved(*step) for unit, step in zip(units, drift, strict=True)), tuple(states)
    )


def drifting(random: KeyedRandom, num_frames: int) -> list[tuple[int, int]]:
    """A linear motion: pixels from the first frame, for each frame."""
    dx, dy = random.between(-DRIFT, DRIFT), random.between(-DRIFT, DRIFT)
    last = max(1, num_frames - 1)
    return [(dx * t // last, dy * t // last) for t in range(num_frames)]


def swept(sprite: Sprite, drift: Sequence[tuple[int, int]]) -> Rect:
    """The rectangle around a sprite in all frames."""
    return bounds(sprite.moved(*step).box for step in drift)


def _distance(frame: int, first: int, end: int) -> int:
    """Pixels to the place of contact, 0 from frame ``first`` up to and without ``end``."""
    frames_off = max(first - frame, frame - end + 1, 0)
    return min(APPROACH, APPROACH_SPEED * frames_off)


def _subject_moved(unit: Unit, dx: int, dy: int) -> Unit:
    subject = unit.subject.moved(dx, dy)
    return dataclasses.replace(unit, subject=subject, clear=(subject.box, *unit.clear[1:]))


def _car_moved(unit: Unit, pixels: int) -> Unit:
    """The car so many pixels farther along its heading, with room for its trails."""
    dx, dy = (pixels * way for way in unit.heading)
    x1, y1, x2, y2 = unit.clear[-1]
    moved = _subject_moved(unit, dx, dy)
    return dataclasses.replace(
        moved, clear=(*moved.clear[:-1], (x1 + dx, y1 + dy, x2 + dx, y2 + dy))
    )


def _towards_and_away(
    random: KeyedRandom, unit: Unit, first: int, end: int, num_frames: int
) -> Course:
    """The car stands, drives towards the goal at a pixel a frame, back again, and stands."""
    ahead, _ = offset2(unit.subject, unit.heading, unit.object)
    along_x = unit.heading[0] != 0
    car, goal = ((s.width if along_x else s.height) for s in (unit.subject, unit.object))
    nearest = max(NEAREST_AHEAD, (car + goal) // 2 + 2)
    turn = min(end, first + ahead // 2 - nearest)
    back = min(num_frames, turn + random.between(4, TRAIL))
    units, states = [], []
    for t in range(num_frames):
        towards = min(max(0, t - first + 1), turn - first)
        units.append(_car_moved(unit, towards - min(max(0, t - turn + 1), back - turn)))
        states.append(_car_state(t, first, turn, back))
    return Course(tuple(units), tuple(states))


def _car_state(frame: int, first: int, turn: int, back: int) -> State:
    if frame < first or frame >= back:
        return "idle"
    return "related" if frame < turn else "twin"


def _past(random: KeyedRandom, unit: Unit, num_frames: int) -> Course:
    """The car stands, drives past the other at two pixels a frame, and stands."""
    start = random.between(0, max(0, num_frames - PASSING_SPAN - 2))
    units: list[Unit] = []
    states: list[State] = []
    for t in range(num_frames):
        driven = min(max(0, 2 * (t - start + 1)), 2 * PASSING_SPAN)
        units.append(_car_moved(unit, driven - PASSING_SPAN))
        states.append("related" if start <= t < start + PASSING_SPAN else "idle")
    return Course(tuple(units), tuple(states))
