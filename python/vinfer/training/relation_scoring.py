"""Scores of all pairs of a data set by a network or its graph, and their quality."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vinfer.backends.base import Array
from vinfer.evaluation.relations import MeanAveragePrecision, mean_average_precision
from vinfer.training.batch_plan import BatchSettings
from vinfer.training.pair_sampling import picture_pairs
from vinfer.training.relation_data import RelationData
from vinfer.training.relation_feeds import picture_feeds
from vinfer.types import Float32Array, Int64Array

if TYPE_CHECKING:
    from vinfer.training.relation_network import RelationNetwork


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


def score_pairs(
    network: RelationNetwork, data: RelationData, settings: BatchSettings
) -> PairScores:
    """Run the network as inference does: pictures without padding, boxes as annotated.

    Args:
        network: of the data's vocabularies; left in evaluation mode.
        data: with pictures.
        settings: how pictures are resized and normalised.
    """
    import torch

    network.eval()

    def scores(arrays: Mapping[str, Array]) -> Float32Array:
        with torch.inference_mode():
            logits = network(*(torch.from_numpy(array) for array in arrays.values()))
            found: Float32Array = network.scores(logits).float().numpy()
        return found

    return score_with(scores, data, settings)


def score_with(
    scores: Callable[[Mapping[str, Array]], Float32Array],
    data: RelationData,
    settings: BatchSettings,
) -> PairScores:
    """`score_pairs` by anything that takes the arrays of a `relation_feeds.PictureFeed`.

    Args:
        scores: gives float32 ``[m, C]`` for the pairs of a feed, which are some.
        data: with pictures.
        settings: how pictures are resized and normalised.
    """
    found: dict[int, Float32Array] = {}
    for feed in picture_feeds(data, settings):
        if any(feed.pairs):
            of_feed = scores(feed.arrays)
        else:
            of_feed = np.zeros((0, len(data.predicates)), np.float32)
        found.update(zip(feed.numbers, np.split(of_feed, np.cumsum(feed.pairs)[:-1]), strict=True))
    parts = [picture_pairs(picture, len(data.predicates), mined=True) for picture in data.pictures]
    counts = [len(part.pairs) for part in parts]
    local = np.concatenate([part.pairs for part in parts])
    return PairScores(
        scores=np.concatenate([found[k] for k in range(len(parts))]),
        labels=np.concatenate([part.labels for part in parts]) > 0,
        pairs=np.column_stack([np.repeat(np.arange(len(parts)), counts), local]),
    )
