"""Small made-up relation data for the tests of batches."""

import collections
from collections.abc import Callable

import numpy as np

from vinfer.training.batch_plan import BatchSettings, image_id
from vinfer.training.relation_data import RelationData, RelationPicture, UInt8Image


def pixels(picture: RelationPicture) -> UInt8Image:
    assert picture.size is not None
    generator = np.random.default_rng(image_id(picture.name) % 2**32)
    return generator.integers(0, 256, (*picture.size, 3), np.uint8)


def picture_of(
    name: str,
    size: tuple[int, int] = (24, 32),
    num_objects: int = 4,
    triplets: tuple[tuple[int, int, int], ...] = ((0, 0, 1),),
    ignored: tuple[tuple[int, int, int], ...] = (),
) -> RelationPicture:
    generator = np.random.default_rng(image_id(name) % 2**32)
    height, width = size
    corner = generator.uniform(0, 0.5, (num_objects, 2)) * (width, height)
    boxes = np.concatenate([corner, corner + np.array([width, height]) * 0.4], 1)
    return RelationPicture(
        name=name,
        size=size,
        labels=generator.integers(0, 3, num_objects),
        boxes=boxes.astype(np.float32),
        triplets=np.array(triplets, np.int64).reshape(-1, 3),
        ignored=np.array(ignored, np.int64).reshape(-1, 3),
    )


def data_of(
    *pictures: RelationPicture,
    exhaustive: bool = True,
    read: Callable[[RelationPicture], UInt8Image] | None = pixels,
) -> RelationData:
    return RelationData(
        ("a", "b", "c"), ("on", "holds"), pictures, exhaustive, collections.Counter(), read
    )


SMALL = BatchSettings(num_pictures=3, max_pairs=16, short_side=24, long_side=48)


def a_dataset(count: int = 20) -> RelationData:
    return data_of(
        *(
            picture_of(
                f"{k}.png",
                size=(24, 32) if k % 3 else (40, 20),
                num_objects=3 + k % 4,
                triplets=((0, k % 2, 1), (1, 0, 0)) if k % 4 else (),
            )
            for k in range(count)
        )
    )
