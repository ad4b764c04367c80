"""Scores with one thing changed: parts of the picture covered, or boxes moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vinfer.explain.explanation import WhatIf
from vinfer.explain.pair import Box, PairScorer
from vinfer.types import Event, UInt8Array


def what_if(
    scorer: PairScorer, event: Event, image: UInt8Array, fill: tuple[int, int, int]
) -> tuple[WhatIf, ...]:
    """The changes that tell most: of the picture where the model looks at it, else of the boxes.

    Args:
        scorer: of the event's pair.
        event: with the boxes of its best frame.
        image: that frame, uint8 ``[H, W, 3]`` RGB.
        fill: RGB colour to cover with.
    """
    # Boxes that move over a picture that stays would show other things, not the same ones moved.
    changes = _covered(event, image, fill) if scorer.needs_image else _moved(event)
    rows = [
        WhatIf(change, scorer.score(**({"image": image} | arguments)))
        for change, arguments in changes
    ]
    if not scorer.symmetric:
        reverse = f"{event.object.label} {event.predicate} {event.subject.label}"
        rows.append(WhatIf(f"other direction: {reverse}", scorer.score(image, reverse=True)))
    return tuple(rows)


def _covered(
    event: Event, image: UInt8Array, fill: tuple[int, int, int]
) -> list[tuple[str, dict[str, Any]]]:
    subject, object_ = event.subject.box, event.object.box
    names = _names(event)

    def covered(*boxes: Box) -> dict[str, Any]:
        picture = image.copy()
        for box in boxes:
            _part(picture, box)[...] = fill
        return {"image": picture}

    alone = np.empty_like(image)
    alone[...] = fill
    nothing = alone.copy()
    for box in (subject, object_):
        _part(alone, box)[...] = _part(image, box)
    return [
        (f"{names[0]} covered", covered(subject)),
        (f"{names[1]} covered", covered(object_)),
        ("both covered", covered(subject, object_)),
        ("all but the two covered", {"image": alone}),
        ("whole picture covered", {"image": nothing}),
    ]


def _part(image: UInt8Array, box: Box) -> UInt8Array:
    """The pixels of a box, as a view; none of a box outside the picture."""
    height, width = image.shape[:2]
    x1, x2 = (min(max(0, round(x)), width) for x in box[::2])
    y1, y2 = (min(max(0, round(y)), height) for y in box[1::2])
    return image[y1:y2, x1:x2]


def _moved(event: Event) -> list[tuple[str, dict[str, Any]]]:
    subject, object_ = event.subject.box, event.object.box
    name, other = _names(event)
    width, height = subject[2] - subject[0], subject[3] - subject[1]
    middle_x = (subject[0] + subject[2]) / 2
    middle_y = (subject[1] + subject[3]) / 2

    def around(x: float, y: float, scale: float = 1.0) -> dict[str, Any]:
        across, down = scale * width / 2, scale * height / 2
        return {"subject": (x - across, y - down, x + across, y + down)}

    to_the_right = subject[0] + subject[2] >= object_[0] + object_[2]
    gap = 1.5 * width
    beside = object_[2] + gap if to_the_right else object_[0] - gap
    centre: Callable[[int], float] = lambda side: (object_[side] + object_[side + 2]) / 2  # noqa: E731
    return [
        (f"{name} a width beside {other}", around(beside, middle_y)),
        (f"{name} on top of {other}'s box", around(centre(0), object_[1] - height / 2)),
        (f"{name} below {other}'s box", around(centre(0), object_[3] + height / 2)),
        (f"{name} half as large", around(middle_x, middle_y, 0.5)),
        (f"{name} twice as large", around(middle_x, middle_y, 2.0)),
        ("boxes exchanged", {"subject": object_, "object_": subject}),
    ]


def _names(event: Event) -> tuple[str, str]:
    """The classes, told apart where they are the same."""
    subject, object_ = event.subject.label, event.object.label
    return (subject, object_) if subject != object_ else ("subject", "object")
