"""Pictures of two scene-graph files side by side, names replaced by indices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError
from vinfer.evaluation.scene_graph import Triplets
from vinfer.evaluation.scene_graph_file import PictureObjects, SceneGraph, SceneGraphs
from vinfer.stages.triplets import select_triplets
from vinfer.types import Detections, Float32Array, Relations


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PicturePair:
    """What is true of a picture and what was predicted.

    Attributes:
        true_objects, true: annotated objects, and relations between them with score 1.
        objects, predicted: the predictions' objects (the annotated ones where a file has none of
            its own), and relations between them.
        verified: classes verified as present or absent, those of the true relations among them.
    """

    true_objects: Detections
    true: Relations
    objects: Detections
    predicted: Relations
    verified: frozenset[int]

    def true_triplets(self) -> Triplets:
        """The true relations with their boxes."""
        return _triplets(self.true_objects, self.true)

    def ranked(self, *, graph_constraint: bool) -> tuple[Triplets, Float32Array]:
        """The predictions, the best first, and float32 ``[t]`` their scores."""
        chosen = select_triplets(
            self.objects,
            self.predicted,
            score="predicate",
            nms_iou=None,
            graph_constraint=graph_constraint,
            limit=None,
        )
        return _triplets(self.objects, chosen), chosen.scores


def pair_pictures(truth: SceneGraphs, found: SceneGraphs) -> list[PicturePair]:
    """Every picture of the truth; one without predictions has none.

    Raises:
        InputError: the predictions name a picture, a predicate or an object that the truth lacks.
    """
    strange = sorted(found.pictures.keys() - truth.pictures.keys())
    if strange:
        raise InputError(
            f"{found.path}: found picture {strange[0]} ({len(strange)} such), expected only "
            f"pictures of {truth.path}"
        )
    graphs = [*truth.pictures.values(), *found.pictures.values()]
    names = {name for graph in graphs if graph.objects for name in graph.objects.classes}
    classes = tuple(sorted(names.union(*(graph.verified for graph in graphs))))
    label = {name: k for k, name in enumerate(classes)}
    predicate = {name: k for k, name in enumerate(truth.predicates)}
    # Shared by all pictures, so that none holds a copy.
    nothing = SceneGraph(PictureObjects.none() if found.has_objects else None, {})
    pairs = []
    for name, true in truth.pictures.items():
        predicted = found.pictures.get(name, nothing)
        true_objects = _detections(true.objects or PictureObjects.none(), label, classes)
        objects = true_objects
        if predicted.objects is not None:
            objects = _detections(predicted.objects, label, classes)
        relations = _relations(true, predicate, len(true_objects), f"{truth.path}: picture {name}")
        pairs.append(
            PicturePair(
                true_objects=true_objects,
                true=relations,
                objects=objects,
                predicted=_relations(
                    predicted, predicate, len(objects), f"{found.path}: picture {name}"
                ),
                verified=frozenset(true_objects.labels[relations.pairs].ravel().tolist())
                | {label[class_] for class_ in true.verified},
            )
        )
    return pairs


def all_pairs(
    pictures: Sequence[PicturePair], num_predicates: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scores and labels of every ordered pair of annotated objects, pooled over pictures.

    Returns:
        float32 and bool ``[pairs, predicates]``; a triplet without a prediction has score -inf, so
        that all of them rank last, together.
    """
    scores, labels = [], []
    for picture in pictures:
        n = len(picture.true_objects)
        score = np.full((n, n, num_predicates), -np.inf, np.float32)
        label = np.zeros((n, n, num_predicates), np.bool_)
        for table, relations, value in (
            (score, picture.predicted, picture.predicted.scores),
            (label, picture.true, True),
        ):
            subjects, objects = relations.pairs.T
            table[subjects, objects, relations.predicates] = value
        different = ~np.eye(n, dtype=np.bool_)
        scores.append(score[different])
        labels.append(label[different])
    empty = (0, num_predicates)
    return (
        np.concatenate([*scores, np.zeros(empty, np.float32)]),
        np.concatenate([*labels, np.zeros(empty, np.bool_)]),
    )


def _detections(
    objects: PictureObjects, label: Mapping[str, int], classes: tuple[str, ...]
) -> Detections:
    labels = np.array([label[name] for name in objects.classes], np.int32)
    return Detections.untracked(objects.boxes, np.ones(len(objects), np.float32), labels, classes)


def _relations(
    graph: SceneGraph, predicate: Mapping[str, int], num_objects: int, where: str
) -> Relations:
    for subject, name, object_ in graph.relations:
        if name not in predicate:
            raise InputError(
                f"{where}: found predicate {name!r}, expected one of {', '.join(predicate)}"
            )
        if max(subject, object_) >= num_objects:
            raise InputError(
                f"{where}: found a relation of objects {subject} and {object_}, the picture has "
                f"{num_objects}, counted from 0"
            )
    rows = [(subject, object_, predicate[name]) for subject, name, object_ in graph.relations]
    table = np.array(rows, np.int32).reshape(-1, 3)
    scores = np.array(list(graph.relations.values()), np.float32)
    return Relations(table[:, :2].copy(), table[:, 2].copy(), scores, tuple(predicate))


def _triplets(objects: Detections, relations: Relations) -> Triplets:
    subjects, others = relations.pairs.T
    labels = objects.labels.astype(np.int64)
    return Triplets(
        labels[subjects],
        relations.predicates.astype(np.int64),
        labels[others],
        objects.boxes[subjects],
        objects.boxes[others],
    )
