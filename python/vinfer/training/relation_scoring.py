"""Scores of all pairs of a data set by a trained network, and their quality."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from vinfer.evaluation.relations import MeanAveragePrecision, mean_average_precision
from vinfer.training.batch_plan import BatchSettings
from vinfer.training.pair_sampling import picture_pairs
from vinfer.training.picture_tensors import normalised, resized_boxes, resized_size
from vinfer.training.relation_data import RelationData
from vinfer.training.relation_network import RelationNetwork
from vinfer.types import Float32Array, Int64Array

PICTURES_AT_ONCE = 16


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Every ordered pair of the annotated objects of every picture.

    Attributes:
        scores: float32 ``[m, C]``, probabilities.
        labels: bool ``[m, C]``.
        pairs: int64 ``[m, 3]``: picture, subject and object of it.
    """

    scores: Float32Array
    labels: npt.NDArray[np.bool_]
    pairs: Int64Array

    def quality(
        self, predicates: tuple[str, ...], ignored: tuple[str, ...]
    ) -> MeanAveragePrecision:
        """mAP, mAP* without the ``ignored``, and both over related pairs only."""
        columns = [predicates.index(name) for name in ignored if name in predicates]
        return mean_average_precision(self.scores, self.labels, ignored=columns)


@torch.inference_mode()
def score_pairs(
    network: RelationNetwork, data: RelationData, settings: BatchSettings
) -> PairScores:
    """Run the network as inference does: pictures without padding, boxes as annotated.

    Args:
        network: of the data's vocabularies; left in evaluation mode.
        data: with pictures.
        settings: how pictures are resized and normalised.
    """
    network.eval()
    # Pictures of one size are batched; padding would change what lies near their borders.
    sizes: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
    for number, picture in enumerate(data.pictures):
        assert picture.size is not None
        sizes[picture.size].append(number)
    scores: dict[int, Float32Array] = {}
    for numbers in sizes.values():
        for begin in range(0, len(numbers), PICTURES_AT_ONCE):
            chosen = numbers[begin : begin + PICTURES_AT_ONCE]
            scores.update(zip(chosen, _scores(network, data, settings, chosen), strict=True))
    parts = [picture_pairs(picture, len(data.predicates), mined=True) for picture in data.pictures]
    counts = [len(part.pairs) for part in parts]
    local = np.concatenate([part.pairs for part in parts])
    return PairScores(
        scores=np.concatenate([scores[k] for k in range(len(parts))]),
        labels=np.concatenate([part.labels for part in parts]) > 0,
        pairs=np.column_stack([np.repeat(np.arange(len(parts)), counts), local]),
    )


def _scores(
    network: RelationNetwork, data: RelationData, settings: BatchSettings, numbers: list[int]
) -> list[Float32Array]:
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
    if not sum(counts):
        return [np.zeros((0, len(data.predicates)), np.float32) for _ in numbers]
    of_pictures = [len(data.pictures[number].labels) for number in numbers]
    logits = network(
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.concatenate(boxes)),
        torch.from_numpy(np.repeat(np.arange(len(numbers)), of_pictures)),
        torch.from_numpy(np.concatenate([data.pictures[number].labels for number in numbers])),
        torch.from_numpy(np.concatenate(pairs)),
    )
    scores: Float32Array = network.scores(logits).float().numpy()
    return np.split(scores, np.cumsum(counts)[:-1])
