"""The VRD labels (Lu et al., ECCV 2016) in the JSON form that vinfer trains on.

One file a split, plain or gzip: ``classes`` and ``predicates`` (lists of names) and ``images``,
each with ``objects`` ``[class, x1, y1, x2, y2]`` and ``relations``
``[subject, predicate, object]``, all by index. Annotators wrote down what came to their mind, not
every relation, so a pair without one is no negative sample: ``exhaustive`` is False.
"""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np

from vinfer.errors import TrainingError
from vinfer.training.annotations import (
    Triplet,
    box_array,
    distinct_names,
    is_index,
    is_number,
    read_json_object,
    triplet_array,
    unique_triplets,
    usable_box,
)
from vinfer.training.picture_folder import PictureFolder
from vinfer.training.relation_data import RelationData, RelationPicture

Size = tuple[int, int]


def load_vrd(path: Path, *, images: Path | None = None, keep_repeats: bool = False) -> RelationData:
    """Read one split.

    Args:
        path: ``train.json.gz``, ``test.json.gz`` or the same without compression.
        images: folder with the pictures. Without it their sizes are unknown and boxes are taken as
            they are; with it boxes are clipped to the picture.
        keep_repeats: keep relations that are annotated twice, and those of an object with itself.
            The published counts include them; training and pair metrics do not.

    Returns:
        The split. Skipped and counted: ``zero_area_box``, ``inverted_box``, ``non_finite_box``,
        ``out_of_range_box``, ``unknown_class``, ``unknown_predicate``, ``unknown_object``,
        ``malformed_row``, ``relation_of_skipped_object``, ``repeated_relation``,
        ``self_relation``, ``image_without_objects``; with ``images`` also ``missing_image``,
        ``unreadable_image``, ``outside_box`` and ``clipped_box``.

    Raises:
        TrainingError: the file can't be read, is not of this format, nothing in it is usable, or
            there is no folder ``images``.
    """
    data = read_json_object(path, "the VRD labels")
    classes = distinct_names(path, data.get("classes"), "classes")
    predicates = distinct_names(path, data.get("predicates"), "predicates")
    if not isinstance(data.get("images"), list):
        raise TrainingError(f'{path}: no list "images"; expected the VRD JSON format')
    folder = None if images is None else PictureFolder(images)
    skipped: collections.Counter[str] = collections.Counter()
    pictures = []
    for position, row in enumerate(data["images"]):
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), list) for key in ("objects", "relations")
        ):
            skipped["malformed_row"] += 1
            continue
        name = str(row.get("image", position))
        size = None if folder is None else folder.size(name, skipped)
        if folder is not None and size is None:
            continue
        labels, boxes, index = _objects(row["objects"], len(classes), size, skipped)
        if not labels:
            skipped["image_without_objects"] += 1
            continue
        triplets = _relations(row["relations"], index, len(predicates), skipped)
        pictures.append(
            RelationPicture(
                name=name,
                size=size,
                labels=np.array(labels, np.int64),
                boxes=box_array(boxes),
                triplets=triplet_array(triplets)
                if keep_repeats
                else unique_triplets(triplets, skipped),
            )
        )
    if not any(len(picture.triplets) for picture in pictures):
        raise TrainingError(
            f"{path}: no usable relation in {len(data['images'])} images (skipped: "
            f"{dict(skipped)}); expected objects [class, x1, y1, x2, y2] and relations "
            "[subject, predicate, object]"
        )
    return RelationData(
        classes, predicates, tuple(pictures), exhaustive=False, skipped=skipped, read=folder
    )


def _objects(
    rows: list[Any], num_classes: int, size: Size | None, skipped: collections.Counter[str]
) -> tuple[list[int], list[list[float]], list[int | None]]:
    """Labels, boxes, and from the file's index to ours; None: the row was skipped."""
    labels: list[int] = []
    boxes: list[list[float]] = []
    index: list[int | None] = []
    for row in rows:
        index.append(None)
        if not isinstance(row, list) or len(row) != 5 or not all(map(is_number, row)):
            skipped["malformed_row"] += 1
        elif not is_index(row[0], num_classes):
            skipped["unknown_class"] += 1
        elif (box := usable_box(row[1:], size, skipped)) is not None:
            index[-1] = len(labels)
            labels.append(row[0])
            boxes.append(box)
    return labels, boxes, index


def _relations(
    rows: list[Any],
    index: list[int | None],
    num_predicates: int,
    skipped: collections.Counter[str],
) -> list[Triplet]:
    triplets: list[Triplet] = []
    for row in rows:
        if not isinstance(row, list) or len(row) != 3:
            skipped["malformed_row"] += 1
            continue
        subject, predicate, object_ = row
        if not is_index(predicate, num_predicates):
            skipped["unknown_predicate"] += 1
        elif not is_index(subject, len(index)) or not is_index(object_, len(index)):
            skipped["unknown_object"] += 1
        elif (s := index[subject]) is None or (o := index[object_]) is None:
            skipped["relation_of_skipped_object"] += 1
        else:
            triplets.append((s, predicate, o))
    return triplets
