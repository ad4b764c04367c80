"""Relations between what a detector finds, for training on the boxes that inference will have."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np

from vinfer.backends import SessionOptions
from vinfer.bundles import Bundle, find_bundle
from vinfer.errors import TrainingError
from vinfer.stages.box_iou import box_iou
from vinfer.stages.detect import Detector
from vinfer.training.annotations import box_array, triplet_array, usable_box
from vinfer.training.relation_data import RelationData, RelationPicture
from vinfer.types import Detections, Float32Array, Int64Array

SAME_OBJECT = 0.5
"""IoU from which a detection of the same class is an annotated object."""

NO_OBJECT = 0.3
"""IoU with every annotated object below which a detection is none of them."""

_BACKGROUND, _UNSURE = -1, -2


def detections_of(data: RelationData, bundle: str) -> dict[str, Detections]:
    """What a detector finds in the pictures of a data set.

    Args:
        data: with pictures.
        bundle: of the detector, name or path; its own thresholds are used.

    Returns:
        By the name of the picture, as `with_detected_boxes` takes it.

    Raises:
        TrainingError: the data is without pictures, or one can't be read.
        BundleError: there is no such bundle, or it holds another kind of model.
    """
    if data.read is None:
        raise TrainingError("data: found annotations without pictures, expected some to look at")
    with Detector(Bundle.open(find_bundle(bundle)), SessionOptions(provider="cpu")) as detector:
        return {each.name: detector.detect(data.read(each)) for each in data.pictures}


def with_detected_boxes(data: RelationData, detections: Mapping[str, Detections]) -> RelationData:
    """The same pictures with a detector's boxes in place of the annotated ones.

    A detection that is an annotated object takes its relations over. One that is no object has none
    to anything, so that its pairs are negatives where pairs are mined. One in between, such as a
    second box on an object or a wrong class, is left out: what holds of it nobody annotated.

    Args:
        data: with annotated boxes.
        detections: by the name of the picture; a picture without an entry is left out.

    Returns:
        The pictures with at least one detection left. ``skipped`` counts, besides what ``data``
        counted, ``undetected_picture`` (no entry), ``unknown_detected_class``,
        ``unsure_detection``, ``undetected_object``, ``relation_of_undetected_object``,
        ``image_without_detections``, and detected boxes for the reasons of
        `annotations.usable_box`.

    Raises:
        TrainingError: no relation is left.
    """
    skipped = collections.Counter(data.skipped)
    pictures = []
    for picture in data.pictures:
        if picture.name not in detections:
            skipped["undetected_picture"] += 1
            continue
        replaced = _replaced(picture, detections[picture.name], data.classes, skipped)
        if len(replaced.labels):
            pictures.append(replaced)
        else:
            skipped["image_without_detections"] += 1
    if not any(len(picture.triplets) for picture in pictures):
        raise TrainingError(
            f"detections: no annotated relation is left in {len(pictures)} pictures (skipped: "
            f"{dict(skipped)}); expected detections of {list(data.classes)[:5]}... by the names "
            f"of the pictures, such as {next((p.name for p in data.pictures), None)!r}"
        )
    return dataclasses.replace(data, pictures=tuple(pictures), skipped=skipped)


def _replaced(
    picture: RelationPicture,
    found: Detections,
    classes: tuple[str, ...],
    skipped: collections.Counter[str],
) -> RelationPicture:
    labels, boxes, scores = _usable(picture, found, classes, skipped)
    objects = match_detections(picture, labels, boxes, scores)
    kept = objects != _UNSURE
    if unsure := len(kept) - int(kept.sum()):
        skipped["unsure_detection"] += unsure
    objects = objects[kept]
    # From an annotated object to the detection that stands for it.
    detection = {int(object_): k for k, object_ in enumerate(objects) if object_ >= 0}
    if undetected := len(picture.labels) - len(detection):
        skipped["undetected_object"] += undetected
    return RelationPicture(
        name=picture.name,
        size=picture.size,
        labels=labels[kept],
        boxes=boxes[kept],
        triplets=_inherited(picture.triplets, detection, skipped),
        ignored=_inherited(picture.ignored, detection, skipped),
    )


def match_detections(
    picture: RelationPicture,
    labels: Int64Array,
    boxes: Float32Array,
    scores: Float32Array,
) -> Int64Array:
    """Which annotated object each detection is.

    Greedy by score, equal scores by position: a detection is the object of its class with the
    highest IoU, of at least `SAME_OBJECT`, that no better detection is already.

    Args:
        picture: with the annotated objects.
        labels, boxes, scores: int64 ``[n]``, float32 ``[n, 4]`` and ``[n]`` of the detections.

    Returns:
        int64 ``[n]``: index of the object; -1: none, its IoU with every object of any class is
        below `NO_OBJECT`; -2: neither.
    """
    overlap = box_iou(boxes, picture.boxes)
    result = np.full(len(boxes), _UNSURE, np.int64)
    result[(overlap < NO_OBJECT).all(1)] = _BACKGROUND
    free = np.where(labels[:, None] == picture.labels[None], overlap, 0.0)
    for k in np.argsort(-scores, kind="stable"):
        best = int(free[k].argmax()) if free.shape[1] else 0
        if free.shape[1] and free[k, best] >= SAME_OBJECT:
            result[k] = best
            free[:, best] = 0
    return result


def _usable(
    picture: RelationPicture,
    found: Detections,
    classes: tuple[str, ...],
    skipped: collections.Counter[str],
) -> tuple[
    Int64Array,
    Float32Array,
    Float32Array,
]:
    """Labels in the data's vocabulary, boxes and scores of the detections that can be used."""
    label = {name: k for k, name in enumerate(classes)}
    rows, boxes = [], []
    for k in range(len(found)):
        if found.name(k) not in label:
            skipped["unknown_detected_class"] += 1
        elif (box := usable_box(found.boxes[k].tolist(), picture.size, skipped)) is not None:
            rows.append(k)
            boxes.append(box)
    labels = np.array([label[found.name(k)] for k in rows], np.int64)
    return labels, box_array(boxes), found.scores[np.array(rows, np.int64)]


def _inherited(
    triplets: Int64Array, detection: Mapping[int, int], skipped: collections.Counter[str]
) -> Int64Array:
    kept = [
        (detection[s], p, detection[o])
        for s, p, o in triplets.tolist()
        if s in detection and o in detection
    ]
    if lost := len(triplets) - len(kept):
        skipped["relation_of_undetected_object"] += lost
    return triplet_array(kept)
