"""The VRD labels (Lu et al., ECCV 2016) in the JSON form that vinfer trains on.

One file a split, plain or gzip: ``classes`` and ``predicates`` (lists of names) and ``images``,
each with ``objects`` ``[class, x1, y1, x2, y2]`` and ``relations``
``[subject, predicate, object]``, all by index. Pictures are neither needed nor used. A row that
can't be used is skipped and counted.
"""

from __future__ import annotations

import collections
import dataclasses
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.errors import TrainingError
from vinfer.types import Float32Array, Int64Array

GZIP_MAGIC = b"\x1f\x8b"

LARGEST_COORDINATE = 2**24
"""Pixels; beyond it float32 skips whole ones."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class VrdImage:
    """The annotated objects of one picture and the relations between them.

    Attributes:
        name: file name of the picture.
        labels: int64 ``[n]``, indices into `VrdSplit.classes`.
        boxes: float32 ``[n, 4]``, xyxy in pixels of the picture, width and height > 0.
        triplets: int64 ``[k, 3]``: subject (an object's index), predicate, object.
    """

    name: str
    labels: Int64Array
    boxes: Float32Array
    triplets: Int64Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class VrdSplit:
    """One file of the data set.

    Attributes:
        classes, predicates: the vocabularies.
        images: pictures with at least one usable object.
        skipped: rows that were left out, by reason.
    """

    classes: tuple[str, ...]
    predicates: tuple[str, ...]
    images: tuple[VrdImage, ...]
    skipped: collections.Counter[str]


def load_vrd(path: Path, *, keep_repeats: bool = False) -> VrdSplit:
    """Read one split.

    Args:
        path: ``train.json.gz``, ``test.json.gz`` or the same without compression.
        keep_repeats: keep relations that are annotated twice, and those of an object with itself.
            The published counts include them; training and pair metrics do not.

    Returns:
        The split. Skipped and counted: ``zero_area_box``, ``inverted_box``, ``non_finite_box``,
        ``out_of_range_box``, ``unknown_class``, ``unknown_predicate``, ``unknown_object``,
        ``malformed_row``, ``relation_of_skipped_object``, ``repeated_relation``,
        ``self_relation``, ``image_without_objects``.

    Raises:
        TrainingError: the file can't be read, is not of this format, or nothing in it is usable.
    """
    data = _read(path)
    classes, predicates = _names(path, data, "classes"), _names(path, data, "predicates")
    if not isinstance(data.get("images"), list):
        raise TrainingError(f'{path}: no list "images"; expected the VRD JSON format')
    skipped: collections.Counter[str] = collections.Counter()
    images = []
    for position, row in enumerate(data["images"]):
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), list) for key in ("objects", "relations")
        ):
            skipped["malformed_row"] += 1
            continue
        labels, boxes, index = _objects(row["objects"], len(classes), skipped)
        if not labels:
            skipped["image_without_objects"] += 1
            continue
        triplets = _relations(row["relations"], index, len(predicates), keep_repeats, skipped)
        images.append(
            VrdImage(
                name=str(row.get("image", position)),
                labels=np.array(labels, np.int64),
                boxes=np.array(boxes, np.float32),
                triplets=np.array(triplets, np.int64).reshape(-1, 3),
            )
        )
    if not any(len(image.triplets) for image in images):
        raise TrainingError(
            f"{path}: no usable relation in {len(data['images'])} images (skipped: "
            f"{dict(skipped)}); expected objects [class, x1, y1, x2, y2] and relations "
            "[subject, predicate, object]"
        )
    return VrdSplit(classes, predicates, tuple(images), skipped)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw
        data = json.loads(text)
    except FileNotFoundError as exc:
        raise TrainingError(f"{path}: no such file; expected the VRD labels there") from exc
    except (OSError, EOFError, ValueError) as exc:
        raise TrainingError(f"{path}: not a readable JSON file ({exc}); get it again") from exc
    if not isinstance(data, dict):
        raise TrainingError(f"{path}: found a JSON {type(data).__name__}, expected an object")
    return data


def _names(path: Path, data: dict[str, Any], key: str) -> tuple[str, ...]:
    names = data.get(key)
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) != len(names)
    ):
        raise TrainingError(f'{path}: "{key}" is not a list of distinct names')
    return tuple(names)


def _is_index(value: object, size: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size


def _objects(
    rows: list[Any], num_classes: int, skipped: collections.Counter[str]
) -> tuple[list[int], list[list[float]], dict[int, int | None]]:
    labels: list[int] = []
    boxes: list[list[float]] = []
    # From the file's index to ours; None: the row was skipped.
    index: dict[int, int | None] = {}
    for position, row in enumerate(rows):
        index[position] = None
        if (
            not isinstance(row, list)
            or len(row) != 5
            or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in row)
        ):
            skipped["malformed_row"] += 1
            continue
        label, x1, y1, x2, y2 = row
        if not _is_index(label, num_classes):
            skipped["unknown_class"] += 1
        elif not all(math.isfinite(v) for v in (x1, y1, x2, y2)):
            skipped["non_finite_box"] += 1
        elif max(abs(v) for v in (x1, y1, x2, y2)) > LARGEST_COORDINATE:
            skipped["out_of_range_box"] += 1
        elif x2 < x1 or y2 < y1:
            skipped["inverted_box"] += 1
        elif x2 == x1 or y2 == y1:
            skipped["zero_area_box"] += 1
        else:
            index[position] = len(labels)
            labels.append(label)
            boxes.append([float(x1), float(y1), float(x2), float(y2)])
    return labels, boxes, index


def _relations(
    rows: list[Any],
    index: dict[int, int | None],
    num_predicates: int,
    keep_repeats: bool,
    skipped: collections.Counter[str],
) -> list[tuple[int, int, int]]:
    triplets: list[tuple[int, int, int]] = []
    seen: set[tuple[int, int, int]] = set()
    for row in rows:
        if not isinstance(row, list) or len(row) != 3:
            skipped["malformed_row"] += 1
            continue
        subject, predicate, object_ = row
        if not _is_index(predicate, num_predicates):
            skipped["unknown_predicate"] += 1
            continue
        if not _is_index(subject, len(index)) or not _is_index(object_, len(index)):
            skipped["unknown_object"] += 1
            continue
        s, o = index[subject], index[object_]
        if s is None or o is None:
            skipped["relation_of_skipped_object"] += 1
            continue
        triplet = (s, predicate, o)
        if not keep_repeats and s == o:
            skipped["self_relation"] += 1
        elif not keep_repeats and triplet in seen:
            skipped["repeated_relation"] += 1
        else:
            triplets.append(triplet)
        seen.add(triplet)
    return triplets


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """All ordered pairs of different objects of all pictures, picture by picture.

    Attributes:
        image: int64 ``[m]``, index of the picture.
        subject_labels, object_labels: int64 ``[m]``.
        subject_boxes, object_boxes: float32 ``[m, 4]``, xyxy in pixels.
        reverse: int64 ``[m]``, index of the pair with subject and object exchanged.
        annotated: bool ``[m, predicates]``; False says only that nobody wrote it down.
    """

    image: Int64Array
    subject_labels: Int64Array
    object_labels: Int64Array
    subject_boxes: Float32Array
    object_boxes: Float32Array
    reverse: Int64Array
    annotated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.image)

    def select(self, which: npt.NDArray[np.bool_]) -> PairTable:
        """The pairs at a mask, in that order; with a pair its reverse must be chosen, too."""
        numbers = np.cumsum(which) - 1
        chosen = {f.name: getattr(self, f.name)[which] for f in dataclasses.fields(self)}
        return PairTable(**{**chosen, "reverse": numbers[chosen["reverse"]]})


def pair_table(split: VrdSplit) -> PairTable:
    """Every ordered pair (i, j), i != j, i-major within a picture; self relations are left out."""
    columns: list[list[Any]] = [[] for _ in range(7)]
    total = 0
    for number, image in enumerate(split.images):
        n = len(image.labels)
        i, j = np.nonzero(~np.eye(n, dtype=bool))
        annotated = np.zeros((n, n, len(split.predicates)), bool)
        annotated[image.triplets[:, 0], image.triplets[:, 2], image.triplets[:, 1]] = True
        for column, values in zip(
            columns,
            (
                np.full(len(i), number, np.int64),
                image.labels[i],
                image.labels[j],
                image.boxes[i],
                image.boxes[j],
                # Row i of the picture holds its n - 1 pairs in order of j, without i itself.
                total + j * (n - 1) + i - (i > j),
                annotated[i, j],
            ),
            strict=True,
        ):
            column.append(values)
        total += len(i)
    return PairTable(*(np.concatenate(column) for column in columns))
