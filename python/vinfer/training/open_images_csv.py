"""The CSV files of Open Images, line by line: the columns that vinfer needs, by their names."""

from __future__ import annotations

import collections
import csv
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vinfer.errors import TrainingError

ATTRIBUTE = "is"
"""States a property ("table is wooden"): no relation, though it has the form of one."""

_BOX = ("XMin{}", "YMin{}", "XMax{}", "YMax{}")
_RELATION_COLUMNS = (
    "ImageID",
    "LabelName1",
    "LabelName2",
    "RelationshipLabel",
    *(name.format(1) for name in _BOX),
    *(name.format(2) for name in _BOX),
)
_BOX_COLUMNS = ("ImageID", "LabelName", "IsGroupOf", *(name.format("") for name in _BOX))

Shares = tuple[float, ...]
"""A box as x1, y1, x2, y2 in shares of the picture's width and height."""

Related = tuple[int, Shares, int, int, Shares]
Boxed = tuple[int, Shares, bool]


def read_relations(
    path: Path,
    label: Mapping[str, int],
    predicate: Mapping[str, int],
    skipped: collections.Counter[str],
) -> dict[str, list[Related]]:
    """(subject's label, box, predicate, object's label, box) of each usable line, by picture."""
    pictures: dict[str, list[Related]] = {}
    for name, subject, object_, relation, *corners in _rows(path, _RELATION_COLUMNS, skipped):
        if relation == ATTRIBUTE:
            skipped["attribute"] += 1
        elif relation not in predicate:
            skipped["unknown_predicate"] += 1
        elif subject not in label or object_ not in label:
            skipped["unknown_class"] += 1
        elif (shares := _shares(corners, skipped)) is not None:
            pictures.setdefault(name, []).append(
                (label[subject], shares[:4], predicate[relation], label[object_], shares[4:])
            )
    return pictures


def read_boxes(
    path: Path,
    label: Mapping[str, int],
    wanted: Mapping[str, object],
    skipped: collections.Counter[str],
) -> dict[str, list[Boxed]]:
    """(label, box, whether it is around a group) of each usable line, by picture."""
    pictures: dict[str, list[Boxed]] = {}
    for name, class_, group, *corners in _rows(path, _BOX_COLUMNS, skipped):
        if name not in wanted:
            continue
        if class_ not in label:
            skipped["unknown_class"] += 1
        elif (shares := _shares(corners, skipped)) is not None:
            # -1 says that it is not known.
            pictures.setdefault(name, []).append((label[class_], shares, group == "1"))
    return pictures


def read_class_names(path: Path) -> dict[str, str]:
    """Machine id -> name, in the file's order. V6 and V7 have a header, V4 and V5 have none."""
    names = {}
    for row in _lines(path):
        if len(row) != 2:
            raise TrainingError(f"{path}: found a row {row}, expected a machine id and a name")
        if row[0].startswith("/"):
            names[row[0]] = row[1]
    if not names or len(set(names.values())) != len(names):
        raise TrainingError(
            f"{path}: found {len(names)} classes with {len(set(names.values()))} names, expected "
            "rows of a machine id (/m/...) and a distinct name"
        )
    return names


def _rows(
    path: Path, columns: Sequence[str], skipped: collections.Counter[str]
) -> Iterator[tuple[str, ...]]:
    """The cells of these columns of each line, by the names in the first line."""
    lines = _lines(path)
    header = next(lines, [])
    missing = [name for name in columns if name not in header]
    if missing:
        raise TrainingError(f"{path}: found the columns {header}, expected also {missing}")
    # A file has up to 15 million lines: a generator takes 40 % longer for them.
    cells = operator.itemgetter(*(header.index(name) for name in columns))
    for row in lines:
        if len(row) == len(header):
            yield cells(row)
        else:
            skipped["malformed_row"] += 1


def _lines(path: Path) -> Iterator[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from (row for row in csv.reader(file) if row)
    except FileNotFoundError as exc:
        raise TrainingError(f"{path}: no such file; expected a CSV of Open Images") from exc
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise TrainingError(f"{path}: not a readable CSV ({exc}); get it again") from exc


def _shares(cells: Sequence[str], skipped: collections.Counter[str]) -> Shares | None:
    try:
        shares = tuple(map(float, cells))
    except ValueError:
        skipped["malformed_row"] += 1
        return None
    if all(map(math.isfinite, shares)):
        return shares
    skipped["non_finite_box"] += 1
    return None
