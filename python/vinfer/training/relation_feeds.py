"""The pictures of a data set as a relation graph takes them at inference."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np

from vinfer.backends.base import Array
from vinfer.errors import TrainingError
from vinfer.training.batch_plan import BatchSettings
from vinfer.training.pair_sampling import picture_pairs
from vinfer.training.picture_tensors import normalised, resized_boxes, resized_size
from vinfer.training.relation_data import RelationData

PICTURES_AT_ONCE = 16


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PictureFeed:
    """Pictures of one size with all ordered pairs of their annotated objects.

    Attributes:
        numbers: the pictures, as indices into `RelationData.pictures`.
        pairs: of each picture; they follow each other in ``arrays["pairs"]``.
        arrays: by input: ``images`` float32 ``[N, 3, H, W]`` normalised, ``boxes`` float32
            ``[n, 4]`` xyxy in pixels of them, ``box_images`` int64 ``[n]``, ``labels`` int64
            ``[n]``, ``pairs`` int64 ``[m, 2]``, indices into ``boxes``.
    """

    numbers: tuple[int, ...]
    pairs: tuple[int, ...]
    arrays: dict[str, Array]


def picture_feeds(
    data: RelationData, settings: BatchSettings, *, at_once: int = PICTURES_AT_ONCE
) -> Iterator[PictureFeed]:
    """Pictures without padding, boxes as annotated; every picture once, in any order.

    Args:
        data: with pictures.
        settings: how pictures are resized and normalised.
        at_once: most pictures of a feed.

    Raises:
        TrainingError: the data has no pictures to read.
    """
    # Pictures of one size are batched; padding would change what lies near their borders.
    sizes: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
    for number, picture in enumerate(data.pictures):
        if picture.size is None or data.read is None:
            raise TrainingError(f"{picture.name}: found no picture to read, expected one to score")
        sizes[picture.size].append(number)
    for numbers in sizes.values():
        for begin in range(0, len(numbers), at_once):
            yield _feed(data, settings, numbers[begin : begin + at_once])


def _feed(data: RelationData, settings: BatchSettings, numbers: list[int]) -> PictureFeed:
    assert data.read is not None
    images, boxes, pairs, counts = [], [], [], []
    offset = 0
    for number in numbers:
        picture = data.pictures[number]
        assert picture.size is not None
        size = resized_size(
            *picture.size, short_side=settings.short_side, long_side=settings.long_side
        )
        images.append(normalised(data.read(picture), size, settings.mean, settings.std))
        boxes.append(resized_boxes(picture.boxes, picture.size, size))
        local = picture_pairs(picture, len(data.predicates), mined=True).pairs
        pairs.append(local + offset)
        counts.append(len(local))
        offset += len(picture.labels)
    of_pictures = [len(data.pictures[number].labels) for number in numbers]
    arrays: dict[str, Array] = {
        "images": np.stack(images),
        "boxes": np.concatenate(boxes),
        "box_images": np.repeat(np.arange(len(numbers)), of_pictures),
        "labels": np.concatenate([data.pictures[number].labels for number in numbers]),
        "pairs": np.concatenate(pairs),
    }
    return PictureFeed(tuple(numbers), tuple(counts), arrays)
