"""The VRD loader on a committed made-up sample, on damaged ones and on the real labels."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vinfer.errors import TrainingError
from vinfer.training.relation_data import pair_table
from vinfer.training.vrd import load_vrd

SAMPLE = Path(__file__).with_name("vrd_sample.json")


def test_sample_is_read_and_bad_rows_are_counted() -> None:
    split = load_vrd(SAMPLE)
    assert split.classes == ("person", "bike", "shirt", "table", "cup")
    assert [image.name for image in split.pictures] == ["street.jpg", "kitchen.jpg", "broken.jpg"]
    assert split.skipped == {
        "repeated_relation": 1,
        "self_relation": 1,
        "zero_area_box": 2,
        "unknown_class": 1,
        "inverted_box": 1,
        "malformed_row": 3,
        "unknown_predicate": 1,
        "unknown_object": 1,
        "relation_of_skipped_object": 2,
        "image_without_objects": 1,
    }
    kitchen, broken = split.pictures[1:]
    assert kitchen.triplets.tolist() == [[1, 0, 0], [2, 0, 0], [2, 4, 1]]
    # The indices are those of the objects that are left.
    assert broken.labels.tolist() == [4, 3]
    assert broken.triplets.tolist() == [[0, 0, 1]]
    np.testing.assert_array_equal(broken.boxes, np.float32([[0, 0, 8, 8], [0, 8, 50, 20]]))


def test_repeats_can_be_kept() -> None:
    kitchen = load_vrd(SAMPLE, keep_repeats=True).pictures[1]
    assert kitchen.triplets.tolist() == [[1, 0, 0], [1, 0, 0], [2, 0, 0], [2, 4, 1], [2, 4, 2]]


def test_gzip_and_plain_are_the_same(tmp_path: Path) -> None:
    packed = tmp_path / "train.json.gz"
    packed.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    a, b = load_vrd(SAMPLE), load_vrd(packed)
    assert a.skipped == b.skipped
    for one, other in zip(a.pictures, b.pictures, strict=True):
        np.testing.assert_array_equal(one.triplets, other.triplets)


def write(path: Path, **changes: Any) -> Path:
    data = {**json.loads(SAMPLE.read_text()), **changes}
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"classes": None}, '"classes" is not a list'),
        ({"predicates": ["on", "on"]}, '"predicates" is not a list of distinct names'),
        ({"images": {}}, 'no list "images"'),
        ({"images": []}, "no usable relation in 0 images"),
        ({"images": [{"objects": [[0, 0, 0, 9, 9]], "relations": []}]}, "no usable relation in 1"),
    ],
)
def test_other_formats_are_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(TrainingError, match=text):
        load_vrd(write(tmp_path / "train.json", **changes))


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.json.gz"
    with pytest.raises(TrainingError, match="no such file"):
        load_vrd(path)
    path.write_bytes(gzip.compress(SAMPLE.read_bytes())[:200])
    with pytest.raises(TrainingError, match="not a readable JSON file"):
        load_vrd(path)
    path.write_bytes(b"\x1f\x8b" + bytes(50))
    with pytest.raises(TrainingError, match="not a readable JSON file"):
        load_vrd(path)
    path.write_text("[]")
    with pytest.raises(TrainingError, match="found a JSON list"):
        load_vrd(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e39, True, "4", None])
def test_boxes_that_are_no_numbers_are_skipped(tmp_path: Path, value: object) -> None:
    images = json.loads(SAMPLE.read_text())["images"]
    images[0]["objects"][3][2] = value
    split = load_vrd(write(tmp_path / "train.json", images=images))
    assert len(split.pictures[0].labels) == 3
    assert split.skipped["relation_of_skipped_object"] == 4


def test_pair_table_holds_all_ordered_pairs_and_their_reverse() -> None:
    split = load_vrd(SAMPLE)
    pairs = pair_table(split)
    assert len(pairs) == 4 * 3 + 3 * 2 + 2 * 1
    assert pairs.annotated.sum() == sum(len(image.triplets) for image in split.pictures)
    np.testing.assert_array_equal(pairs.reverse[pairs.reverse], np.arange(len(pairs)))
    np.testing.assert_array_equal(pairs.subject_boxes[pairs.reverse], pairs.object_boxes)
    np.testing.assert_array_equal(pairs.image[pairs.reverse], pairs.image)
    second = pairs.select(pairs.image == 1)
    np.testing.assert_array_equal(second.reverse[second.reverse], np.arange(6))
    np.testing.assert_array_equal(second.subject_boxes[second.reverse], second.object_boxes)


def test_real_labels_are_complete(shared_data: Path) -> None:
    test = load_vrd(shared_data / "vrd" / "test.json.gz")
    assert (len(test.classes), len(test.predicates), len(test.pictures)) == (100, 70, 955)
    assert test.skipped == {"repeated_relation": 160, "self_relation": 26}
    assert sum(len(image.triplets) for image in test.pictures) == 7638 - 160 - 26
    assert sum(len(image.labels) for image in test.pictures) == 6735
