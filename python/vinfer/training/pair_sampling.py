"""Which pairs of objects a mini-batch trains on: annotated relations and mined negatives.

After "Visual Relationship Classification with Negative-Sample Mining" (R. de Moura Estevao Filho,
J. G. R. C. Gomes, L. de Oliveira Nunes, ICIP 2020): all ordered pairs of annotated objects without
a relation are negatives, a batch has at most 400 pairs, and 25 to 75 % of them are positive. What
the paper leaves open is decided here and written down in docs/relations.md.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from vinfer.training.key64 import key64_array
from vinfer.training.relation_data import RelationPicture
from vinfer.types import Float32Array, Int64Array

BoolArray = npt.NDArray[np.bool_]
Samples = npt.NDArray[np.integer]


def sample_counts(
    positives: int, negatives: int, max_pairs: int = 400, *, least_percent: int = 25
) -> tuple[int, int]:
    """How many positive and negative pairs a batch takes of those that it could.

    Args:
        positives, negatives: pairs there are, >= 0.
        max_pairs: to take at most, >= 2.
        least_percent: of the pairs that are positive, 1 to 50.

    Returns:
        (positive, negative): the largest total of which so much to 75 % can be positive, divided as
        close to the pairs there are as these bounds let it. Without negatives as many positives as
        may be taken; without positives (0, 0), for such a batch teaches nothing but "no".
    """
    if positives == 0:
        return 0, 0
    if negatives == 0:
        return min(positives, max_pairs), 0
    everything = positives + negatives
    # It ends at 2 or before: one pair of each kind is half positive.
    for total in range(min(max_pairs, everything), 1, -1):
        fewest = max(-(-total * least_percent // 100), total - negatives)
        most = min(3 * total // 4, positives)
        if fewest <= most:
            natural = (2 * total * positives + everything) // (2 * everything)  # half rounds up
            taken = min(max(natural, fewest), most)
            return taken, total - taken
    raise AssertionError("unreachable: max_pairs is at least 2")


def smallest_keys(samples: Samples, count: int, *, seed: int, epoch: int, batch: int) -> Int64Array:
    """Draw samples by the keys of `key64`, so that neither order nor a library decides.

    Args:
        samples: int64 or uint64 ``[n, 3]``: image id, subject, object; each once.
        count: how many to draw; all where there are fewer.
        seed, epoch, batch: what the draw depends on, besides the samples themselves.

    Returns:
        int64 ``[min(count, n)]``: rows of ``samples``, by key; equal keys by the sample.
    """
    images, subjects, objects = samples.T
    keys = key64_array(seed, epoch, batch, images, subjects, objects)
    return np.lexsort((objects, subjects, images, keys))[:count].astype(np.int64)


def balanced_first(labels: BoolArray, order: Int64Array, count: int) -> Int64Array:
    """Draw positives so that rare predicates come as often as frequent ones, while there are any.

    Args:
        labels: bool ``[n, C]``, at least one True a row.
        order: int64 ``[n]``, the rows in random order.
        count: how many to draw, at most n.

    Returns:
        int64 ``[count]``: rows. The predicates take turns, the rarest first, each with its next row
        of ``order`` that is not taken yet.
    """
    ordered = labels[order]
    queues = [iter(order[ordered[:, p]].tolist()) for p in np.argsort(labels.sum(0), kind="stable")]
    taken: dict[int, None] = {}
    while len(taken) < count:
        for queue in queues:
            row = next((row for row in queue if row not in taken), None)
            if row is not None and len(taken) < count:
                taken[row] = None
    return np.array(list(taken), np.int64)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PicturePairs:
    """The ordered pairs of one picture that may be samples, subject by subject.

    Attributes:
        pairs: int64 ``[m, 2]``: subject, object.
        labels: float32 ``[m, C]``: 1 where the predicate is annotated, else 0.
        known: bool ``[m, C]``: False where nobody is sure whether the predicate holds.
    """

    pairs: Int64Array
    labels: Float32Array
    known: BoolArray


def picture_pairs(picture: RelationPicture, num_predicates: int, *, mined: bool) -> PicturePairs:
    """The samples of one picture.

    Args:
        picture: with its annotations.
        num_predicates: C.
        mined: whether a pair without an annotation is a (negative) sample.

    Returns:
        All annotated pairs and, where mined, all others but those with an ignored relation.
    """
    n = len(picture.labels)
    labels = np.zeros((n, n, num_predicates), np.float32)
    known = np.ones((n, n, num_predicates), bool)
    subjects, predicates, objects = picture.triplets.T
    labels[subjects, objects, predicates] = 1
    subjects, predicates, objects = picture.ignored.T
    known[subjects, objects, predicates] = False
    candidate = np.asarray(labels.any(2))
    if mined:
        candidate |= known.all(2)
    np.fill_diagonal(candidate, False)
    pairs = np.argwhere(candidate)
    return PicturePairs(pairs, labels[candidate], known[candidate])
