"""`vinfer eval`, on labels and pictures made by code."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from videos import numbered

from vinfer import errors
from vinfer.cli import exit_codes
from vinfer.stores.event_record import event_to_record
from vinfer.types import Event, Participant

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]


def event(start: float, end: float, predicate: str = "ride") -> Event:
    box = (0.0, 0.0, 9.0, 9.0)
    first, last = int(start * 10), int(end * 10)
    return Event(
        type="close",
        event_id=f"{first:08x}{last:08x}",
        stream="clip.mp4",
        start=Fraction(first, 10),
        end=Fraction(last, 10),
        start_frame=first,
        end_frame=last,
        subject=Participant("person", 1, box),
        predicate=predicate,
        object=Participant("bicycle", 2, box),
        score=0.75,
        peak_score=0.9,
        peak_time=Fraction(first, 10),
        peak_frame=first,
        support=last - first + 1,
        bundle="tiny-relations@1.0",
    )


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Rides from 1 to 3 s (sure) and from 6 to 8 s (likely)."""
    path = tmp_path / "truth.json"
    labels = {
        "schema": "vinfer-events-truth/1",
        "video": "clip.mp4",
        "duration": 10,
        "presence": [{"id": "man", "class": "person"}, {"id": "bike", "class": "bicycle"}],
        "events": [
            {
                "subject": "man",
                "predicate": "ride",
                "object": "bike",
                "start": start,
                "end": end,
                "certainty": certainty,
            }
            for start, end, certainty in ((1, 3, "sure"), (6, 8, "likely"))
        ],
    }
    path.write_text(json.dumps(labels))
    return path


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """The first ride, half a second late at both ends; and one that never was."""
    path = tmp_path / "events.jsonl"
    events = [event(1.5, 3.5), event(4.0, 4.5)]
    path.write_text("".join(json.dumps(event_to_record(e)) + "\n" for e in events))
    return path


class TestEvents:
    def test_figures(self, vinfer_json: JsonCommand, truth: Path, predicted: Path) -> None:
        code, document = vinfer_json("eval", "events", truth, predicted)
        overall = document["overall"]
        assert code == 0
        assert (overall["precision"], overall["recall"]) == (0.5, 1.0)
        assert overall["onset"]["mean"] == overall["offset"]["mean"] == 0.5
        assert overall["false_per_hour"] == pytest.approx(360)
        assert document["by_predicate"]["ride"] == overall

    def test_iou_and_certainty_are_passed_on(
        self, vinfer_json: JsonCommand, truth: Path, predicted: Path
    ) -> None:
        arguments = ("eval", "events", truth, predicted)
        assert vinfer_json(*arguments, "--iou", "0.7")[1]["overall"]["recall"] == 0.0
        assert vinfer_json(*arguments, "--certainty", "likely")[1]["overall"]["recall"] == 0.5
        assert vinfer_json(*arguments, "--certainty", "doubtful")[1]["overall"]["recall"] == 0.5

    def test_table(self, vinfer_command: Command, truth: Path, predicted: Path) -> None:
        code, out, err = vinfer_command("eval", "events", truth, predicted, "--certainty", "likely")
        assert (code, err) == (0, "")
        heading, overall, ride, *rest = out.splitlines()
        assert heading.split("\t")[:4] == ["predicate", "precision", "recall", "f1"]
        assert overall.split("\t")[:6] == ["all", "0.500", "0.500", "0.500", "2", "1"]
        assert ride.split("\t")[0] == "ride"
        assert any(line.startswith("missed  6.00-8.00 s  man ride bike: ") for line in rest)
        assert any(line.startswith("false   4.00-4.50 s  person#1 ride") for line in rest)

    def test_alarm_budget(
        self, vinfer_json: JsonCommand, vinfer_command: Command, truth: Path, predicted: Path
    ) -> None:
        # Both events score 0.75, so both stay or both go; one of them is false, in 10 seconds.
        alarms = vinfer_json("eval", "events", truth, predicted)[1]["alarm_budget"]
        assert alarms["minutes"] == pytest.approx(1 / 6)
        assert [figures["point"]["recall"] for figures in alarms["budgets"]] == [0, 0, 0]
        assert alarms["curve"][1]["false_per_minute"] == pytest.approx(6)
        lines = vinfer_command("eval", "events", truth, predicted)[1].splitlines()
        assert lines[-3].startswith(
            "false events a minute up to 1: recall 0.000, precision - (nothing; "
        )
        assert "not resolvable: 0.167 minutes without a false event only show" in lines[-1]
        labels = json.loads(truth.read_text())
        del labels["duration"]
        truth.write_text(json.dumps(labels))
        assert vinfer_json("eval", "events", truth, predicted)[1]["alarm_budget"] is None
        assert "a minute" not in vinfer_command("eval", "events", truth, predicted)[1]

    def test_the_vocabulary_of_a_bundle(
        self, vinfer_json: JsonCommand, vinfer_command: Command, truth: Path, predicted: Path
    ) -> None:
        arguments = ("eval", "events", truth, predicted, "--bundle")
        assert vinfer_json(*arguments, "tiny-relations")[1]["recall_sayable"] == 1.0
        assert (
            "of a kind that the bundle reports: 1.000"
            in vinfer_command(*arguments, "tiny-relations")[1]
        )
        assert vinfer_command(*arguments, "tiny-detector")[0] == 4

    def test_files_that_are_not_events(
        self, vinfer_command: Command, truth: Path, predicted: Path, tmp_path: Path
    ) -> None:
        assert vinfer_command("eval", "events", tmp_path / "none", predicted)[0] == 3
        assert vinfer_command("eval", "events", truth, truth)[0] == errors.InputError.exit_code
        wrong = ("eval", "events", truth, predicted, "--certainty", "maybe")
        assert vinfer_command(*wrong)[0] == exit_codes.USAGE


class TestRelations:
    @pytest.fixture
    def scene_graphs(self, tmp_path: Path) -> tuple[Path, Path, Path]:
        """The truth, right predictions, and predictions that take `at` and `on` for each other."""
        objects = [{"class": name, "box": [x, 0, x + 9, 9]} for name, x in (("a", 0), ("b", 20))]
        relations = [[0, "at", 1], [1, "on", 0]]
        pictures: list[dict[str, Any]] = [
            {"objects": objects, "relations": relations},
            {"relations": [[*row, 0.9] for row in relations]},
            {"relations": [[0, "on", 1, 0.9], [1, "at", 0, 0.9]]},
        ]
        paths = (tmp_path / "truth.json", tmp_path / "good.json", tmp_path / "bad.json")
        for path, picture in zip(paths, pictures, strict=True):
            document = {"schema": "vinfer-scene-graphs/1", "predicates": ["at", "on"]}
            path.write_text(json.dumps(document | {"pictures": {"0.jpg": picture}}))
        return paths

    def test_one_run(
        self,
        vinfer_json: JsonCommand,
        vinfer_command: Command,
        scene_graphs: tuple[Path, Path, Path],
    ) -> None:
        truth, good, _ = scene_graphs
        code, document = vinfer_json("eval", "relations", truth, good)
        assert code == 0
        assert document["figures"]["mAP"] == {"mean": 1.0, "std": None, "runs": 1}
        assert document["runs"][0]["by_predicate"]["at"]["ap"] == 1.0
        code, out, err = vinfer_command("eval", "relations", truth, good)
        assert (code, err) == (0, "")
        assert out.startswith("figure\tvalue\nmAP*\t1.0000\n")
        assert "Open Images score\t1.0000\n" in out
        assert "at\t1.0000" in out

    def test_several_runs(
        self, vinfer_command: Command, scene_graphs: tuple[Path, Path, Path]
    ) -> None:
        code, out, _ = vinfer_command("eval", "relations", *scene_graphs)
        assert code == 0
        # 1 and 1/2: there the positive is the second of the two pairs.
        assert "mAP\t0.7500\t0.3536\t2\n" in out

    def test_an_ignored_predicate(
        self, vinfer_json: JsonCommand, scene_graphs: tuple[Path, Path, Path]
    ) -> None:
        truth, good, _ = scene_graphs
        assert vinfer_json("eval", "relations", truth, good, "--ignore", "at")[0] == 0
        code, document = vinfer_json("eval", "relations", truth, good, "--ignore", "over")
        assert code == errors.InputError.exit_code
        assert "over" in document["error"]["message"]

    def test_vidvrd(
        self, vinfer_json: JsonCommand, vinfer_command: Command, tmp_path: Path
    ) -> None:
        path = tmp_path / "relations.json"
        box = [[0, 0, 9, 9]] * 2
        relation = {"triplet": ["a", "on", "b"], "score": 0.5, "duration": [0, 2]}
        videos = {"clip": [relation | {"sub_traj": box, "obj_traj": box}]}
        path.write_text(json.dumps({"version": "VERSION 1.0", "results": videos}))
        code, document = vinfer_json("eval", "vidvrd", path, path)
        assert code == 0
        assert (document["mean_ap"], document["recall"]["50"]) == (1.0, 1.0)
        code, out, _ = vinfer_command("eval", "vidvrd", path, path)
        assert code == 0
        assert "detection mAP\t1.0000\ndetection R@50\t1.0000\n" in out
        assert "tagging P@10\t1.0000\n" in out
        assert vinfer_command("eval", "vidvrd", path, tmp_path / "none")[0] == 3


class TestDetection:
    @pytest.fixture
    def labelled(self, tmp_path: Path) -> tuple[Path, Path]:
        """Two pictures; the tiny detector is right about the first and wrong about the other."""
        cv2 = pytest.importorskip("cv2")
        images = tmp_path / "images"
        images.mkdir()
        for name in ("a.png", "b.png"):
            cv2.imwrite(str(images / name), numbered(1, height=64, width=64))
        boxes = {1: [8, 4, 32, 40], 2: [50, 50, 10, 10]}
        truth = {
            "images": [
                {"id": i, "file_name": name, "width": 64, "height": 64, "split": split}
                for i, name, split in ((1, "a.png", "good"), (2, "b.png", "bad"))
            ],
            "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "bbox": box, "iscrowd": 0}
                | {"area": box[2] * box[3]}
                for i, box in boxes.items()
            ],
        }
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(truth))
        return path, images

    def test_figures(self, vinfer_json: JsonCommand, labelled: tuple[Path, Path]) -> None:
        annotations, images = labelled
        arguments = ["eval", "detection", "tiny-detector"]
        arguments += ["--annotations", str(annotations), "--images", str(images)]
        code, document = vinfer_json(*arguments)
        assert code == 0
        assert document["bundle"] == "tiny-detector@1.0"
        assert document["num_images"] == 2
        assert 0.2 < document["ap50"] < 0.6
        good = vinfer_json(*arguments, "--split", "good")[1]
        assert good["num_images"] == 1
        assert good["ap"] == good["per_class"]["person"] == pytest.approx(1)

    def test_table(self, vinfer_command: Command, labelled: tuple[Path, Path]) -> None:
        annotations, images = labelled
        arguments = ("--annotations", annotations, "--images", images, "--split", "good")
        code, out, _ = vinfer_command("eval", "detection", "tiny-detector", *arguments)
        assert code == 0
        assert "num images\t1" in out
        assert "person\t1.000" in out

    def test_a_missing_file(self, vinfer_command: Command, tmp_path: Path) -> None:
        arguments = ("--annotations", tmp_path / "none.json", "--images", tmp_path)
        code, _, err = vinfer_command("eval", "detection", "tiny-detector", *arguments)
        assert code == errors.SourceNotFoundError.exit_code
        assert "none.json" in err
