"""`vinfer run` from a real clip to real files, with two tiny bundles."""

import importlib.util
import json
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import real_parts
from videos import numbered, write_video

from vinfer import errors
from vinfer.cli import exit_codes
from vinfer.stores.jsonl import read_events

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]

ALL_FILES = {
    "events.jsonl",
    "events.vidvrd.json",
    "events.sqlite",
    "annotated.mp4",
    "report.html",
}
BUNDLES = ("--bundle", "tiny-relations", "--threads", "1")
BACKENDS = {"onnxruntime", "openvino"}
EVENTS_ONLY = ("--no-video", "--no-report", "--no-sqlite")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the same picture: one ride from its beginning to its end."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_video(path, [numbered(5)] * 20, rate=10)


def test_every_file_is_written_and_the_event_is_right(
    vinfer_command: Command, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, text, notes = vinfer_command("run", clip, "-o", out, *BUNDLES)
    assert code == 0, notes
    assert {path.name for path in out.iterdir()} == ALL_FILES
    (closed,) = [event for event in read_events(out / "events.jsonl") if event.type == "close"]
    assert (closed.subject.label, closed.predicate, closed.object.label) == (
        "person",
        "ride",
        "bicycle",
    )
    assert float(closed.end) == pytest.approx(1.9)
    assert closed.bundle == "tiny-relations@1.0"
    table, files = text.split("events: ")
    assert table.splitlines()[1].split("\t")[2:] == [
        f"person #{closed.subject.track_id}",
        "ride",
        f"bicycle #{closed.object.track_id}",
        f"{closed.score:.2f}",
    ]
    assert all(name in "events: " + files for name in ALL_FILES)
    assert "tiny-relations@1.0 with tiny-detector@1.0 on CPUExecutionProvider, 1 thread" in notes
    assert "1 event in 20 frames" in notes


def test_json(vinfer_json: JsonCommand, clip: Path, tmp_path: Path) -> None:
    code, document = vinfer_json("run", clip, "-o", tmp_path, *BUNDLES, *EVENTS_ONLY)
    assert code == document["exit_code"] == 0
    assert document["schema"] == "vinfer.run/1"
    assert document["engine"]["detector"] == "tiny-detector@1.0"
    (run,) = document["runs"]
    assert (run["source"], run["complete"], run["num_frames"]) == (str(clip), True, 20)
    (event,) = run["events"]
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert event == json.loads(lines[-1])
    assert run["files"] == {
        "events": str(tmp_path / "events.jsonl"),
        "vidvrd": str(tmp_path / "events.vidvrd.json"),
    }


@pytest.mark.parametrize("backend", ["openvino", "auto"])
def test_another_backend_finds_the_same_event(
    vinfer_json: JsonCommand, clip: Path, tmp_path: Path, backend: str
) -> None:
    if importlib.util.find_spec("openvino") is None:
        real_parts.missing("openvino is not installed")
    code, document = vinfer_json(
        *("run", clip, "-o", tmp_path, *BUNDLES, *EVENTS_ONLY, "--backend", backend)
    )
    assert code == 0
    for session in document["engine"]["sessions"].values():
        assert session["backend"] in ({"openvino"} if backend == "openvino" else BACKENDS)
        assert any(note.startswith("backend auto: ") for note in session["notes"]) == (
            backend == "auto"
        )
    (found,) = document["runs"]
    assert [event["predicate"] for event in found["events"]] == ["ride"]


def test_options_win_over_the_file(vinfer_json: JsonCommand, clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "vinfer.yaml"
    config.write_text(
        "bundle: tiny-relations\nthreads: 1\nsource: {stride: 2}\n"
        "outputs: {video: false, report: false, sqlite: false, vidvrd: false}\n"
    )
    arguments = ("run", clip, "-o", tmp_path / "out", "--config", config)
    assert vinfer_json(*arguments)[1]["runs"][0]["num_frames"] == 10
    document = vinfer_json(*arguments, "--stride", "5", "--sqlite")[1]
    assert document["runs"][0]["num_frames"] == 4
    assert set(document["runs"][0]["files"]) == {"events", "sqlite"}


def test_an_event_that_is_announced_late_has_its_whole_trajectories(
    vinfer_command: Command, tmp_path: Path
) -> None:
    slow = write_video(tmp_path / "slow.mp4", [numbered(5)] * 180, rate=1)
    config = tmp_path / "vinfer.yaml"
    config.write_text(
        "track: {lost_seconds: 5}\n"
        "events: {predicates: {ride: {min_duration: 150, max_missing: 5, merge_gap: 5}}}\n"
    )
    code, _, err = vinfer_command(
        "run", slow, "-o", tmp_path, "--config", config, *BUNDLES, *EVENTS_ONLY
    )
    assert code == 0, err
    results = json.loads((tmp_path / "events.vidvrd.json").read_text())["results"]
    ((ride,),) = results.values()
    first, last = ride["duration"]
    assert len(ride["sub_traj"]) == last - first > 170


def test_predicates_select(vinfer_json: JsonCommand, clip: Path, tmp_path: Path) -> None:
    arguments = ("run", clip, "-o", tmp_path, *BUNDLES, *EVENTS_ONLY)
    assert len(vinfer_json(*arguments, "-p", "ride")[1]["runs"][0]["events"]) == 1
    code, document = vinfer_json(*arguments, "-p", "ride,rode")
    assert code == exit_codes.USAGE
    assert "rode" in document["error"]["message"]


def test_a_confidence_above_all_detections_finds_nothing(
    vinfer_command: Command, clip: Path, tmp_path: Path
) -> None:
    code, out, _ = vinfer_command(
        "run", clip, "-o", tmp_path, *BUNDLES, *EVENTS_ONLY, "--conf", "0.95"
    )
    assert code == 0
    assert out.startswith("events: ")
    assert read_events(tmp_path / "events.jsonl") == []


def test_a_second_run_replaces_its_own_files_and_keeps_others(
    vinfer_command: Command, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    contents = []
    for _ in range(2):
        assert vinfer_command("run", clip, "-o", tmp_path, *BUNDLES, "--no-video")[0] == 0
        contents.append((tmp_path / "events.jsonl").read_bytes())
    assert contents[0] == contents[1]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_database_gets_the_events_too(
    vinfer_command: Command, clip: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'all.sqlite'}"
    code, _, notes = vinfer_command(
        "run", clip, "-o", tmp_path / "out", *BUNDLES, *EVENTS_ONLY, "--database", url
    )
    assert code == 0, notes
    with sqlite3.connect(tmp_path / "all.sqlite") as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master")}
        assert connection.execute("select count(*) from events").fetchone() == (1,), tables
    connection.close()


class TestSeveralSources:
    def test_each_gets_a_folder_and_a_name(
        self, vinfer_json: JsonCommand, clip: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "b" / clip.name
        other.parent.mkdir()
        other.write_bytes(clip.read_bytes())
        code, document = vinfer_json(
            "run", clip, other, "-o", tmp_path / "out", *BUNDLES, *EVENTS_ONLY
        )
        assert code == 0
        assert [run["stream"] for run in document["runs"]] == ["clip.mp4", "clip.mp4-2"]
        assert (tmp_path / "out" / "clip.mp4" / "events.jsonl").is_file()
        assert (tmp_path / "out" / "clip.mp4-2" / "events.jsonl").is_file()
        first, second = (run["events"][0]["event_id"] for run in document["runs"])
        assert first != second

    def test_one_that_fails_stops_no_other(
        self, vinfer_json: JsonCommand, clip: Path, tmp_path: Path
    ) -> None:
        text = tmp_path / "text.mp4"
        text.write_text("not a video\n" * 100)
        code, document = vinfer_json(
            "run", tmp_path / "none.mp4", clip, text, "-o", tmp_path, *BUNDLES, *EVENTS_ONLY
        )
        runs = document["runs"]
        assert code == document["exit_code"] == errors.SourceNotFoundError.exit_code
        assert [run["exit_code"] for run in runs] == [3, 0, 3]
        assert runs[0]["error"]["kind"] == "SourceNotFoundError"
        assert runs[2]["error"]["kind"] == "UnsupportedSourceError"
        assert len(runs[1]["events"]) == 1


class TestFailures:
    def test_no_such_bundle(self, vinfer_command: Command, clip: Path, tmp_path: Path) -> None:
        code, _, err = vinfer_command("run", clip, "-o", tmp_path, "--bundle", "tiny-relation")
        assert code == errors.BundleNotFoundError.exit_code
        assert "tiny-relations" in err

    def test_a_detector_as_relation_bundle(
        self, vinfer_command: Command, clip: Path, tmp_path: Path
    ) -> None:
        code, _, err = vinfer_command("run", clip, "-o", tmp_path, "--bundle", "tiny-detector")
        assert code == errors.BundleSchemaError.exit_code
        assert "tiny-detector" in err

    def test_a_folder_that_is_a_file(
        self, vinfer_command: Command, clip: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out").write_text("")
        code, _, err = vinfer_command("run", clip, "-o", tmp_path / "out", *BUNDLES)
        assert code == errors.OutputError.exit_code
        assert str(tmp_path / "out") in err

    def test_cuda_that_is_not_there(
        self, vinfer_command: Command, clip: Path, tmp_path: Path
    ) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("CUDA may work here")
        code, _, err = vinfer_command("run", clip, "-o", tmp_path, *BUNDLES, "--provider", "cuda")
        assert code == errors.ProviderUnavailableError.exit_code
        assert "pip install" in err

    def test_a_file_that_can_not_grow(self, environment: None, clip: Path, tmp_path: Path) -> None:
        """As on a full disk: what was written before stays valid, the other files are finished."""
        config = tmp_path / "vinfer.yaml"
        config.write_text("events: {update_interval: 0.2}\n")
        command = [sys.executable, "-m", "vinfer.cli.main", "run", str(clip), *BUNDLES]
        command += ["--config", str(config)]
        command += ["-o", str(tmp_path / "out"), *EVENTS_ONLY, "--json"]
        limited = f"ulimit -f 1; exec {shlex.join(command)}"
        done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
        assert done.returncode == errors.OutputError.exit_code, done.stderr
        (run,) = json.loads(done.stdout)["runs"]
        assert run["error"]["kind"] == "OutputError"
        assert not run["complete"]
        assert "events.jsonl" in run["error"]["message"]
        lines = read_events(tmp_path / "out" / "events.jsonl")
        assert [event.type for event in lines] == ["open", "update"]
        assert json.loads((tmp_path / "out" / "events.vidvrd.json").read_text())

    def test_a_configuration_with_a_typo(
        self, vinfer_command: Command, clip: Path, tmp_path: Path
    ) -> None:
        config = tmp_path / "vinfer.yaml"
        config.write_text("thread: 2\n")
        code, _, err = vinfer_command("run", clip, "-o", tmp_path, "--config", config)
        assert code == exit_codes.USAGE
        assert err == f"vinfer: {config} line 1: unknown key thread; did you mean threads?\n"

    def test_a_clip_that_breaks_off_keeps_what_was_found(
        self, vinfer_json: JsonCommand, tmp_path: Path
    ) -> None:
        whole = write_video(
            tmp_path / "whole.avi",
            [numbered(i) for i in range(60)],
            rate=10,
            codec="mjpeg",
            pix_fmt="yuvj420p",
        )
        broken = tmp_path / "broken.avi"
        content = whole.read_bytes()
        broken.write_bytes(content[: len(content) // 2])
        code, document = vinfer_json("run", broken, "-o", tmp_path / "out", *BUNDLES, *EVENTS_ONLY)
        (run,) = document["runs"]
        assert code == errors.TruncatedSourceError.exit_code
        assert run["error"]["kind"] == "TruncatedSourceError"
        assert not run["complete"]
        assert 0 < run["num_frames"] < 60
        assert read_events(tmp_path / "out" / "events.jsonl")[-1].type == "close"
