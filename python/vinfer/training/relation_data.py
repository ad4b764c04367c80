"""Pictures with objects and relations between them: what every data set is read into."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.errors import TrainingError
from vinfer.types import Float32Array, Int64Array

UInt8Image = npt.NDArray[np.uint8]


def no_triplets() -> Int64Array:
    """int64 ``[0, 3]``."""
    return np.empty((0, 3), np.int64)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RelationPicture:
    """The annotated objects of one picture and the relations between them.

    Attributes:
        name: of the picture, unique in its data set.
        size: (height, width) in pixels; None where the data set does not say.
        labels: int64 ``[n]``, indices into `RelationData.classes`.
        boxes: float32 ``[n, 4]``, xyxy in pixels of the picture, width and height > 0.
        triplets: int64 ``[k, 3]``: subject (an object's index), predicate, object; each once, none
            of an object with itself.
        ignored: int64 ``[q, 3]``, likewise: relations of which nobody is sure. They are neither
            true nor false, so neither samples nor scored; none of them is in ``triplets``.
    """

    name: str
    size: tuple[int, int] | None
    labels: Int64Array
    boxes: Float32Array
    triplets: Int64Array
    ignored: Int64Array = dataclasses.field(default_factory=no_triplets)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RelationData:
    """One split of a data set.

    Attributes:
        classes, predicates: the vocabularies.
        pictures: those with at least one usable object.
        exhaustive: whether a pair without an annotated relation has none. Where this is False, such
            a pair is no negative sample.
        skipped: rows of the source that were left out, or changed (``clipped_box``), by reason.
        read: the pixels of a picture, uint8 ``[H, W, 3]`` RGB; None for a data set without
            pictures. Raises `TrainingError` where the picture is missing or damaged.
    """

    classes: tuple[str, ...]
    predicates: tuple[str, ...]
    pictures: tuple[RelationPicture, ...]
    exhaustive: bool
    skipped: collections.Counter[str]
    read: Callable[[RelationPicture], UInt8Image] | None = None


def check_vocabulary(
    name: str, data: RelationData, classes: Sequence[str], predicates: Sequence[str], whose: str
) -> None:
    """Refuse a split with other names than those that it is to go with, or in another order.

    Args:
        name: of the split, for the error.
        data: the split.
        classes, predicates: expected.
        whose: they are, for the error.

    Raises:
        TrainingError: it has others.
    """
    for what, found, expected in (
        ("classes", data.classes, classes),
        ("predicates", data.predicates, predicates),
    ):
        if tuple(found) != tuple(expected):
            pairs = itertools.zip_longest(found, expected)
            first = next(k for k, (a, b) in enumerate(pairs) if a != b)
            raise TrainingError(
                f"{name}: found {len(found)} {what}, number {first} is "
                f"{[*found[first : first + 1]]}; expected the {len(expected)} of {whose} in the "
                f"same order, number {first} {[*expected[first : first + 1]]}"
            )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """All ordered pairs of different objects of all pictures, picture by picture.

    Attributes:
        image: int64 ``[m]``, index of the picture.
        subject_labels, object_labels: int64 ``[m]``.
        subject_boxes, object_boxes: float32 ``[m, 4]``, xyxy in pixels.
        reverse: int64 ``[m]``, index of the pair with subject and object exchanged.
        annotated: bool ``[m, predicates]``; False says only that nobody wrote it down.
    """

    image: Int64Array
    subject_labels: Int64Array
    object_labels: Int64Array
    subject_boxes: Float32Array
    object_boxes: Float32Array
    reverse: Int64Array
    annotated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.image)

    def select(self, which: npt.NDArray[np.bool_]) -> PairTable:
        """The pairs at a mask, in that order; with a pair its reverse must be chosen, too."""
        numbers = np.cumsum(which) - 1
        chosen = {f.name: getattr(self, f.name)[which] for f in dataclasses.fields(self)}
        return PairTable(**{**chosen, "reverse": numbers[chosen["reverse"]]})


def pair_table(data: RelationData) -> PairTable:
    """Every ordered pair (i, j), i != j, i-major within a picture; self relations are left out."""
    columns: list[list[Any]] = [[] for _ in range(7)]
    total = 0
    for number, picture in enumerate(data.pictures):
        n = len(picture.labels)
        i, j = np.nonzero(~np.eye(n, dtype=bool))
        annotated = np.zeros((n, n, len(data.predicates)), bool)
        annotated[picture.triplets[:, 0], picture.triplets[:, 2], picture.triplets[:, 1]] = True
        for column, values in zip(
            columns,
            (
                np.full(len(i), number, np.int64),
                picture.labels[i],
                picture.labels[j],
                picture.boxes[i],
                picture.boxes[j],
                # Row i of the picture holds its n - 1 pairs in order of j, without i itself.
                total + j * (n - 1) + i - (i > j),
                annotated[i, j],
            ),
            strict=True,
        ):
            column.append(values)
        total += len(i)
    return PairTable(*(np.concatenate(column) for column in columns))
