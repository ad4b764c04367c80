"""Shapes of the classes as integer rasters: which pixels are a sprite's, and which of them dark."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from vinfer.training.sprites.scene import BALL, BOWL, CAR, CRATE, HAT, PERSON, TABLE

Mask = npt.NDArray[np.bool_]

RIM = 5
"""Width of a crate's rim in pixels."""

SLAB, LEG = 6, 5
"""Height of a table's top and width of its legs in pixels."""


@functools.lru_cache(maxsize=4096)
def shape_of(label: int, width: int, height: int) -> tuple[Mask, Mask]:
    """The body of a sprite, and its outline and details.

    A hat and a bowl have one shape: where neither is inverted, only the label tells them apart. A
    car has no front.

    Args:
        label: index into `CLASSES`.
        width, height: in pixels.

    Returns:
        Two read-only bool ``[height, width]``. The first touches all four sides; the second is part
        of it and is drawn dark.
    """
    body = _body(label, width, height)
    dark = body & ~_eroded(body)
    if label == PERSON:
        dark[width // 2 - 1 : width // 2 + 1, [width // 3 - 1, width - width // 3]] = True
        dark[width, 1:-1] = True
    elif label == CAR:
        windows = dark if width >= height else dark.T
        length, breadth = windows.shape[::-1]
        windows[3 : breadth - 3, [4, 5, length - 6, length - 5]] = True
    body.setflags(write=False)
    dark.setflags(write=False)
    return body, dark


def _body(label: int, width: int, height: int) -> Mask:
    # Twice the distance of a pixel's centre from the left and top edge, to stay in integers.
    y, x = 2 * np.arange(height)[:, None] + 1, 2 * np.arange(width)[None, :] + 1
    body = np.ones((height, width), bool)
    if label == BALL:
        body = (x - width) ** 2 + (y - height) ** 2 <= width**2
    elif label == PERSON:
        nearest = np.clip(y, width, 2 * height - width)
        body = (x - width) ** 2 + (y - nearest) ** 2 <= width**2
    elif label in (HAT, BOWL):
        body = (x - width) ** 2 + (y - 2 * height) ** 2 <= width**2
    elif label == CRATE:
        body[RIM:-RIM, RIM:-RIM] = False
    elif label == TABLE:
        body[SLAB:, LEG:-LEG] = False
    elif label == CAR:
        from_corner = np.minimum(x, 2 * width - x) + np.minimum(y, 2 * height - y)
        body = from_corner > 6
    return body


def _eroded(body: Mask) -> Mask:
    around = np.pad(body, 1)
    eroded: Mask = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return eroded
