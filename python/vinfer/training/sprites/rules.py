"""When a relation is true: one rule a predicate, applied to every ordered pair of a scene."""

from __future__ import annotations

from vinfer.training.sprites.scene import (
    BALL,
    CAR,
    CRATE,
    HAT,
    PERSON,
    PREDICATES,
    Arm,
    Burst,
    Direction,
    Rope,
    Scene,
    Sprite,
    Trail,
)

CONTACT = 1
"""Pixels between two edges that still touch."""

TANGENT_20 = 364
"""1000 tan 20 degrees: angles are compared in integers."""

NEAREST_AHEAD, FARTHEST_AHEAD, FARTHEST_BESIDE = 20, 60, 36
"""Pixels between two centres."""

Triplet = tuple[int, int, int]


def relations_of(scene: Scene) -> list[Triplet]:
    """Every true relation of a scene.

    Returns:
        ``(subject, predicate, object)``, indices into the sprites and `PREDICATES`, ascending.
    """
    found = []
    for i in range(len(scene.sprites)):
        for j in range(len(scene.sprites)):
            if i != j:
                found += [(i, PREDICATES.index(name), j) for name in _between(scene, i, j)]
    return sorted(found)


def _between(scene: Scene, i: int, j: int) -> list[str]:
    subject, object_ = scene.sprites[i], scene.sprites[j]
    names = []
    if stands_on(subject, object_) and not is_worn(subject, object_):
        names.append("on")
    if is_worn(object_, subject):
        names.append("wears")
    if hangs_under(subject, object_):
        names.append("under")
    if (
        object_.label == CRATE
        and contains(object_, subject)
        and scene.order.index(i) < scene.order.index(j)
    ):
        names.append("inside_of")
    for mark in scene.marks:
        match mark:
            case Arm(person=person, item=item, reach="full") if (person, item) == (i, j):
                names.append("holds")
            case Rope(first=first, second=second, whole=True) if {first, second} == {i, j}:
                names.append("linked_to")
            case Burst(ball=ball, target=target) if (ball, target) == (i, j):
                if subject.label == BALL and touches_beside(subject, object_):
                    names.append("hits")
            case Trail(car=car, heading=heading) if car == i and subject.label == CAR:
                if is_ahead(subject, heading, object_):
                    names.append("moving_towards")
                if is_beside(subject, heading, object_):
                    names.append("passing")
    return names


def stands_on(subject: Sprite, object_: Sprite) -> bool:
    """The subject's bottom is at the object's top, its centre above the object."""
    return abs(subject.box[3] - object_.y) <= CONTACT and _is_centred(subject, object_)


def is_worn(hat: Sprite, person: Sprite) -> bool:
    """A hat that stands on a person is worn; it does not count as `on`."""
    return hat.label == HAT and person.label == PERSON and stands_on(hat, person)


def hangs_under(subject: Sprite, object_: Sprite) -> bool:
    """The subject's top is at the object's bottom, and the object does not stand on it."""
    return (
        abs(subject.y - object_.box[3]) <= CONTACT
        and _is_centred(subject, object_)
        and not _is_centred(object_, subject)
    )


def _is_centred(subject: Sprite, object_: Sprite) -> bool:
    x1, _, x2, _ = object_.box
    return 2 * x1 <= subject.centre2[0] <= 2 * x2


def contains(crate: Sprite, subject: Sprite) -> bool:
    """The subject's box lies within the crate's."""
    x1, y1, x2, y2 = crate.box
    a1, b1, a2, b2 = subject.box
    return x1 <= a1 and y1 <= b1 and a2 <= x2 and b2 <= y2


def touches_beside(ball: Sprite, target: Sprite) -> bool:
    """The ball's left or right side meets the target's, at the height of the ball's centre."""
    sides = ball.box[2] - target.x, target.box[2] - ball.x
    return (
        min(abs(gap) for gap in sides) <= CONTACT
        and 2 * target.y <= ball.centre2[1] <= 2 * target.box[3]
    )


def offset2(car: Sprite, heading: Direction, object_: Sprite) -> tuple[int, int]:
    """Twice the pixels from centre to centre: along the heading, and beside it (0 or more)."""
    dx, dy = (b - a for a, b in zip(car.centre2, object_.centre2, strict=True))
    return dx * heading[0] + dy * heading[1], abs(dx * heading[1] + dy * heading[0])


def is_ahead(car: Sprite, heading: Direction, object_: Sprite) -> bool:
    """Within 20 degrees of the heading, 20 to 60 pixels away."""
    ahead, beside = offset2(car, heading, object_)
    squared = ahead**2 + beside**2
    return (
        ahead > 0
        and 1000 * beside <= TANGENT_20 * ahead
        and (2 * NEAREST_AHEAD) ** 2 <= squared <= (2 * FARTHEST_AHEAD) ** 2
    )


def is_beside(car: Sprite, heading: Direction, object_: Sprite) -> bool:
    """Within 20 degrees of a right angle to the heading, up to 36 pixels away."""
    ahead, beside = offset2(car, heading, object_)
    return (
        1000 * abs(ahead) <= TANGENT_20 * beside
        and ahead**2 + beside**2 <= (2 * FARTHEST_BESIDE) ** 2
    )
