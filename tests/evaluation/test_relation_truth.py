"""Verdicts on relations of pictures that are labelled exhaustively, on a made-up picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vinfer.errors import SourceNotFoundError, UnsupportedSourceError
from vinfer.evaluation.relation_truth import (
    FALSE,
    LEFT_OUT,
    TRUE,
    LabelledPicture,
    judge,
    load_relation_truth,
)
from vinfer.types import Detections, Relations

PREDICATES = {"on": "on", "rides": "ride"}
NAMES = ("person", "horse", "hat")


def annotations() -> dict[str, Any]:
    boxes = {11: (1, [0, 0, 10, 20]), 12: (2, [0, 10, 30, 20]), 13: (3, [2, 0, 4, 3])}
    boxes[14] = (1, [50, 0, 10, 20])
    return {
        "images": [{"id": 7, "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"}],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(NAMES)],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": category, "bbox": box}
            for i, (category, box) in boxes.items()
        ],
    }


def relations(**changes: Any) -> dict[str, Any]:
    labelled = {
        "kept": [11, 12, 13],
        "relations": [
            [11, "rides", 12, "sure"],
            [11, "on", 12, "sure"],
            [13, "on", 11, "sure"],
            [13, "on", 12, "doubtful"],
            [11, "feeds", 12, "sure"],
        ],
    }
    return {"schema": "vinfer-relations-truth/1", "images": {"7": labelled}, **changes}


def load(folder: Path, truth: object, **options: Any) -> list[LabelledPicture]:
    (folder / "a.json").write_text(json.dumps(annotations()))
    (folder / "r.json").write_text(json.dumps(truth))
    return load_relation_truth(folder / "a.json", folder / "r.json", PREDICATES, **options)


def every(num_objects: int) -> Relations:
    """All predicates between all objects."""
    rows = [
        (i, j, p)
        for i in range(num_objects)
        for j in range(num_objects)
        for p in range(2)
        if i != j
    ]
    columns = np.array(rows, np.int32)
    return Relations(
        columns[:, :2].copy(), columns[:, 2].copy(), np.ones(len(rows), np.float32), ("on", "ride")
    )


def verdicts(picture: LabelledPicture, found: Detections) -> dict[tuple[int, str, int], int]:
    relations = every(len(found))
    return {
        (int(i), relations.name(k), int(j)): int(verdict)
        for k, ((i, j), verdict) in enumerate(
            zip(relations.pairs, judge(picture, found, relations), strict=True)
        )
    }


def test_true_boxes(tmp_path: Path) -> None:
    (picture,) = load(tmp_path, relations(), specific={"ride": "on"})
    found = verdicts(picture, picture.objects)
    assert found[0, "ride", 1] == TRUE
    assert found[0, "on", 1] == LEFT_OUT  # the model reports only the more specific "ride"
    assert found[2, "on", 0] == TRUE
    assert found[2, "on", 1] == LEFT_OUT  # doubtful
    del found[0, "ride", 1], found[0, "on", 1], found[2, "on", 0], found[2, "on", 1]
    assert set(found.values()) == {FALSE}


def test_detections_are_matched_by_class_and_iou(tmp_path: Path) -> None:
    (picture,) = load(tmp_path, relations())
    boxes = [[1, 0, 10, 20], [0, 10, 30, 29], [50, 1, 60, 20], [0, 0, 5, 5], [0, 0, 10, 20]]
    found = Detections.untracked(
        np.array(boxes, np.float32),
        np.ones(5, np.float32),
        np.array([0, 1, 0, 0, 2], np.int32),
        NAMES,
    )
    result = verdicts(picture, found)
    assert result[0, "ride", 1] == result[0, "on", 1] == TRUE
    assert result[2, "ride", 1] == LEFT_OUT  # an annotated person, relations not labelled
    assert result[3, "ride", 1] == FALSE  # a person's box where no person is
    assert result[4, "on", 1] == FALSE  # the person's box with another class


def test_nothing_detected_and_no_relation(tmp_path: Path) -> None:
    (picture,) = load(tmp_path, relations())
    none = Detections.empty(NAMES)
    assert len(judge(picture, none, Relations.empty(("on", "ride")))) == 0


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSourceError, match=r'found schema "?\'?other'):
        load(tmp_path, relations(schema="other"))
    with pytest.raises(UnsupportedSourceError, match="does not fit"):
        load(tmp_path, relations(images={"7": {"kept": [99], "relations": []}}))
    with pytest.raises(UnsupportedSourceError, match="expected an object"):
        load(tmp_path, [])
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(UnsupportedSourceError, match="not JSON"):
        load_relation_truth(tmp_path / "a.json", tmp_path / "r.json", PREDICATES)
    with pytest.raises(SourceNotFoundError, match="no such file"):
        load_relation_truth(tmp_path / "none.json", tmp_path / "r.json", PREDICATES)
