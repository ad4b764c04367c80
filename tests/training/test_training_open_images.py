"""The Open Images reader on made-up files in the data set's own formats, and on damaged ones."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from vinfer.errors import TrainingError
from vinfer.training.open_images import PREDICATES, load_open_images
from vinfer.training.relation_data import RelationData, RelationPicture

SAMPLE = Path(__file__).with_name("open_images")
RELATIONS, BOXES = "oidv6-train-annotations-vrd.csv", "oidv6-train-annotations-bbox.csv"
CLASSES = "oidv6-class-descriptions-boxable.csv"
PERSON, GUITAR, CHAIR, TABLE, CUP = range(5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the sample with its pictures, 200x100 and 60x80 pixels."""
    for path in SAMPLE.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "train").mkdir()
    for name, shape in (("00a1000000000001", (100, 200, 3)), ("00b2000000000002", (80, 60, 3))):
        cv2.imwrite(str(tmp_path / "train" / f"{name}.jpg"), np.full(shape, 90, np.uint8))
    return tmp_path


def load(
    folder: Path,
    *,
    with_boxes: bool = True,
    predicates: Sequence[str] = PREDICATES,
    classes: str = CLASSES,
) -> RelationData:
    return load_open_images(
        folder / RELATIONS,
        folder / classes,
        folder / "train",
        boxes=folder / BOXES if with_boxes else None,
        predicates=predicates,
    )


def named(data: RelationData, picture: RelationPicture) -> list[tuple[str, str, str]]:
    names = [data.classes[label] for label in picture.labels]
    return [(names[s], data.predicates[p], names[o]) for s, p, o in picture.triplets.tolist()]


def add_lines(path: Path, *lines: str) -> None:
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))


def test_sample_is_read(folder: Path) -> None:
    data = load(folder)
    assert data.classes == ("Person", "Guitar", "Chair", "Table", "Coffee cup")
    assert data.predicates == PREDICATES
    assert data.exhaustive
    room, kitchen = data.pictures
    assert (room.name, room.size) == ("00a1000000000001", (100, 200))
    assert (kitchen.name, kitchen.size) == ("00b2000000000002", (80, 60))
    assert named(data, room) == [
        ("Person", "on", "Chair"),
        ("Person", "holds", "Guitar"),
        ("Person", "plays", "Guitar"),
    ]
    # The fourth chair's box is only in the boxes' file: nothing is on it.
    assert sorted(room.labels.tolist()) == [PERSON, GUITAR, CHAIR, CHAIR]
    person = room.boxes[room.triplets[0, 0]]
    np.testing.assert_allclose(person, [20, 20, 80, 90], atol=1e-4)
    # "drink" is not among the predicates, so the person has no relation, but is there.
    assert named(data, kitchen) == [("Coffee cup", "on", "Table")]
    assert sorted(kitchen.labels.tolist()) == [PERSON, TABLE, CUP]
    assert data.skipped == {
        "attribute": 2,
        "repeated_relation": 1,
        "unknown_predicate": 1,
        "unknown_class": 2,
        "group_box": 1,
    }


def test_pictures_are_read_by_name(folder: Path) -> None:
    data = load(folder)
    assert data.read is not None
    assert data.read(data.pictures[0]).shape == (100, 200, 3)
    (folder / "train" / "00a1000000000001.jpg").unlink()
    with pytest.raises(TrainingError, match=r"00a1000000000001\.jpg: can't be read"):
        data.read(data.pictures[0])


def test_without_boxes_only_related_objects_are_there(folder: Path) -> None:
    data = load(folder, with_boxes=False)
    assert [len(picture.labels) for picture in data.pictures] == [3, 2]
    assert [len(picture.triplets) for picture in data.pictures] == [3, 1]
    assert "group_box" not in data.skipped


def test_files_of_other_versions_are_the_same(folder: Path) -> None:
    """V4 and V5 name classes without a header; the challenge's boxes have fewer columns."""
    new = load(folder)
    boxes = (folder / BOXES).read_text().splitlines()
    columns = [0, 2, 4, 5, 6, 7, 10]
    (folder / BOXES).write_text(
        "\n".join(",".join(line.split(",")[k] for k in columns) for line in boxes)
    )
    old = load(folder, classes="class-descriptions-boxable.csv")
    assert new.classes == old.classes
    assert_same(new, old)


def assert_same(a: RelationData, b: RelationData) -> None:
    assert a.skipped == b.skipped
    for one, other in zip(a.pictures, b.pictures, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.triplets, other.triplets)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_lines_does_not_matter(folder: Path, seed: int) -> None:
    expected = load(folder)
    for name in (RELATIONS, BOXES):
        header, *lines = (folder / name).read_text().splitlines()
        np.random.default_rng(seed).shuffle(lines)
        (folder / name).write_text("\n".join([header, *lines]))
    assert_same(load(folder), expected)


def test_other_predicates_can_be_learnt(folder: Path) -> None:
    data = load(folder, predicates=("drink", "on"))
    assert named(data, data.pictures[1]) == [
        ("Person", "drink", "Coffee cup"),
        ("Coffee cup", "on", "Table"),
    ]
    assert data.skipped["unknown_predicate"] == 4
    only_drink = load(folder, predicates=("drink",))
    assert [picture.name for picture in only_drink.pictures] == ["00b2000000000002"]


def test_fewer_classes_leave_out_their_objects(folder: Path) -> None:
    lines = (folder / CLASSES).read_text().splitlines()
    (folder / CLASSES).write_text("\n".join(line for line in lines if "Chair" not in line))
    data = load(folder)
    assert "Chair" not in data.classes
    assert named(data, data.pictures[0]) == [
        ("Person", "holds", "Guitar"),
        ("Person", "plays", "Guitar"),
    ]


ROOM, KITCHEN = "00a1000000000001", "00b2000000000002"
GUITAR_BOX = "0.2,0.5,0.4,0.7"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{ROOM},/m/01g317,/m/0342h,0.1,0.4,0.2,0.9,0.2,nan,0.4,0.7,at", "non_finite_box"),
        (f"{ROOM},/m/01g317,/m/0342h,0.1,0.4,0.2,inf,{GUITAR_BOX},at", "non_finite_box"),
        (f"{ROOM},/m/01g317,/m/0342h,0.1,0.4,0.2,x,{GUITAR_BOX},at", "malformed_row"),
        (f"{ROOM},/m/01g317,/m/0342h,0.1,0.4,0.2,{GUITAR_BOX},at", "malformed_row"),
        (f"{ROOM},/m/01g317,/m/0342h,0.4,0.1,0.2,0.9,{GUITAR_BOX},at", "inverted_box"),
        (f"{ROOM},/m/01g317,/m/0342h,0.4,0.4,0.2,0.9,{GUITAR_BOX},at", "zero_area_box"),
        (f"{ROOM},/m/01g317,/m/0342h,1.1,1.4,0.2,0.9,{GUITAR_BOX},at", "outside_box"),
        (f"{ROOM},/m/01g317,/m/0342h,1e9,2e9,0.2,0.9,{GUITAR_BOX},at", "out_of_range_box"),
        (f"{ROOM},/m/nobody,/m/0342h,0.1,0.4,0.2,0.9,{GUITAR_BOX},at", "unknown_class"),
        (f"{ROOM},/m/0342h,/m/0342h,{GUITAR_BOX},{GUITAR_BOX},at", "self_relation"),
        (f"{ROOM},/m/0342h,/m/01g317,{GUITAR_BOX},0.1,0.4,0.2,0.9,near", "unknown_predicate"),
        (f"missing0,/m/01g317,/m/0342h,0.1,0.4,0.2,0.9,{GUITAR_BOX},at", "missing_image"),
    ],
)
def test_lines_that_can_not_be_used_are_counted(folder: Path, line: str, reason: str) -> None:
    before = load(folder)
    add_lines(folder / RELATIONS, line)
    after = load(folder)
    assert after.skipped[reason] == before.skipped[reason] + 1
    assert [len(picture.triplets) for picture in after.pictures] == [3, 1]
    assert [len(picture.labels) for picture in after.pictures] == [4, 3]


def test_relations_of_a_box_that_can_not_be_used_are_counted_each(folder: Path) -> None:
    person = "/m/01g317,/m/0342h,0.4,0.4,0.2,0.9"
    add_lines(
        folder / RELATIONS,
        f"{ROOM},{person},{GUITAR_BOX},at",
        f"{ROOM},{person},{GUITAR_BOX},holds",
    )
    skipped = load(folder).skipped
    assert skipped["zero_area_box"] == 1
    assert skipped["relation_of_skipped_object"] == 2


def test_boxes_are_clipped_to_the_picture(folder: Path) -> None:
    # 60 px are left of the picture, which is counted; 0.2 px right of it are rounding.
    add_lines(
        folder / RELATIONS,
        f"{ROOM},/m/01mzpv,/m/04bcr3,-0.3,0.2,0.1,0.2,0.9,1.001,0.9,1.0,at",
    )
    data = load(folder)
    room = data.pictures[0]
    assert data.skipped["clipped_box"] == 1
    assert (room.boxes >= 0).all()
    assert (room.boxes <= [200, 100, 200, 100]).all()
    subject, _, object_ = next(t for t in room.triplets.tolist() if data.predicates[t[1]] == "at")
    np.testing.assert_allclose(room.boxes[subject], [0, 10, 40, 20], atol=1e-4)
    np.testing.assert_allclose(room.boxes[object_], [180, 90, 200, 100], atol=1e-4)


def test_boxes_are_counted_once(folder: Path) -> None:
    add_lines(
        folder / BOXES,
        f"{ROOM},xclick,/m/0342h,1,0.2,0.5,0.4,0.70001,0,0,0,0,0" + ",0" * 8,
        f"{ROOM},xclick,/m/0342h,1,0.2,0.5,0.4,nan,0,0,0,0,0" + ",0" * 8,
        "elsewhere,xclick,/m/nobody,1,0.2,0.5,0.4,0.7,0,0,0,0,0" + ",0" * 8,
    )
    data = load(folder)
    assert data.skipped["repeated_box"] == 1
    assert data.skipped["non_finite_box"] == 1
    assert data.skipped["unknown_class"] == 2  # as before: of pictures that are read only
    assert len(data.pictures[0].labels) == 4


def test_a_group_that_is_related_to_something_stays(folder: Path) -> None:
    text = (folder / BOXES).read_text()
    (folder / BOXES).write_text(text.replace("0,0,0,0,0,0.3,0.2", "0,0,1,0,0,0.3,0.2"))
    data = load(folder)
    assert data.skipped["group_box"] == 1
    assert GUITAR in data.pictures[0].labels


def test_damaged_pictures_are_counted(folder: Path) -> None:
    (folder / "train" / f"{ROOM}.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    data = load(folder)
    assert data.skipped["unreadable_image"] == 1
    assert [picture.name for picture in data.pictures] == [KITCHEN]


def test_files_of_another_format_are_refused(folder: Path) -> None:
    with pytest.raises(TrainingError, match="no such folder; expected the pictures"):
        load_open_images(folder / RELATIONS, folder / CLASSES, folder / "nowhere")
    with pytest.raises(TrainingError, match="no such file; expected a CSV of Open Images"):
        load_open_images(folder / "nothing.csv", folder / CLASSES, folder / "train")
    with pytest.raises(TrainingError, match=r"expected also \['LabelName1', 'LabelName2'"):
        load_open_images(folder / BOXES, folder / CLASSES, folder / "train")
    with pytest.raises(TrainingError, match="expected a machine id and a name"):
        load_open_images(folder / RELATIONS, folder / RELATIONS, folder / "train")
    (folder / "latin.csv").write_bytes("ImageID,é\n".encode("latin-1"))
    with pytest.raises(TrainingError, match="not a readable CSV"):
        load_open_images(folder / "latin.csv", folder / CLASSES, folder / "train")
    (folder / "empty.csv").write_text("")
    with pytest.raises(TrainingError, match="found the columns"):
        load_open_images(folder / "empty.csv", folder / CLASSES, folder / "train")
    with pytest.raises(TrainingError, match="found 0 classes"):
        load_open_images(folder / RELATIONS, folder / "empty.csv", folder / "train")
    add_lines(folder / CLASSES, "/m/other,Person")
    with pytest.raises(TrainingError, match="found 6 classes with 5 names"):
        load(folder)


@pytest.mark.parametrize("predicates", [(), ("on", "on"), ("on", "is")])
def test_vocabularies_are_checked(folder: Path, predicates: tuple[str, ...]) -> None:
    with pytest.raises(TrainingError, match="predicates: found"):
        load(folder, predicates=predicates)


def test_nothing_usable_is_an_error(folder: Path) -> None:
    with pytest.raises(TrainingError, match="no usable relation in 0 pictures"):
        load(folder, predicates=("kisses",))
    for path in (folder / "train").iterdir():
        path.unlink()
    with pytest.raises(TrainingError, match=r"no usable relation in 2 pictures .*missing_image"):
        load(folder)
