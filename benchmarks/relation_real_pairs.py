"""All ordered pairs of the objects of labelled pictures, with all that a relation model may use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.relation_prior_quality import SHOWN
from vinfer.evaluation.relation_truth import TRUE, LabelledPicture, judge
from vinfer.stages.relate import Relator
from vinfer.training.roi_features import RoiFeatures
from vinfer.types import Detections, Float32Array, Int32Array, Int64Array, Relations, UInt8Array

PREDICATES = SHOWN


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs by picture, then subject and object; m of all pictures together.

    Attributes:
        picture: int64 ``[m]``.
        subject_labels, object_labels: int64 ``[m]``, indices into COCO's classes.
        subject_boxes, object_boxes: float32 ``[m, 4]``, xyxy in pixels.
        prior: float64 ``[m, 18]``, scores of the class-and-geometry prior; NaN where it does not
            know a class.
        visual: float32 ``[m, d]``, features of a frozen trunk.
        verdicts: int32 ``[m, 5]`` for `PREDICATES`, as `judge` gives them.
        truths: int64 ``[pictures, 5]``: how many relations there are to find.
    """

    picture: Int64Array
    subject_labels: Int64Array
    object_labels: Int64Array
    subject_boxes: Float32Array
    object_boxes: Float32Array
    prior: npt.NDArray[np.float64]
    visual: Float32Array
    verdicts: Int32Array
    truths: Int64Array

    def at_least(self, kept: npt.NDArray[np.bool_]) -> Pairs:
        """The pairs at a mask; there is as much to find as before."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Pairs(**{k: v if k == "truths" else v[kept] for k, v in fields.items()})

    @classmethod
    def kept(cls, path: Path, make: Callable[[], Pairs]) -> Pairs:
        """What is in the file; made and put there where it is missing."""
        if not path.exists():
            made = make()
            fields = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
            np.savez_compressed(path, **fields)
        with np.load(path) as arrays:
            return cls(**{f.name: arrays[f.name] for f in dataclasses.fields(cls)})


def pairs_of(
    pictures: Sequence[LabelledPicture],
    found: Sequence[Detections],
    relator: Relator,
    features: RoiFeatures,
    read: Callable[[LabelledPicture], UInt8Array],
) -> Pairs:
    """Score, look at and judge every pair.

    Args:
        pictures: with their truth.
        found: objects of each: the labelled ones or a detector's.
        relator: the prior, with ``min_score`` 0.
        features: of a frozen trunk.
        read: the pixels of a picture.
    """
    classes = {name: k for k, name in enumerate(pictures[0].objects.names)}
    columns: list[list[np.ndarray]] = [[] for _ in range(8)]
    truths = np.zeros((len(pictures), len(PREDICATES)), np.int64)
    for number, (picture, objects) in enumerate(zip(pictures, found, strict=True)):
        for (_, name, _), how in picture.certainty.items():
            if name in PREDICATES and how == "sure":
                truths[number, PREDICATES.index(name)] += 1
        n = len(objects)
        pairs = np.argwhere(~np.eye(n, dtype=bool)).reshape(-1, 2)
        own = np.array([classes[objects.name(k)] for k in range(n)], np.int64)
        i, j = pairs.T
        values: tuple[np.ndarray, ...] = (
            np.full(len(pairs), number, np.int64),
            own[i],
            own[j],
            objects.boxes[i],
            objects.boxes[j],
            _prior_scores(relator, objects, n),
            features(read(picture), objects.boxes, pairs),
            _verdicts(picture, objects, pairs),
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    arrays = [np.concatenate(column) for column in columns]
    arrays.append(truths)
    return Pairs(*arrays)


def _prior_scores(relator: Relator, objects: Detections, n: int) -> npt.NDArray[np.float64]:
    dense = np.full((n, n, len(relator.predicates)), np.nan)
    relations = relator.relate(objects)
    dense[relations.pairs[:, 0], relations.pairs[:, 1], relations.predicates] = relations.scores
    return np.asarray(dense[~np.eye(n, dtype=bool)])


def _verdicts(picture: LabelledPicture, objects: Detections, pairs: Int64Array) -> Int32Array:
    count = len(PREDICATES)
    every = Relations(
        np.repeat(pairs, count, axis=0).astype(np.int32),
        np.tile(np.arange(count, dtype=np.int32), len(pairs)),
        np.zeros(count * len(pairs), np.float32),
        PREDICATES,
    )
    return judge(picture, objects, every).reshape(-1, count)


def repeated_truths(pairs: Pairs) -> int:
    """True statements beyond those there are to find: two detections of one object."""
    right = np.zeros_like(pairs.truths)
    np.add.at(right, pairs.picture, pairs.verdicts == TRUE)
    return int(np.maximum(right - pairs.truths, 0).sum())
