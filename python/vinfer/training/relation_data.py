"""Pictures with objects and relations between them: what every data set is read into."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vinfer.types import Float32Array, Int64Array

UInt8Image = npt.NDArray[np.uint8]


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
    """

    name: str
    size: tuple[int, int] | None
    labels: Int64Array
    boxes: Float32Array
    triplets: Int64Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RelationData:
    """One split of a data set.

    Attributes:
        classes, predicates: the vocabularies.
        pictures: those with at least one usable object.
        exhaustive: whether a pair without an annotated relation has none. Where this is False, such
            a pair is no negative sample.
        skipped: rows of the source that were left out, by reason.
        read: the pixels of a picture, uint8 ``[H, W, 3]`` RGB; None for a data set without
            pictures. Raises `TrainingError` where the picture is missing or damaged.
    """

    classes: tuple[str, ...]
    predicates: tuple[str, ...]
    pictures: tuple[RelationPicture, ...]
    exhaustive: bool
    skipped: collections.Counter[str]
    read: Callable[[RelationPicture], UInt8Image] | None = None
