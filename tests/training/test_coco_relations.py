"""Boxes in COCO's format with relations between them, on made-up files and on the real ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vinfer.errors import TrainingError
from vinfer.training.batches import BatchSettings, RelationBatches
from vinfer.training.coco_relations import load_coco_relations

SAMPLE = Path(__file__).with_name("coco_relations")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the sample with its pictures."""
    for path in SAMPLE.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "images").mkdir()
    for name, shape in (("kitchen", (48, 64, 3)), ("street", (80, 40, 3)), ("crowd", (32, 32, 3))):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.full(shape, 90, np.uint8))
    return tmp_path


def load(folder: Path, **options: Any) -> Any:
    return load_coco_relations(folder / "annotations.json", folder / "relations.json", **options)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_sample_is_read_and_bad_rows_are_counted(folder: Path) -> None:
    data = load(folder)
    assert data.classes == ("person", "bicycle", "cup", "dining table")
    assert data.predicates == ("on", "holds", "rides")
    assert data.exhaustive
    assert data.read is None
    kitchen, street = data.pictures
    assert (kitchen.name, kitchen.size) == ("kitchen.png", (48, 64))
    assert kitchen.labels.tolist() == [3, 2, 2, 0]
    np.testing.assert_array_equal(kitchen.boxes[1], np.float32([10, 16.5, 18, 28.5]))
    assert kitchen.triplets.tolist() == [[1, 0, 0], [2, 0, 0]]
    # What is both sure and doubtful is sure.
    assert kitchen.ignored.tolist() == [[3, 1, 1], [2, 1, 0]]
    assert street.triplets.tolist() == [[0, 2, 1]]
    assert street.ignored.tolist() == [[0, 0, 1]]
    np.testing.assert_array_equal(street.boxes, np.float32([[0, 10, 20, 70], [2, 40, 32, 80]]))
    assert data.skipped == {
        "malformed_row": 4,  # an image without a size, a box of three numbers, two relations
        "unlabelled_image": 1,
        "unlabelled_box": 1,
        "crowd_box": 1,
        "unknown_class": 1,
        "zero_area_box": 1,
        "outside_box": 1,
        "clipped_box": 1,
        "image_without_objects": 1,
        "unknown_predicate": 1,
        "unknown_object": 1,
        "self_relation": 1,
        "repeated_relation": 2,
        "relation_of_skipped_object": 2,
    }


def test_doubtful_relations_are_neither_positives_nor_negatives(folder: Path) -> None:
    data = load(folder, images=folder / "images")
    settings = BatchSettings(short_side=32, long_side=64)
    for batch in RelationBatches(data, settings).epoch(0):
        if batch.names == ("street.png",):
            # The rider may be "on" the bicycle; only the reverse pair is a negative.
            assert batch.pairs.tolist() == [[0, 0, 1], [0, 1, 0]]
            assert batch.labels.tolist() == [[0, 0, 1], [0, 0, 0]]
            assert batch.known.tolist() == [[False, True, True], [True, True, True]]
        else:
            # 12 ordered pairs: 2 of them positive, 1 only doubtful.
            assert [0, 3, 1] not in batch.pairs.tolist()
            assert batch.labels.any(1).sum() == 2


def test_pictures_of_one_split(folder: Path) -> None:
    assert [picture.name for picture in load(folder, split="val2017").pictures] == ["street.png"]
    assert [picture.name for picture in load(folder, split="train2017").pictures] == ["kitchen.png"]
    with pytest.raises(TrainingError, match=r"no usable relation in 0 pictures .* split test2017"):
        load(folder, split="test2017")


def test_pictures_are_read_and_checked(folder: Path) -> None:
    data = load(folder, images=folder / "images")
    assert data.read(data.pictures[0]).shape == (48, 64, 3)
    cv2.imwrite(str(folder / "images" / "kitchen.png"), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(TrainingError, match="found 30x20 px, but its annotations are for 64x48"):
        data.read(data.pictures[0])
    (folder / "images" / "kitchen.png").unlink()
    assert load(folder, images=folder / "images").skipped["missing_image"] == 1


def test_exhaustive_is_what_the_file_says(folder: Path) -> None:
    change(folder / "relations.json", exhaustive=False)
    assert not load(folder).exhaustive


@pytest.mark.parametrize(
    ("file", "changes", "text"),
    [
        ("relations.json", {"schema": "other/1"}, "found schema 'other/1'"),
        ("relations.json", {"images": []}, 'expected an object "images"'),
        ("relations.json", {"exhaustive": "yes"}, 'a boolean "exhaustive"'),
        ("relations.json", {"predicates": ["on", "on"]}, '"predicates" is not a list of distinct'),
        ("relations.json", {"images": {"11": {"kept": 1}}}, "no usable relation in 0"),
        ("annotations.json", {"images": None}, 'no list "images"'),
        ("annotations.json", {"annotations": {}}, 'no list "annotations"'),
        ("annotations.json", {"categories": [{"id": 1}]}, '"categories" is not a list'),
        ("annotations.json", {"annotations": []}, "no usable relation in 0"),
    ],
)
def test_other_formats_are_refused(
    folder: Path, file: str, changes: dict[str, Any], text: str
) -> None:
    change(folder / file, **changes)
    with pytest.raises(TrainingError, match=text):
        load(folder)


@pytest.mark.parametrize("again", [{"id": 11}, {"file_name": "kitchen.png"}])
def test_images_that_are_there_twice_are_refused(folder: Path, again: dict[str, Any]) -> None:
    images = json.loads((folder / "annotations.json").read_text())["images"]
    change(folder / "annotations.json", images=[*images, {**images[1], "id": 99, **again}])
    with pytest.raises(TrainingError, match="is there twice"):
        load(folder)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([float("nan"), 0, 5, 5], "non_finite_box"),
        ([0, 0, float("inf"), 5], "non_finite_box"),
        ([10**400, 0, 5, 5], "out_of_range_box"),
        ([9, 9, -5, 5], "inverted_box"),
        ([10, 10, 1e-9, 5], "zero_area_box"),
        ([True, 0, 5, 5], "malformed_row"),
        (None, "malformed_row"),
    ],
)
def test_boxes_that_can_not_be_used_are_counted(folder: Path, box: Any, reason: str) -> None:
    before = load(folder)
    annotations = json.loads((folder / "annotations.json").read_text())["annotations"]
    annotations[1]["bbox"] = box
    change(folder / "annotations.json", annotations=annotations)
    data = load(folder)
    assert data.skipped[reason] == before.skipped[reason] + 1
    assert data.pictures[0].labels.tolist() == [3, 2, 0]
    assert data.pictures[0].triplets.tolist() == [[1, 0, 0]]


def test_an_annotation_that_is_there_twice_is_counted(folder: Path) -> None:
    annotations = json.loads((folder / "annotations.json").read_text())["annotations"]
    change(folder / "annotations.json", annotations=[*annotations, annotations[0]])
    data = load(folder)
    assert data.skipped["repeated_object"] == 1
    assert len(data.pictures[0].labels) == 4


def test_unreadable_files_are_refused(folder: Path) -> None:
    (folder / "annotations.json").write_text("{")
    with pytest.raises(TrainingError, match="not a readable JSON file"):
        load(folder)
    (folder / "annotations.json").unlink()
    with pytest.raises(TrainingError, match="no such file; expected COCO annotations"):
        load(folder)


def test_real_pictures_are_complete(shared_data: Path) -> None:
    folder = shared_data / "coco_open"
    data = load(folder, images=folder / "images")
    assert sum(len(picture.triplets) for picture in data.pictures) == 112
    assert sum(len(picture.ignored) for picture in data.pictures) == 80
    assert sum(len(p.labels) * (len(p.labels) - 1) for p in data.pictures) == 3096
    assert data.skipped == {"unlabelled_box": 128, "image_without_objects": 3}
    batches = RelationBatches(data, BatchSettings(num_pictures=4, short_side=96, long_side=192))
    batch = next(batches.epoch(0, num_threads=2))
    assert batch.images.shape[0] == 4
    assert 0.25 <= batch.labels.any(1).mean() <= 0.75
