"""A detector's boxes in place of the annotated ones."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import BundleError, TrainingError
from vinfer.stages.box_iou import box_iou
from vinfer.training.detected_boxes import (
    detections_of,
    match_detections,
    with_detected_boxes,
)
from vinfer.training.relation_data import RelationData, RelationPicture
from vinfer.training.sprites import make_clip_frames
from vinfer.types import Detections

CLASSES = ("person", "dog", "cup")
PERSON, DOG, CUP = range(3)

PICTURE = RelationPicture(
    name="a",
    size=(100, 100),
    labels=np.array([PERSON, DOG, DOG]),
    boxes=np.float32([[0, 0, 20, 20], [40, 0, 60, 20], [70, 70, 90, 90]]),
    triplets=np.array([[0, 0, 1], [0, 1, 2]]),
    ignored=np.array([[1, 0, 0]]),
)
DATA = RelationData(
    CLASSES, ("on", "holds"), (PICTURE,), True, collections.Counter(repeated_relation=2)
)


def found(rows: Sequence[tuple[str, float, tuple[float, float, float, float]]]) -> Detections:
    names = (*CLASSES, "car")
    return Detections.untracked(
        np.array([box for _, _, box in rows], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], np.float32),
        np.array([names.index(name) for name, _, _ in rows], np.int32),
        names,
    )


def matched(rows: Sequence[tuple[str, float, tuple[float, float, float, float]]]) -> list[int]:
    detections = found(rows)
    return match_detections(
        PICTURE, detections.labels.astype(np.int64), detections.boxes, detections.scores
    ).tolist()


def test_a_training_sees_what_a_detector_finds(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")
    from vinfer.training.relation_config import parse_training_config
    from vinfer.training.relation_training import train_relations

    data = make_clip_frames(2, 70, frames_per_clip=4, jitter=0, drop_percent=0)
    detections = detections_of(data, "sprites-detector")
    assert set(detections) == {picture.name for picture in data.pictures}
    seen = with_detected_boxes(data, detections)
    assert sum(len(p.triplets) for p in seen.pictures) > 0
    first = data.pictures[0]
    assert not np.array_equal(seen.pictures[0].boxes, first.boxes)
    assert box_iou(seen.pictures[0].boxes, first.boxes).max(1).min() > 0.5

    config = {
        "data": {
            "kind": "sprite_clips",
            "train_clips": 1,
            "validation_clips": 1,
            "drop_percent": 0,
        },
        "network": {"trunk": "slim", "filters": 4, "features": 4, "embedding_size": 2},
        "batches": {"pictures": 8, "short_side": 72, "long_side": 96},
        "detector": "sprites-detector",
        "epochs": 1,
    }
    result = train_relations(parse_training_config(config), tmp_path, data=(data, data))
    assert result.skipped == dict(seen.skipped)
    with pytest.raises(BundleError):
        train_relations(parse_training_config({**config, "detector": "none"}), tmp_path / "none")


def test_detections_are_matched_by_class_and_overlap() -> None:
    assert matched(
        [
            ("person", 0.9, (0, 0, 20, 20)),
            ("dog", 0.8, (40, 0, 60, 10)),  # IoU 1/2, just enough
            ("dog", 0.7, (70, 70, 90, 79)),  # 0.45: neither
            ("dog", 0.6, (70, 70, 90, 75)),  # 0.25: no object
            ("cup", 0.9, (0, 0, 20, 20)),  # of another class: neither
            ("cup", 0.9, (0, 50, 20, 70)),  # on nothing: no object
        ]
    ) == [0, 1, -2, -1, -2, -1]


def test_the_best_score_takes_an_object_and_a_second_box_is_neither() -> None:
    assert matched([("dog", 0.5, (40, 0, 60, 20)), ("dog", 0.6, (40, 0, 60, 18))]) == [-2, 1]
    # Equal scores: the first.
    assert matched([("dog", 0.5, (40, 0, 60, 18)), ("dog", 0.5, (40, 0, 60, 20))]) == [1, -2]


def test_a_taken_object_leaves_the_next_best_one() -> None:
    close = dataclasses.replace(
        PICTURE, boxes=np.float32([[0, 0, 20, 20], [40, 0, 60, 20], [40, 4, 60, 24]])
    )
    boxes = np.float32([[40, 1, 60, 21], [40, 0, 60, 20]])
    labels, scores = np.array([DOG, DOG]), np.float32([0.9, 0.8])
    # The first is nearer to object 1, and so the second has to be object 2.
    assert match_detections(close, labels, boxes, scores).tolist() == [1, 2]


def test_matched_boxes_inherit_relations() -> None:
    detections = found(
        [
            ("cup", 0.3, (0, 50, 20, 70)),
            ("dog", 0.8, (41, 0, 60, 20)),
            ("person", 0.9, (-5, 0, 20, 19)),
            ("dog", 0.7, (70, 70, 90, 79)),
            ("car", 0.9, (0, 0, 90, 90)),
            ("cup", 0.9, (200, 0, 210, 10)),
        ]
    )
    data = with_detected_boxes(DATA, {"a": detections})
    (picture,) = data.pictures
    assert picture.labels.tolist() == [CUP, DOG, PERSON]
    np.testing.assert_array_equal(picture.boxes[2], np.float32([0, 0, 20, 19]))
    assert picture.triplets.tolist() == [[2, 0, 1]]
    assert picture.ignored.tolist() == [[1, 0, 2]]
    assert data.exhaustive
    assert data.skipped == {
        "repeated_relation": 2,
        "clipped_box": 1,
        "unknown_detected_class": 1,
        "outside_box": 1,
        "unsure_detection": 1,
        "undetected_object": 1,
        "relation_of_undetected_object": 1,
    }


def test_pictures_without_detections_are_counted() -> None:
    other = dataclasses.replace(PICTURE, name="b")
    third = dataclasses.replace(PICTURE, name="c")
    data = dataclasses.replace(DATA, pictures=(PICTURE, other, third))
    perfect = found([("person", 0.9, (0, 0, 20, 20)), ("dog", 0.9, (40, 0, 60, 20))])
    replaced = with_detected_boxes(data, {"b": perfect, "c": Detections.empty(CLASSES)})
    assert [picture.name for picture in replaced.pictures] == ["b"]
    assert replaced.skipped["undetected_picture"] == 1
    assert replaced.skipped["image_without_detections"] == 1
    with pytest.raises(TrainingError, match=r"no annotated relation is left .* such as 'a'"):
        with_detected_boxes(data, {})


@given(st.permutations(range(6)), st.floats(0, 8))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_each_object_is_matched_at_most_once(order: list[int], shift: float) -> None:
    rows = [
        ("person", 0.1, (shift, 0.0, 20.0, 20.0)),
        ("person", 0.2, (0.0, shift, 20.0, 20.0)),
        ("dog", 0.3, (40 + shift, 0.0, 60.0, 20.0)),
        ("dog", 0.4, (40.0, 0.0, 60 + shift, 20.0)),
        ("dog", 0.5, (70 - shift, 70.0, 90.0, 90.0)),
        ("cup", 0.6, (0.0, 0.0, 20.0, 20.0)),
    ]
    straight = matched(rows)
    objects = [k for k in straight if k >= 0]
    assert len(objects) == len(set(objects))
    # Scores decide, positions do not.
    shuffled = matched([rows[k] for k in order])
    assert [shuffled[order.index(k)] for k in range(6)] == straight
