"""VidVRD's figures on videos small enough to work out by hand."""

import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.errors import InputError, SourceNotFoundError
from vinfer.evaluation.vidvrd import (
    RelationInstance,
    VidvrdQuality,
    detection_hits,
    evaluate_vidvrd,
    pair_viou,
    volume_iou,
)
from vinfer.evaluation.vidvrd_file import read_vidvrd
from vinfer.stores.base import RunInfo
from vinfer.stores.vidvrd import VidvrdJson
from vinfer.types import (
    Detections,
    Event,
    Frame,
    FrameResult,
    Participant,
    Relations,
    RunSummary,
    StreamInfo,
)

# 10 x 10 pixels each: right and bottom belong to the box.
DOG, CAT = [0, 0, 9, 9], [20, 0, 29, 9]


def instance(
    predicate: str, first: int, end: int, score: float = 0.0, *, dog: list[int] = DOG
) -> RelationInstance:
    frames = end - first
    return RelationInstance(
        ("dog", predicate, "cat"),
        score,
        first,
        np.array([dog] * frames, np.float64),
        np.array([CAT] * frames, np.float64),
    )


def by_hand() -> tuple[dict[str, list[RelationInstance]], dict[str, list[RelationInstance]]]:
    truth = {
        "a": [instance("chase", 0, 4), instance("watch", 0, 4)],
        "b": [instance("chase", 0, 4)],
        "c": [instance("chase", 0, 4)],
        "d": [],
    }
    predictions = {
        "a": [
            instance("chase", 0, 4, 0.9),  # right
            instance("chase", 0, 4, 0.8),  # found already
            instance("watch", 2, 4, 0.7),  # 2 of 4 frames: volume IoU 1/2, right
        ],
        "b": [
            instance("bite", 0, 4, 0.95),  # another predicate
            instance("chase", 0, 4, 0.9, dog=[5, 0, 14, 9]),  # 50 of 150 pixels
        ],
        "d": [instance("chase", 0, 4, 0.99)],  # nothing true there: the video is skipped
    }
    return truth, predictions


def test_figures_by_hand() -> None:
    found = evaluate_vidvrd(*by_hand())
    # a: precision 1 and 2/3 at the two hits; b and c: nothing found.
    assert found.ap_by_video == {"a": pytest.approx(5 / 6), "b": 0.0, "c": 0.0}
    assert found.mean_ap == pytest.approx(5 / 18)
    assert found.recall == {50: 0.5, 100: 0.5}
    # Tags: a chase, watch, both right; b bite, chase, one right; c none.
    assert found.precision == pytest.approx({1: 1 / 3, 5: 1 / 2, 10: 1 / 2})
    assert (found.videos, found.relations) == (3, 4)


def test_recall_takes_the_first_of_each_video() -> None:
    found = evaluate_vidvrd(*by_hand(), recall_at=[1, 2, 3])
    assert found.recall == {1: 0.25, 2: 0.25, 3: 0.5}


def test_volume_iou_by_hand() -> None:
    whole = np.array([DOG] * 4, np.float64)
    half = np.array([[0, 0, 4, 9]] * 2, np.float64)
    # Frames 2 and 3 are shared, half of each: 100 of 400 + 100 - 100.
    assert volume_iou(whole, half, 0, 2) == volume_iou(half, whole, 2, 0) == 0.25
    assert volume_iou(whole, half, 0, 4) == volume_iou(whole, half, 0, -2) == 0
    assert volume_iou(whole, whole, 7, 7) == 1
    empty = np.array([[5, 5, 4, 4]], np.float64)
    assert volume_iou(empty, empty, 0, 0) == 0


def test_the_smaller_of_both_counts() -> None:
    true, shifted = instance("chase", 0, 4), instance("chase", 0, 4, dog=[5, 0, 14, 9])
    assert pair_viou(true, shifted) == pytest.approx(1 / 3)


def test_what_is_taken_leaves_the_next_best() -> None:
    true = [instance("chase", 0, 4), instance("chase", 0, 5)]
    ranked = [instance("chase", 0, 4)] * 3
    assert detection_hits(true, ranked, 0.5).tolist() == [True, True, False]


@given(st.randoms())
@settings(derandomize=True, deadline=None, max_examples=30)
def test_the_order_in_the_file_does_not_matter(random: Any) -> None:
    truth, predictions = by_hand()
    predictions["a"] += [instance("watch", 0, 4, 0.9), instance("chase", 1, 4, 0.8)]

    def shuffled(
        videos: dict[str, list[RelationInstance]],
    ) -> dict[str, list[RelationInstance]]:
        names = random.sample(sorted(videos), len(videos))
        return {name: random.sample(videos[name], len(videos[name])) for name in names}

    assert evaluate_vidvrd(shuffled(truth), shuffled(predictions)) == evaluate_vidvrd(
        truth, predictions
    )


def test_nothing_true_and_nothing_predicted() -> None:
    found = evaluate_vidvrd({"a": []}, {"a": [instance("chase", 0, 4)]})
    assert found == VidvrdQuality(0, 0, None, {50: None, 100: None}, dict.fromkeys((1, 5, 10)), {})
    none = evaluate_vidvrd(by_hand()[0], {})
    assert none.mean_ap == none.recall[50] == none.precision[1] == 0


def test_refusals() -> None:
    truth, predictions = by_hand()
    with pytest.raises(InputError, match="viou_threshold: found 0"):
        evaluate_vidvrd(truth, predictions, viou_threshold=0)
    with pytest.raises(InputError, match="expected 1 or more"):
        evaluate_vidvrd(truth, predictions, recall_at=[0])
    with pytest.raises(InputError, match="a: found a score that is NaN"):
        evaluate_vidvrd(truth, {"a": [instance("chase", 0, 4, float("nan"))]})
    with pytest.raises(InputError, match=r"predictions of a\.mp4 and true relations of a, b, c"):
        evaluate_vidvrd(truth, {"a.mp4": predictions["a"]})


RECORD: dict[str, Any] = {
    "triplet": ["dog", "chase", "cat"],
    "score": 0.5,
    "duration": [3, 5],
    "sub_traj": [DOG, DOG],
    "obj_traj": [CAT, CAT],
}


class TestFile:
    def write(self, folder: Path, document: Any) -> Path:
        path = folder / "relations.json"
        path.write_text(json.dumps(document))
        return path

    def test_predictions_and_truth(self, tmp_path: Path) -> None:
        predicted = {"version": "VERSION 1.0", "results": {"a": [RECORD]}}
        unscored = {key: value for key, value in RECORD.items() if key != "score"}
        for document, score in ((predicted, 0.5), ({"a": [unscored]}, 0.0)):
            (read,) = read_vidvrd(self.write(tmp_path, document))["a"]
            assert (read.triplet, read.score, read.first_frame) == (
                ("dog", "chase", "cat"),
                score,
                3,
            )
            assert read.subject_trajectory.tolist() == [DOG, DOG]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"duration": [5, 5]}, "at least one frame"),
            ({"sub_traj": [DOG]}, r"sub_traj: found shape \[1, 4\], expected \[2, 4\]"),
            ({"obj_traj": [CAT, [0, 0, 1]]}, "inhomogeneous"),
            ({"obj_traj": [CAT, [0, 0, 1, float("inf")]]}, "not finite"),
            ({"score": float("nan")}, "score: found NaN"),
            ({"triplet": ["dog", "chase"]}, "not enough values"),
        ],
    )
    def test_wrong_records(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        path = self.write(tmp_path, {"results": {"a": [RECORD | change]}})
        with pytest.raises(InputError, match=rf"relations\.json: a\[0\]: .*{message}"):
            read_vidvrd(path)

    def test_wrong_files(self, tmp_path: Path) -> None:
        with pytest.raises(SourceNotFoundError, match="none"):
            read_vidvrd(tmp_path / "none")
        for document, message in (
            ([], "JSON list"),
            ({"a": {}}, "a: expected a list"),
            ({"results": {"a": [{"triplet": ["a", "b", "c"]}]}}, "no 'duration'"),
        ):
            with pytest.raises(InputError, match=message):
                read_vidvrd(self.write(tmp_path, document))
        (tmp_path / "text").write_text("no")
        with pytest.raises(InputError, match="not JSON"):
            read_vidvrd(tmp_path / "text")


def test_what_a_run_writes_finds_itself(tmp_path: Path) -> None:
    path = tmp_path / "events.vidvrd.json"
    sink = VidvrdJson(path)
    info = StreamInfo("clip", "clip.mp4", 64, 64, Fraction(10), None, None)
    sink.open(info, RunInfo("tiny-relations@1", "tiny-detector@1", "0" * 16, {}, "0.1"))
    for index in range(6):
        objects = Detections(
            np.array([[index, 0, index + 10, 10], [20, 0, 30, 10]], np.float32),
            np.ones(2, np.float32),
            np.array([0, 1], np.int32),
            np.array([1, 2], np.int64),
            ("dog", "cat"),
        )
        frame = Frame(np.zeros((2, 2, 3), np.uint8), Fraction(index, 10), index, "clip", 0.0)
        sink.frame(frame, FrameResult(objects, Relations.empty(("chase",))))
    box = (0.0, 0.0, 1.0, 1.0)
    chase = Event(
        type="close",
        event_id="0" * 16,
        stream="clip",
        start=Fraction(1, 10),
        end=Fraction(4, 10),
        start_frame=1,
        end_frame=4,
        subject=Participant("dog", 1, box),
        predicate="chase",
        object=Participant("cat", 2, box),
        score=0.75,
        peak_score=0.9,
        peak_time=Fraction(2, 10),
        peak_frame=2,
        support=4,
    )
    sink.event(chase)
    sink.close(RunSummary(info, 6, Fraction(1, 2), 0.1, (chase,), {}, True))
    read = read_vidvrd(path)
    assert read["clip"][0].subject_trajectory[0].tolist() == [1, 0, 10, 9]
    assert evaluate_vidvrd(read, read).mean_ap == 1
    late = [dataclasses.replace(read["clip"][0], first_frame=4)]
    assert evaluate_vidvrd({"clip": late}, read).mean_ap == 0
