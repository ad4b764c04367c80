"""Pictures whose relations are labelled exhaustively: which reported relations are true there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vinfer.errors import SourceNotFoundError, UnsupportedSourceError
from vinfer.stages.box_iou import box_iou
from vinfer.types import Detections, Float32Array, Int32Array, Int64Array, Relations

SCHEMA = "vinfer-relations-truth/1"

TRUE, FALSE, LEFT_OUT = 1, 0, -1

_NOTHING, _UNLABELLED = -1, -2

Certainty = Literal["sure", "doubtful"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LabelledPicture:
    """One picture of the truth.

    Attributes:
        image_id: COCO id.
        file_name: of the picture.
        objects: the boxed objects between which all relations are labelled, as detections.
        unlabelled: annotated objects whose relations are not.
        certainty: by (subject, predicate, object): indices into ``objects`` and a name of the
            model's vocabulary.
    """

    image_id: int
    file_name: str
    objects: Detections
    unlabelled: Detections
    certainty: Mapping[tuple[int, str, int], Certainty]


def load_relation_truth(
    annotations: Path,
    relations: Path,
    predicates: Mapping[str, str],
    *,
    specific: Mapping[str, str] | None = None,
) -> list[LabelledPicture]:
    """Read COCO annotations and the relations between them.

    Args:
        annotations: COCO's format.
        relations: schema ``vinfer-relations-truth/1``.
        predicates: from the truth's vocabulary to the model's; others are left out.
        specific: pairs of the model's predicates: where the first is stated, in whatever certainty,
            the second is doubtful, since the model reports only the first ("ride", not "on").

    Raises:
        SourceNotFoundError: a file is not there.
        UnsupportedSourceError: a file is of another format.
    """
    coco, truth = _read(annotations), _read(relations)
    if truth.get("schema") != SCHEMA:
        raise UnsupportedSourceError(
            f'{relations}: found schema {truth.get("schema")!r}, expected "{SCHEMA}"'
        )
    try:
        return _pictures(coco, truth, predicates, specific or {})
    except (KeyError, TypeError, ValueError) as exc:
        raise UnsupportedSourceError(
            f"{relations}: does not fit {annotations} ({type(exc).__name__}: {exc}); expected "
            "relations between its annotation ids"
        ) from exc


def judge(picture: LabelledPicture, found: Detections, relations: Relations) -> Int32Array:
    """Whether each relation is true.

    Args:
        picture: the truth.
        found: the objects that ``relations`` are between: ``picture.objects`` or a detector's.
        relations: of the model whose vocabulary the truth was mapped to.

    Returns:
        int32 ``[m]``: `TRUE` where it is sure. `LEFT_OUT` where it is doubtful, or an object of it
        is one whose relations are not labelled. Else `FALSE`, also where a detection is no object.
        A detection is the object of the same class with the highest IoU, of at least 0.5.
    """
    objects = _matched(picture, found)
    verdicts = np.empty(len(relations), np.int32)
    for k, (i, j) in enumerate(relations.pairs.tolist()):
        subject, object_ = int(objects[i]), int(objects[j])
        certainty = picture.certainty.get((subject, relations.name(k), object_))
        if certainty == "sure":
            verdicts[k] = TRUE
        elif certainty == "doubtful" or _UNLABELLED in (subject, object_):
            verdicts[k] = LEFT_OUT
        else:
            verdicts[k] = FALSE
    return verdicts


def _matched(picture: LabelledPicture, found: Detections) -> Int64Array:
    """Index of the labelled object that each detection is; or unlabelled, or nothing."""
    known = np.concatenate([picture.objects.boxes, picture.unlabelled.boxes])
    names = [
        source.name(k)
        for source in (picture.objects, picture.unlabelled)
        for k in range(len(source))
    ]
    overlap = box_iou(found.boxes, known)
    same = np.array([[found.name(k) == name for name in names] for k in range(len(found))])
    overlap = np.where(same.reshape(overlap.shape), overlap, 0.0)
    result = np.full(len(found), _NOTHING, np.int64)
    if not overlap.size:
        return result
    best = overlap.argmax(1)
    hit = overlap.max(1) >= 0.5
    labelled = best < len(picture.objects)
    result[hit & labelled] = best[hit & labelled]
    result[hit & ~labelled] = _UNLABELLED
    return result


def _pictures(
    coco: dict[str, Any],
    truth: dict[str, Any],
    predicates: Mapping[str, str],
    specific: Mapping[str, str],
) -> list[LabelledPicture]:
    names = tuple(category["name"] for category in coco["categories"])
    label = {category["id"]: k for k, category in enumerate(coco["categories"])}
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in coco["images"]}
    for annotation in coco["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    pictures = []
    for image in coco["images"]:
        labelled = truth["images"].get(str(image["id"]))
        if labelled is None:
            continue
        index = {annotation_id: k for k, annotation_id in enumerate(labelled["kept"])}
        by_id = {annotation["id"]: annotation for annotation in by_image[image["id"]]}
        certainty: dict[tuple[int, str, int], Certainty] = {}
        for subject, predicate, object_, how in labelled["relations"]:
            if predicate in predicates:
                certainty[index[subject], predicates[predicate], index[object_]] = how
        for subject, predicate, object_ in list(certainty):
            if predicate in specific:
                certainty[subject, specific[predicate], object_] = "doubtful"
        pictures.append(
            LabelledPicture(
                image_id=image["id"],
                file_name=image["file_name"],
                objects=_objects([by_id[k] for k in index], label, names),
                unlabelled=_objects([a for k, a in by_id.items() if k not in index], label, names),
                certainty=certainty,
            )
        )
    return pictures


def _objects(
    rows: list[dict[str, Any]], label: Mapping[int, int], names: tuple[str, ...]
) -> Detections:
    boxes: Float32Array = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([label[row["category_id"]] for row in rows], np.int32)
    return Detections.untracked(boxes, np.ones(len(rows), np.float32), labels, names)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise SourceNotFoundError(f"{path}: no such file, expected the labels there") from exc
    except ValueError as exc:
        raise UnsupportedSourceError(f"{path}: not JSON ({exc})") from exc
    if not isinstance(data, dict):
        raise UnsupportedSourceError(
            f"{path}: found a JSON {type(data).__name__}, expected an object"
        )
    return data
