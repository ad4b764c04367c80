"""Mini-batches of pictures and pairs: a pure function of the data, the seed and the epoch.

After "Visual Relationship Classification with Negative-Sample Mining" (R. de Moura Estevao Filho,
J. G. R. C. Gomes, L. de Oliveira Nunes, ICIP 2020), section on training: 40 pictures of one of two
bins, wide or tall, padded with zeros into one tensor, and at most 400 pairs of their objects
(`pair_sampling`). Since nothing depends on what was drawn before, training can go on in the middle
of an epoch, and the order of the data set's pictures does not matter.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterator

import numpy as np

from vinfer.errors import TrainingError
from vinfer.training.batch_plan import (
    BatchPlan,
    BatchSettings,
    EpochPlan,
    image_id,
    is_mined,
    is_mirrored,
    plan_epoch,
)
from vinfer.training.pair_sampling import (
    BoolArray,
    PicturePairs,
    balanced_first,
    picture_pairs,
    sample_counts,
    smallest_keys,
)
from vinfer.training.picture_tensors import (
    mirrored_boxes,
    normalised,
    padded,
    resized_boxes,
    resized_size,
)
from vinfer.training.relation_data import RelationData, RelationPicture
from vinfer.types import Float32Array, Int64Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures, their objects, and the pairs to train on.

    Attributes:
        epoch, number: as planned.
        names: of the N pictures.
        images: float32 ``[N, 3, H, W]``, RGB, normalised; zeros right of and below each picture.
        sizes: int64 ``[N, 2]``, (height, width) of each picture without the zeros.
        box_images: int64 ``[k]``, the picture of each object, ascending.
        class_labels: int64 ``[k]``, of all objects of all pictures.
        boxes: float32 ``[k, 4]``, xyxy in pixels of ``images``, clipped to the picture.
        pairs: int64 ``[m, 3]``: picture, and subject and object as rows of ``boxes``. Positives
            first; both kinds in order of these three numbers.
        labels: float32 ``[m, C]``, 1 where the predicate holds, else 0.
        known: bool ``[m, C]``; where it is False, ``labels`` says nothing: leave it out of the
            loss.
        num_negatives: of the pairs, how many to train on; fewer than there are only where
            `BatchSettings.hard_negatives` drew more (`keep_hardest`).
    """

    epoch: int
    number: int
    names: tuple[str, ...]
    images: Float32Array
    sizes: Int64Array
    box_images: Int64Array
    class_labels: Int64Array
    boxes: Float32Array
    pairs: Int64Array
    labels: Float32Array
    known: BoolArray
    num_negatives: int


class RelationBatches:
    """The batches of a data set.

    Args:
        data: with pictures and their sizes.
        settings: how they are made.

    Attributes:
        mined: whether pairs without an annotation are negatives: the settings ask for it, and the
            annotations are exhaustive or it is forced.

    Raises:
        TrainingError: the data is without pixels or sizes, or two pictures have one name.
    """

    def __init__(self, data: RelationData, settings: BatchSettings) -> None:
        if data.read is None or any(picture.size is None for picture in data.pictures):
            raise TrainingError(
                "data: found annotations without pictures, expected pictures, too; "
                "give the loader their folder"
            )
        names = collections.Counter(picture.name for picture in data.pictures)
        if names and max(names.values()) > 1:
            raise TrainingError(f"data: found two pictures {names.most_common(1)[0][0]!r}")
        self.data = data
        self.settings = settings
        self.mined = is_mined(data, settings)

    def plan(self, epoch: int) -> EpochPlan:
        """See `batch_plan.plan_epoch`."""
        return plan_epoch(self.data, self.settings, epoch)

    def epoch(self, epoch: int, *, start: int = 0, num_threads: int = 1) -> Iterator[Batch]:
        """The batches of an epoch, in order.

        Args:
            epoch: from 0.
            start: leave out this many of them: to go on where training stopped.
            num_threads: see `load`.
        """
        for plan in self.plan(epoch).batches[start:]:
            yield self.load(plan, num_threads=num_threads)

    def load(self, plan: BatchPlan, *, num_threads: int = 1) -> Batch:
        """Read the pictures of a batch and draw its pairs.

        Args:
            plan: of this data set.
            num_threads: that read pictures side by side; the batch does not depend on it.

        Raises:
            TrainingError: a picture is missing, damaged, or not of the size that its annotations
                are for.
        """
        pictures = [self.data.pictures[k] for k in plan.pictures]
        with concurrent.futures.ThreadPoolExecutor(num_threads) as threads:
            prepared = list(threads.map(lambda each: self._prepared(each, plan.epoch), pictures))
        first_rows = np.cumsum([0, *(len(picture.labels) for picture in pictures)])
        pairs, labels, known, num_negatives = self._samples(plan, first_rows)
        return Batch(
            epoch=plan.epoch,
            number=plan.number,
            names=tuple(picture.name for picture in pictures),
            images=padded([image for image, _ in prepared]),
            sizes=np.array([image.shape[1:] for image, _ in prepared], np.int64),
            box_images=np.repeat(np.arange(len(pictures)), np.diff(first_rows)),
            class_labels=np.concatenate([picture.labels for picture in pictures]),
            boxes=np.concatenate([boxes for _, boxes in prepared]),
            pairs=pairs,
            labels=labels,
            known=known,
            num_negatives=num_negatives,
        )

    def _samples(
        self, plan: BatchPlan, first_rows: Int64Array
    ) -> tuple[Int64Array, Float32Array, BoolArray, int]:
        """Pairs, labels and known as `Batch` has them, and the negatives to train on."""
        num_predicates = len(self.data.predicates)
        parts: list[PicturePairs] = [
            picture_pairs(self.data.pictures[k], num_predicates, mined=self.mined)
            for k in plan.pictures
        ]
        local = np.concatenate([part.pairs for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        known = np.concatenate([part.known for part in parts])
        picture = np.repeat(np.arange(len(parts)), [len(part.pairs) for part in parts])
        ids = np.array([image_id(self.data.pictures[k].name) for k in plan.pictures], np.uint64)[
            picture
        ]
        samples = np.column_stack([ids, local.astype(np.uint64)])

        positive = labels.any(1)
        positives, negatives = np.flatnonzero(positive), np.flatnonzero(~positive)
        num_positives, num_negatives = sample_counts(
            len(positives),
            len(negatives),
            self.settings.max_pairs,
            least_percent=self.settings.least_positive_percent,
        )

        def draw(rows: Int64Array, count: int) -> Int64Array:
            return smallest_keys(
                samples[rows],
                count,
                seed=self.settings.seed,
                epoch=plan.epoch,
                batch=plan.number,
            )

        if self.settings.balanced:
            order = draw(positives, len(positives))
            chosen = balanced_first(labels[positives] > 0, order, num_positives)
        else:
            chosen = draw(positives, num_positives)
        pool = draw(negatives, num_negatives * self.settings.hard_negatives)
        rows = np.concatenate([np.sort(positives[chosen]), np.sort(negatives[pool])])
        pairs = np.column_stack([picture, local + first_rows[picture, None]])
        return pairs[rows], labels[rows], known[rows], num_negatives

    def _prepared(self, picture: RelationPicture, epoch: int) -> tuple[Float32Array, Float32Array]:
        """float32 ``[3, h, w]``, resized and normalised, and the boxes on it."""
        assert self.data.read is not None
        assert picture.size is not None
        image = self.data.read(picture)
        if image.shape[:2] != picture.size:
            raise TrainingError(
                f"{picture.name}: found a picture {image.shape[1]}x{image.shape[0]} px, expected "
                f"{picture.size[1]}x{picture.size[0]} px, as its annotations say"
            )
        size = resized_size(
            *picture.size, short_side=self.settings.short_side, long_side=self.settings.long_side
        )
        resized = normalised(image, size, self.settings.mean, self.settings.std)
        boxes = resized_boxes(picture.boxes, picture.size, size)
        if is_mirrored(picture.name, self.settings, epoch):
            return resized[:, :, ::-1], mirrored_boxes(boxes, size[1])
        return resized, boxes


def keep_hardest(batch: Batch, scores: Float32Array) -> Batch:
    """Of the negatives that were drawn, keep those that the network believes in most.

    Args:
        batch: drawn with `BatchSettings.hard_negatives` above 1.
        scores: float32 ``[m, C]`` or ``[m]``, logits or scores of the batch's pairs.

    Returns:
        The batch with all positives and the ``num_negatives`` negatives with the highest score of
        any predicate, in the order they had; equal scores in that order, too.

    Raises:
        TrainingError: the scores are not those of the pairs, or not finite.
    """
    if len(scores) != len(batch.pairs) or not np.isfinite(scores).all():
        raise TrainingError(
            f"scores: found shape {list(scores.shape)}, expected finite scores of the "
            f"{len(batch.pairs)} pairs"
        )
    highest = scores.reshape(len(scores), -1).max(1)
    negatives = np.flatnonzero(~batch.labels.any(1))
    order = np.argsort(-highest[negatives], kind="stable")
    hardest = np.sort(negatives[order[: batch.num_negatives]])
    rows = np.concatenate([np.flatnonzero(batch.labels.any(1)), hardest])
    return dataclasses.replace(
        batch, pairs=batch.pairs[rows], labels=batch.labels[rows], known=batch.known[rows]
    )
