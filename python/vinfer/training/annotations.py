"""What the readers of relation data sets share: files, boxes and triplets that may be broken.

A row that can't be used is left out and counted, so that one bad line among millions does not stop
a training, and the counts show when it is more than one.
"""

from __future__ import annotations

import collections
import gzip
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vinfer.errors import TrainingError
from vinfer.types import Float32Array, Int64Array

GZIP_MAGIC = b"\x1f\x8b"

LARGEST_COORDINATE = 2**24
"""Pixels; beyond it float32 skips whole ones."""

ROUNDING = 0.5
"""Pixels that a box may leave the picture by without being counted: annotations are rounded."""

Triplet = tuple[int, int, int]


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON file, plain or gzip, that holds an object.

    Args:
        path: the file.
        what: is expected there, for the message.

    Raises:
        TrainingError: the file is missing, damaged, or holds something else.
    """
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw.startswith(GZIP_MAGIC) else raw
        data = json.loads(text)
    except FileNotFoundError as exc:
        raise TrainingError(f"{path}: no such file; expected {what} there") from exc
    except (OSError, EOFError, ValueError) as exc:
        raise TrainingError(f"{path}: not a readable JSON file ({exc}); get it again") from exc
    if not isinstance(data, dict):
        raise TrainingError(f"{path}: found a JSON {type(data).__name__}, expected an object")
    return data


def distinct_names(path: Path, names: object, key: str) -> tuple[str, ...]:
    """A vocabulary.

    Raises:
        TrainingError: ``names``, found in the file at ``key``, is not a list of distinct names.
    """
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) != len(names)
    ):
        raise TrainingError(f'{path}: "{key}" is not a list of distinct names')
    return tuple(names)


def is_number(value: object) -> bool:
    """Whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_index(value: object, size: int) -> bool:
    """Whether a JSON value is an index into something of this size."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size


def usable_box(
    box: Sequence[float], size: tuple[int, int] | None, skipped: collections.Counter[str]
) -> list[float] | None:
    """A box as it may stand in a `RelationPicture`.

    Args:
        box: xyxy in pixels.
        size: (height, width) of the picture that the box is clipped to; None: it is not clipped.
        skipped: counts ``non_finite_box``, ``out_of_range_box``, ``inverted_box``,
            ``zero_area_box``, ``outside_box`` (no part of it is in the picture) and ``clipped_box``
            (it is kept, but left the picture by more than `ROUNDING`).

    Returns:
        xyxy, each a float32 value, with x1 < x2 and y1 < y2; None: leave the object out.
    """
    # By comparisons, which hold for integers that are too large to become a float, too.
    if any(v != v or abs(v) == math.inf for v in box):
        skipped["non_finite_box"] += 1
        return None
    if any(abs(v) > LARGEST_COORDINATE for v in box):
        skipped["out_of_range_box"] += 1
        return None
    # As float32, for what is wider than zero in float64 need not be so there.
    x1, y1, x2, y2 = np.asarray(box, np.float32).tolist()
    if x2 < x1 or y2 < y1:
        skipped["inverted_box"] += 1
    elif x2 == x1 or y2 == y1:
        skipped["zero_area_box"] += 1
    elif size is None:
        return [x1, y1, x2, y2]
    else:
        height, width = size
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            skipped["outside_box"] += 1
            return None
        if max(-x1, -y1, x2 - width, y2 - height) > ROUNDING:
            skipped["clipped_box"] += 1
        return [max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))]
    return None


def unique_triplets(triplets: Iterable[Triplet], skipped: collections.Counter[str]) -> Int64Array:
    """Each triplet once, in order of its first appearance, none of an object with itself.

    Args:
        triplets: subject, predicate, object.
        skipped: counts ``self_relation`` and ``repeated_relation``.

    Returns:
        int64 ``[k, 3]``.
    """
    kept: dict[Triplet, None] = {}
    for triplet in triplets:
        if triplet[0] == triplet[2]:
            skipped["self_relation"] += 1
        elif triplet in kept:
            skipped["repeated_relation"] += 1
        else:
            kept[triplet] = None
    return triplet_array(kept)


def triplet_array(triplets: Iterable[Triplet]) -> Int64Array:
    """int64 ``[k, 3]``, also for none."""
    return np.array(list(triplets), np.int64).reshape(-1, 3)


def box_array(boxes: Sequence[Sequence[float]]) -> Float32Array:
    """float32 ``[n, 4]``, also for none."""
    return np.array(boxes, np.float32).reshape(-1, 4)
