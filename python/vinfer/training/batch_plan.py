"""Which pictures stand together in a mini-batch: settings and the plan of an epoch."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Literal

from vinfer.errors import TrainingError
from vinfer.training.key64 import key64
from vinfer.training.picture_tensors import IMAGENET_MEAN, IMAGENET_STD
from vinfer.training.relation_data import RelationData, RelationPicture

# What a key is for, so that no two kinds of draws are the same number; the draw of pairs ends with
# no such number.
_BIN, _PLACE, _MIRROR = 1, 2, 3

Sampling = Literal["mined", "gt"]


@dataclasses.dataclass(frozen=True, slots=True)
class BatchSettings:
    """How batches are made.

    Attributes:
        seed: of every draw; 0 or more.
        num_pictures: a batch.
        max_pairs: a batch, >= 2.
        least_positive_percent: of a batch's pairs, 1 to 50. Where fewer are related, negatives are
            left out until so many are.
        sampling: "mined" takes pairs without an annotated relation as negatives, "gt" only
            annotated relations.
        force_mining: mine also where the annotations are not exhaustive, though a pair without one
            may be related there.
        hard_negatives: draw this many times the negatives, for `keep_hardest` to choose from; 1
            draws those that are trained on.
        mirror: exchange left and right of half of the pictures, others in each epoch. Not for
            predicates that name a side.
        balanced: draw rare predicates as often as frequent ones where there are more positives than
            fit.
        short_side, long_side: a picture is resized until its short side has this many pixels or its
            long side would have more than that many.
        mean, std: a channel (RGB) on 0..1, subtracted and divided by.
    """

    seed: int = 0
    num_pictures: int = 40
    max_pairs: int = 400
    least_positive_percent: int = 25
    sampling: Sampling = "mined"
    force_mining: bool = False
    hard_negatives: int = 1
    mirror: bool = False
    balanced: bool = False
    short_side: int = 480
    long_side: int = 960
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name, least in (
            ("seed", 0),
            ("num_pictures", 1),
            ("max_pairs", 2),
            ("least_positive_percent", 1),
            ("hard_negatives", 1),
            ("short_side", 1),
            ("long_side", self.short_side),
        ):
            if getattr(self, name) < least:
                raise TrainingError(
                    f"{name}: found {getattr(self, name)}, expected at least {least}"
                )
        if self.least_positive_percent > 50:
            raise TrainingError(
                f"least_positive_percent: found {self.least_positive_percent}, expected at most 50"
            )
        if self.sampling not in ("mined", "gt"):
            raise TrainingError(f'sampling: found {self.sampling!r}, expected "mined" or "gt"')


@dataclasses.dataclass(frozen=True, slots=True)
class BatchPlan:
    """What is in one batch, before a picture is read.

    Attributes:
        epoch: from 0.
        number: of the batch in its epoch; those that are dropped have one, too.
        pictures: indices into `RelationData.pictures`.
    """

    epoch: int
    number: int
    pictures: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class EpochPlan:
    """The batches of an epoch.

    Attributes:
        batches: in order.
        skipped: ``batch_without_positives``, and ``picture_without_pairs`` for those that have no
            sample to give.
    """

    batches: tuple[BatchPlan, ...]
    skipped: collections.Counter[str]


def image_id(name: str) -> int:
    """The number by which a picture is drawn: of its name only, in [0, 2**64)."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def is_mined(data: RelationData, settings: BatchSettings) -> bool:
    """Whether pairs without an annotation are negatives.

    The settings ask for it, and the annotations are exhaustive or it is forced.
    """
    return settings.sampling == "mined" and (data.exhaustive or settings.force_mining)


def plan_epoch(data: RelationData, settings: BatchSettings, epoch: int) -> EpochPlan:
    """What is in the batches of an epoch.

    Pictures are divided into wide and tall ones, each bin is put into an order of its own. A batch
    takes the next pictures of one bin, which is drawn with probability proportional to the pictures
    it has left; the last batch of a bin may be short.

    Args:
        data: with the size of each picture.
        settings: of the batches.
        epoch: from 0.

    Returns:
        The plan; the pictures in it do not depend on the order of ``data.pictures``.
    """
    skipped: collections.Counter[str] = collections.Counter()
    bins: tuple[list[int], list[int]] = ([], [])
    mined = is_mined(data, settings)
    for k, picture in enumerate(data.pictures):
        if len(picture.triplets) or (mined and len(picture.labels) > 1):
            bins[not _is_wide(picture)].append(k)
        else:
            skipped["picture_without_pairs"] += 1
    wide, tall = (_in_order(data, bin_, settings.seed, epoch) for bin_ in bins)
    batches = []
    number = 0
    while wide or tall:
        key = key64(settings.seed, epoch, _BIN, number)
        # key / 2**64 * pictures left, without rounding.
        drawn = wide if key * (len(wide) + len(tall)) >> 64 < len(wide) else tall
        pictures = tuple(drawn[: settings.num_pictures])
        del drawn[: settings.num_pictures]
        if any(len(data.pictures[k].triplets) for k in pictures):
            batches.append(BatchPlan(epoch, number, pictures))
        else:
            skipped["batch_without_positives"] += 1
        number += 1
    return EpochPlan(tuple(batches), skipped)


def is_mirrored(picture: str, settings: BatchSettings, epoch: int) -> bool:
    """Whether the picture of this name has left and right exchanged in an epoch."""
    return settings.mirror and key64(settings.seed, epoch, image_id(picture), _MIRROR) % 2 == 1


def _in_order(data: RelationData, pictures: Sequence[int], seed: int, epoch: int) -> list[int]:
    def place(k: int) -> tuple[int, str]:
        name = data.pictures[k].name
        return key64(seed, epoch, _PLACE, image_id(name)), name

    return sorted(pictures, key=place)


def _is_wide(picture: RelationPicture) -> bool:
    assert picture.size is not None
    height, width = picture.size
    return width >= height
