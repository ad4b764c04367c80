"""Open Images V4 to V7: relationships and boxes as the data set's own CSV files hold them.

Formats: the download page of Open Images (storage.googleapis.com/openimages/web/download.html,
"Data formats") and of its 2018 challenge. A line of the relationships, of
``challenge-2018-train-vrd.csv`` as of ``oidv6-train-annotations-vrd.csv``, names a picture, the
classes of subject and object by machine id (``/m/...``), both boxes as shares of the picture's
width and height, and the relation. The boxes of all objects are in another file.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vinfer.errors import TrainingError
from vinfer.training.annotations import Triplet, box_array, unique_triplets, usable_box
from vinfer.training.open_images_csv import (
    ATTRIBUTE,
    Boxed,
    Related,
    Shares,
    read_boxes,
    read_class_names,
    read_relations,
)
from vinfer.training.picture_folder import PictureFolder
from vinfer.training.relation_data import RelationData, RelationPicture

PREDICATES = (
    "at",
    "on",
    "holds",
    "plays",
    "interacts_with",
    "wears",
    "inside_of",
    "under",
    "hits",
)
"""The relations of the 2018 challenge, without ``is``."""

SAME_BOX = 1e-4
"""Share of the picture by which two files may differ on one box: they are rounded differently."""


def load_open_images(
    relations: Path,
    classes: Path,
    images: Path,
    *,
    boxes: Path | None = None,
    predicates: Sequence[str] = PREDICATES,
) -> RelationData:
    """Read the relationships of one split and the objects of its pictures.

    The result does not depend on the order of lines in a file. It says ``exhaustive``, as the data
    set does, with a caveat: relations were annotated for a list of class triplets, and only
    where an annotator had confirmed that the classes are in the picture. A pair of classes outside
    that list is unrelated by construction, which is worth a lot to a model that knows the classes
    only: compare with one before believing that pixels matter.

    Args:
        relations: the relationships' CSV.
        classes: ``class-descriptions-boxable.csv`` (machine id, name; with or without a header);
            shorten it to train on fewer classes. Its order is that of the result's ``classes``.
        images: folder with ``<ImageID>.jpg``. The files' headers say how large the pictures are.
        boxes: the boxes' CSV, for the objects without a relation. Leave it out and all negative
            samples are between objects that are related to something.
        predicates: the relations to learn.

    Returns:
        The pictures with at least one line of a relation of ``predicates``, by name. Skipped and
        counted: ``attribute`` (lines of ``is``), ``unknown_predicate``, ``unknown_class``,
        ``malformed_row``, ``repeated_relation``, ``self_relation``, ``relation_of_skipped_object``,
        ``repeated_box``, ``group_box`` (a box around many objects that takes part in no relation:
        whether its pairs are related nobody said), ``image_without_objects``, ``missing_image``,
        ``unreadable_image`` and the reasons of `annotations.usable_box`.

    Raises:
        TrainingError: a file is missing, unreadable or of another format, the vocabularies are
            empty or not distinct, or nothing is usable.
    """
    names = read_class_names(classes)
    label = {machine_id: k for k, machine_id in enumerate(names)}
    skipped: collections.Counter[str] = collections.Counter()
    related = read_relations(relations, label, _predicate_index(predicates), skipped)
    boxed = {} if boxes is None else read_boxes(boxes, label, related, skipped)
    folder = PictureFolder(images, ".jpg")
    pictures = []
    for name in sorted(related):
        size = folder.size(name, skipped)
        if size is None:
            continue
        picture = _picture(name, size, related[name], boxed.get(name, ()), skipped)
        if len(picture.labels):
            pictures.append(picture)
        else:
            skipped["image_without_objects"] += 1
    if not any(len(picture.triplets) for picture in pictures):
        raise TrainingError(
            f"{relations}: no usable relation in {len(related)} pictures (skipped: "
            f"{dict(skipped)}); expected relations among {list(predicates)} between classes of "
            f"{classes}, and the pictures in {images}"
        )
    return RelationData(
        tuple(names.values()),
        tuple(predicates),
        tuple(pictures),
        exhaustive=True,
        skipped=skipped,
        read=folder,
    )


def _predicate_index(predicates: Sequence[str]) -> dict[str, int]:
    index = {name: k for k, name in enumerate(predicates)}
    if not index or len(index) != len(predicates) or ATTRIBUTE in index:
        raise TrainingError(
            f'predicates: found {list(predicates)}, expected distinct names without "{ATTRIBUTE}"'
        )
    return index


def _picture(
    name: str,
    size: tuple[int, int],
    related: Sequence[Related],
    boxed: Sequence[Boxed],
    skipped: collections.Counter[str],
) -> RelationPicture:
    objects = _Objects(size, skipped)
    triplets: list[Triplet] = []
    for subject, subject_box, predicate, object_, object_box in sorted(related):
        i, j = objects.index(subject, subject_box), objects.index(object_, object_box)
        if i is None or j is None:
            skipped["relation_of_skipped_object"] += 1
        else:
            triplets.append((i, predicate, j))
    boxes_seen: set[int] = set()
    for label, box, group in sorted(boxed):
        known = objects.find(label, box)
        if known is None and group:
            skipped["group_box"] += 1
            continue
        i = objects.index(label, box) if known is None else known
        if i in boxes_seen:
            skipped["repeated_box"] += 1
        elif i is not None:
            boxes_seen.add(i)
    return RelationPicture(
        name=name,
        size=size,
        labels=np.array(objects.labels, np.int64),
        boxes=box_array(objects.boxes),
        triplets=unique_triplets(triplets, skipped),
    )


class _Objects:
    """The objects of one picture: those of the same class and box are one."""

    def __init__(self, size: tuple[int, int], skipped: collections.Counter[str]) -> None:
        self.labels: list[int] = []
        self.boxes: list[list[float]] = []
        self._size = size
        self._skipped = skipped
        # By class, since a picture can have hundreds of boxes; None: the box can't be used.
        self._known: dict[int, list[tuple[Shares, int | None]]] = {}

    def find(self, label: int, box: Shares) -> int | None:
        """Number of a known object."""
        return self._lookup(label, box)[1]

    def index(self, label: int, box: Shares) -> int | None:
        """Number of an object that may be new; None: its box can't be used, which is counted."""
        found, number = self._lookup(label, box)
        if found:
            return number
        height, width = self._size
        x1, y1, x2, y2 = box
        pixels = (x1 * width, y1 * height, x2 * width, y2 * height)
        usable = usable_box(pixels, self._size, self._skipped)
        if usable is not None:
            number = len(self.labels)
            self.labels.append(label)
            self.boxes.append(usable)
        self._known.setdefault(label, []).append((box, number))
        return number

    def _lookup(self, label: int, box: Shares) -> tuple[bool, int | None]:
        for known, number in self._known.get(label, ()):
            if all(abs(a - b) <= SAME_BOX for a, b in zip(known, box, strict=True)):
                return True, number
        return False, None
