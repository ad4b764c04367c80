"""What a detector of sprites has to say at each cell of its grid, and boxes of what it said."""

from __future__ import annotations

import dataclasses

import numpy as np

from vinfer.training.sprites.scene import CLASSES
from vinfer.types import Float32Array, Int64Array

STRIDE = 4
"""Pixels a side of a cell. Centres of two sprites are 4 pixels apart at least, in a crate."""

SPREAD = 0.7
"""Standard deviation of the target around an object's cell, in cells: a cell beside it is not wrong
by much."""

REACH = 1
"""Cells around an object's own, each way, that learn its box, too."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class CellTargets:
    """Targets of one picture.

    Attributes:
        heat: float32 ``[classes, rows, columns]`` in [0, 1]: 1 at the cells that hold the centre of
            an object, less around them.
        distances: float32 ``[4, rows, columns]``: pixels from the cell's centre to the left, top,
            right and bottom of its object's box; 0 where there is none.
        owned: float32 ``[rows, columns]``: 1 at the cells that have an object, else 0.
    """

    heat: Float32Array
    distances: Float32Array
    owned: Float32Array


def cell_targets(labels: Int64Array, boxes: Float32Array, size: tuple[int, int]) -> CellTargets:
    """The targets of a picture.

    A cell near several objects learns the box of the one whose centre is nearest, and the cell that
    holds an object's centre that object's, whichever other is near.

    Args:
        labels: int64 ``[n]``, indices into `CLASSES`.
        boxes: float32 ``[n, 4]``, xyxy in pixels; every centre lies in the picture.
        size: (height, width) of the picture in pixels, multiples of `STRIDE`.
    """
    rows, columns = size[0] // STRIDE, size[1] // STRIDE
    heat = np.zeros((len(CLASSES), rows, columns), np.float32)
    distances = np.zeros((4, rows, columns), np.float32)
    owned = np.zeros((rows, columns), np.float32)
    nearest = np.full((rows, columns), np.inf, np.float32)
    row, column = np.mgrid[:rows, :columns].astype(np.float32)
    for label, box in zip(labels.tolist(), boxes, strict=True):
        x, y = (box[:2] + box[2:]) / 2
        own_row, own_column = int(y // STRIDE), int(x // STRIDE)
        off = (row - own_row) ** 2 + (column - own_column) ** 2
        of_class = heat[label]
        np.maximum(of_class, np.exp(-off / np.float32(2 * SPREAD**2)), out=of_class)
        # No pixel count: -1 is nearer than any other object's centre.
        far = (STRIDE * (column + 0.5) - x) ** 2 + (STRIDE * (row + 0.5) - y) ** 2
        far[own_row, own_column] = -1
        near = (abs(row - own_row) <= REACH) & (abs(column - own_column) <= REACH)
        mine = near & (far < nearest)
        nearest[mine] = far[mine]
        owned[mine] = 1
        sides = np.stack(
            [
                STRIDE * (column + 0.5) - box[0],
                STRIDE * (row + 0.5) - box[1],
                box[2] - STRIDE * (column + 0.5),
                box[3] - STRIDE * (row + 0.5),
            ]
        )
        distances[:, mine] = sides[:, mine]
    return CellTargets(heat, distances, owned)


def cell_centres(size: tuple[int, int]) -> Float32Array:
    """Centres of the cells, row by row.

    Args:
        size: (height, width) of the picture in pixels, multiples of `STRIDE`.

    Returns:
        float32 ``[cells, 2]``, x and y in pixels.
    """
    row, column = np.mgrid[: size[0] // STRIDE, : size[1] // STRIDE]
    centres = STRIDE * (np.stack([column.ravel(), row.ravel()], 1) + 0.5)
    return centres.astype(np.float32)


def boxes_of(distances: Float32Array) -> Float32Array:
    """The boxes that the cells speak of, as the exported graph computes them.

    Args:
        distances: float32 ``[4, rows, columns]``, as `CellTargets` has them.

    Returns:
        float32 ``[cells, 4]``, xyxy in pixels, row by row.
    """
    rows, columns = distances.shape[1:]
    centres = cell_centres((STRIDE * rows, STRIDE * columns))
    sides = distances.reshape(4, -1).T
    return np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], 1)
