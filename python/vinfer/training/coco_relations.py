"""Boxes in COCO's format with a second file of relations between them.

The boxes: ``images`` (``id``, ``file_name``, ``width``, ``height``, and optionally ``split``),
``annotations`` (``id``, ``image_id``, ``category_id``, ``bbox`` ``[x, y, width, height]``,
``iscrowd``) and ``categories`` (``id``, ``name``), as cocodataset.org/#format-data says.

The relations, schema ``vinfer-relations-truth/1``: ``predicates`` (names), ``exhaustive`` and
``images``: by image id ``kept``, the annotation ids between which all relations are labelled, and
``relations`` ``[subject, predicate, object, certainty]``, by annotation id and name, with certainty
``sure`` or ``doubtful``.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vinfer.errors import TrainingError
from vinfer.training.annotations import (
    Triplet,
    box_array,
    distinct_names,
    is_number,
    read_json_object,
    unique_triplets,
    usable_box,
)
from vinfer.training.picture_folder import PictureFolder
from vinfer.training.relation_data import RelationData, RelationPicture

SCHEMA = "vinfer-relations-truth/1"

Skipped = collections.Counter[str]


def load_coco_relations(
    annotations: Path,
    relations: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
) -> RelationData:
    """Read boxes and the relations between them.

    Args:
        annotations: COCO's format.
        relations: schema ``vinfer-relations-truth/1``.
        images: folder with the pictures; None: the data is without pixels.
        split: only images with this ``split``, such as ``train2017``; None: all.

    Returns:
        The pictures whose relations are labelled, in the file's order. ``doubtful`` relations are
        in `RelationPicture.ignored`. Skipped and counted: ``unlabelled_image`` (not in
        ``relations``), ``unlabelled_box`` (not among ``kept``), ``crowd_box``, ``unknown_class``,
        ``unknown_object``, ``unknown_predicate``, ``malformed_row``, ``repeated_object``,
        ``repeated_relation``, ``self_relation``, ``relation_of_skipped_object``,
        ``image_without_objects``, ``missing_image`` and the reasons of `annotations.usable_box`.

    Raises:
        TrainingError: a file is missing, damaged or of another format, an image id is there
            twice, or nothing is usable.
    """
    coco = read_json_object(annotations, "COCO annotations")
    truth = read_json_object(relations, "relations between them")
    if truth.get("schema") != SCHEMA:
        raise TrainingError(
            f'{relations}: found schema {truth.get("schema")!r}, expected "{SCHEMA}"'
        )
    if not isinstance(truth.get("images"), dict) or not isinstance(truth.get("exhaustive"), bool):
        raise TrainingError(f'{relations}: expected an object "images" and a boolean "exhaustive"')
    predicates = distinct_names(relations, truth.get("predicates"), "predicates")
    skipped: Skipped = collections.Counter()
    reader = _Reader(coco, annotations, predicates, skipped)
    folder = None if images is None else PictureFolder(images)
    pictures = []
    for image in reader.images:
        if split is not None and image.get("split") != split:
            continue
        if (labelled := truth["images"].get(str(image["id"]))) is None:
            skipped["unlabelled_image"] += 1
        elif folder is not None and not (folder.folder / image["file_name"]).is_file():
            skipped["missing_image"] += 1
        elif (picture := reader.picture(image, labelled)) is not None:
            pictures.append(picture)
    if not any(len(picture.triplets) for picture in pictures):
        raise TrainingError(
            f"{relations}: no usable relation in {len(pictures)} pictures of {annotations}"
            f"{'' if split is None else f', split {split}'} (skipped: {dict(skipped)})"
        )
    return RelationData(
        reader.classes, predicates, tuple(pictures), truth["exhaustive"], skipped, read=folder
    )


class _Reader:
    """One annotation file, by image and by category."""

    def __init__(
        self, coco: Mapping[str, Any], path: Path, predicates: tuple[str, ...], skipped: Skipped
    ) -> None:
        for key in ("images", "annotations", "categories"):
            if not isinstance(coco.get(key), list):
                raise TrainingError(f'{path}: no list "{key}"; expected the COCO format')
        categories = [
            row for row in coco["categories"] if isinstance(row, dict) and _is_id(row.get("id"))
        ]
        self.classes = distinct_names(path, [row.get("name") for row in categories], "categories")
        self._label = {row["id"]: k for k, row in enumerate(categories)}
        self._predicate = {name: k for k, name in enumerate(predicates)}
        self._skipped = skipped
        self.images = [row for row in coco["images"] if _is_image(row)]
        if malformed := len(coco["images"]) - len(self.images):
            skipped["malformed_row"] += malformed
        self._boxes: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in self.images}
        names = {row["file_name"] for row in self.images}
        if not len(self._boxes) == len(names) == len(self.images):
            raise TrainingError(f"{path}: an image id or file name is there twice")
        for row in coco["annotations"]:
            if not _is_annotation(row):
                skipped["malformed_row"] += 1
            elif row["image_id"] in self._boxes:
                self._boxes[row["image_id"]].append(row)

    def picture(self, image: Mapping[str, Any], labelled: object) -> RelationPicture | None:
        if not isinstance(labelled, dict) or not all(
            isinstance(labelled.get(key), list) for key in ("kept", "relations")
        ):
            self._skipped["malformed_row"] += 1
            return None
        size = (image["height"], image["width"])
        labels, boxes, index = self._objects(self._boxes[image["id"]], labelled["kept"], size)
        if not labels:
            self._skipped["image_without_objects"] += 1
            return None
        sure, doubtful = self._relations(labelled["relations"], index)
        triplets = unique_triplets(sure, self._skipped)
        # Stated twice with different certainty: the sure one stands.
        stated = set(map(tuple, triplets.tolist()))
        if again := sum(triplet in stated for triplet in doubtful):
            self._skipped["repeated_relation"] += again
        return RelationPicture(
            name=image["file_name"],
            size=size,
            labels=np.array(labels, np.int64),
            boxes=box_array(boxes),
            triplets=triplets,
            ignored=unique_triplets((t for t in doubtful if t not in stated), self._skipped),
        )

    def _objects(
        self, rows: list[dict[str, Any]], kept: list[Any], size: tuple[int, int]
    ) -> tuple[list[int], list[list[float]], dict[int, int | None]]:
        """Labels, boxes, and from annotation id to ours; None: the box is left out."""
        labels: list[int] = []
        boxes: list[list[float]] = []
        index: dict[int, int | None] = {}
        wanted = {value for value in kept if isinstance(value, int)}
        for row in rows:
            if row["id"] in index:
                self._skipped["repeated_object"] += 1
                continue
            index[row["id"]] = None
            if row["id"] not in wanted:
                self._skipped["unlabelled_box"] += 1
            elif row.get("iscrowd"):
                self._skipped["crowd_box"] += 1
            elif row["category_id"] not in self._label:
                self._skipped["unknown_class"] += 1
            else:
                x, y, width, height = row["bbox"]
                box = usable_box((x, y, x + width, y + height), size, self._skipped)
                if box is not None:
                    index[row["id"]] = len(labels)
                    labels.append(self._label[row["category_id"]])
                    boxes.append(box)
        return labels, boxes, index

    def _relations(
        self, rows: list[Any], index: Mapping[int, int | None]
    ) -> tuple[list[Triplet], list[Triplet]]:
        """The sure and the doubtful ones."""
        triplets: dict[str, list[Triplet]] = {"sure": [], "doubtful": []}
        for row in rows:
            if not _is_relation(row) or row[3] not in triplets:
                self._skipped["malformed_row"] += 1
                continue
            subject, predicate, object_, certainty = row
            if predicate not in self._predicate:
                self._skipped["unknown_predicate"] += 1
            elif subject not in index or object_ not in index:
                self._skipped["unknown_object"] += 1
            elif (s := index[subject]) is None or (o := index[object_]) is None:
                self._skipped["relation_of_skipped_object"] += 1
            else:
                triplets[certainty].append((s, self._predicate[predicate], o))
        return triplets["sure"], triplets["doubtful"]


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_image(row: object) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("file_name"), str)
        and _is_id(row.get("id"))
        and all(_is_id(row.get(key)) and row[key] > 0 for key in ("height", "width"))
    )


def _is_annotation(row: object) -> bool:
    return (
        isinstance(row, dict)
        and all(_is_id(row.get(key)) for key in ("id", "image_id", "category_id"))
        and isinstance(row.get("bbox"), list)
        and len(row["bbox"]) == 4
        and all(map(is_number, row["bbox"]))
    )


def _is_relation(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 4
        and _is_id(row[0])
        and isinstance(row[1], str)
        and _is_id(row[2])
        and isinstance(row[3], str)
    )
