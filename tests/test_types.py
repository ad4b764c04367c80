"""Detections, relations and events: checks, conversions, round trips."""

from fractions import Fraction

import numpy as np
import pytest

from vinfer import Detections, DTypeError, Event, Participant, Relations, ShapeError

NAMES = ("person", "bicycle")


def two_objects() -> Detections:
    return Detections(
        np.array([[10, 20, 30, 60], [5.5, 40, 45, 80]], np.float32),
        np.array([0.75, 0.5], np.float32),
        np.array([0, 1], np.int32),
        np.array([3, -1], np.int64),
        NAMES,
    )


def test_empty_keeps_the_vocabulary() -> None:
    empty = Detections.empty(NAMES)
    assert len(empty) == 0
    assert empty.names == NAMES
    assert empty.to_dict() == []
    assert len(Relations.empty(("on",))) == 0


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        (
            "boxes",
            np.zeros((2, 4)),
            DTypeError,
            "boxes: found float64, expected a numpy array of float32",
        ),
        (
            "boxes",
            np.zeros((2, 5), np.float32),
            ShapeError,
            r"boxes: found shape \[2, 5\], expected \[n, 4\]",
        ),
        ("boxes", [[0, 0, 1, 1]], DTypeError, "boxes: found list"),
        (
            "scores",
            np.zeros(3, np.float32),
            ShapeError,
            r"scores: found shape \[3\], expected \[2\]",
        ),
        ("labels", np.zeros(2, np.int64), DTypeError, "labels: found int64"),
        ("track_ids", np.zeros(2, np.int32), DTypeError, "track_ids: found int32"),
    ],
)
def test_wrong_arrays_are_refused(
    field: str, value: object, error: type[Exception], message: str
) -> None:
    good = two_objects()
    fields = {n: getattr(good, n) for n in ("boxes", "scores", "labels", "track_ids", "names")}
    with pytest.raises(error, match=message):
        Detections(**{**fields, field: value})  # type: ignore[arg-type]


def test_relations_check_their_arrays() -> None:
    with pytest.raises(ShapeError, match=r"pairs: found shape \[2\], expected \[n, 2\]"):
        Relations(np.zeros(2, np.int32), np.zeros(1, np.int32), np.zeros(1, np.float32), ("on",))


def test_to_dict_names_classes_and_leaves_unknown_tracks_null() -> None:
    assert two_objects().to_dict() == [
        {"label": "person", "score": 0.75, "box": [10.0, 20.0, 30.0, 60.0], "track_id": 3},
        {"label": "bicycle", "score": 0.5, "box": [5.5, 40.0, 45.0, 80.0], "track_id": None},
    ]


def test_to_coco_gives_width_and_height() -> None:
    assert two_objects().to_coco(7, (1, 2))[1] == {
        "image_id": 7,
        "category_id": 2,
        "bbox": [5.5, 40.0, 39.5, 40.0],
        "score": 0.5,
    }


def test_to_mot_leaves_untracked_objects_out() -> None:
    assert two_objects().to_mot(1) == ["1,3,10.00,20.00,20.00,40.00,0.7500,-1,-1,-1"]


def test_select_keeps_order_of_the_index() -> None:
    chosen = two_objects().select(np.array([1, 0]))
    assert [chosen.name(i) for i in range(2)] == ["bicycle", "person"]
    assert list(chosen.track_ids) == [-1, 3]


def test_supervision_round_trip() -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    there = two_objects().to_supervision()
    assert list(there.data["class_name"]) == ["person", "bicycle"]
    back = Detections.from_supervision(there, NAMES)
    for field in ("boxes", "scores", "labels", "track_ids"):
        np.testing.assert_array_equal(getattr(back, field), getattr(two_objects(), field))


def test_from_supervision_fills_what_is_missing() -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    bare = supervision.Detections(xyxy=np.array([[0.0, 0.0, 2.0, 2.0]]))
    back = Detections.from_supervision(bare, NAMES)
    assert (back.scores[0], back.labels[0], back.track_ids[0]) == (1.0, 0, -1)


def test_relations_to_dict() -> None:
    relations = Relations(
        np.array([[0, 1]], np.int32),
        np.array([1], np.int32),
        np.array([0.5], np.float32),
        ("on", "ride"),
    )
    assert relations.to_dict() == [{"subject": 0, "predicate": "ride", "object": 1, "score": 0.5}]


def test_event_text_and_duration() -> None:
    event = Event(
        type="close",
        event_id="0" * 16,
        stream="clip",
        start=Fraction(76, 25),
        end=Fraction(137, 25),
        start_frame=76,
        end_frame=137,
        subject=Participant("person", 3, (0, 0, 1, 1)),
        predicate="ride",
        object=Participant("bicycle", 5, (0, 0, 1, 1)),
        score=0.8125,
        peak_score=0.9,
        peak_time=Fraction(4),
        peak_frame=100,
        support=50,
    )
    assert event.duration == Fraction(61, 25)
    assert str(event) == "3.04-5.48 s  person#3 ride bicycle#5  0.81"
