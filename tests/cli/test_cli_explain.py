"""`vinfer explain`, and `vinfer run --explain`, with two tiny bundles."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from videos import numbered, write_video

import vinfer.cli.run_explanations as run_explanations
from vinfer.cli import exit_codes
from vinfer.errors import SourceError

Command = Callable[..., tuple[int, str, str]]
JsonCommand = Callable[..., tuple[int, Any]]
BUNDLES = ("--bundle", "tiny-relations", "--threads", "1")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the same picture: one ride from its beginning to its end."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_video(path, [numbered(5)] * 20, rate=10)


def explained(page: Path) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    return [e["explanation"] for e in json.loads(found[1])["events"] if "explanation" in e]


def test_the_best_event_is_explained_and_all_are_listed(
    vinfer_command: Command, clip: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "new" / "why.png"
    code, text, notes = vinfer_command("explain", clip, "-o", picture, *BUNDLES)
    assert code == 0, notes
    assert re.search(
        r"^1\*\t[0-9a-f]{16}\t0\.\d\d s\t1\.90 s\tperson #1\tride\tbicycle #2", text, re.M
    )
    assert f"explanation: {picture}" in text
    assert "boxes exchanged" in text
    assert "no heat map: this model never looks at the picture" in notes
    height, width = cv2.imread(os.fspath(picture)).shape[:2]
    assert width == 1600
    assert height > 600


def test_json(vinfer_json: JsonCommand, clip: Path, tmp_path: Path) -> None:
    picture = tmp_path / "why.png"
    code, document = vinfer_json("explain", clip, "--event", "1", "-o", picture, *BUNDLES)
    assert code == 0
    assert (document["schema"], document["number"]) == ("vinfer.explanation/1", 1)
    assert document["files"] == {"explanation": str(picture)}
    by_id = ("explain", clip, "-e", document["event"]["event_id"], "-o", picture, *BUNDLES)
    assert vinfer_json(*by_id)[1]["event"] == document["event"]
    assert vinfer_json(*by_id)[1] == document


@pytest.mark.parametrize("wanted", ["2", "0", "0123456789abcdef", "1234567890123456", "-1", ""])
def test_an_unknown_event(vinfer_command: Command, clip: Path, tmp_path: Path, wanted: str) -> None:
    code, _, notes = vinfer_command(
        "explain", clip, f"--event={wanted}", "-o", tmp_path / "no.png", *BUNDLES
    )
    assert code == exit_codes.USAGE
    assert "expected a number from 1 to 1" in notes
    assert "person#1 ride bicycle#2" in notes
    assert not (tmp_path / "no.png").exists()


def test_no_events(vinfer_command: Command, clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "vinfer.yaml"
    config.write_text("events: {predicates: {ride: {on: 1, off: 1}}}\n")
    code, _, notes = vinfer_command("explain", clip, "-c", config, *BUNDLES)
    assert code == exit_codes.USAGE
    assert "no event was found in 20 frames" in notes


def test_a_live_source_is_refused_before_anything_runs(vinfer_command: Command) -> None:
    code, _, notes = vinfer_command("explain", "camera:0", *BUNDLES)
    assert code == exit_codes.INPUT
    assert "can't be read a second time" in notes


def test_a_picture_that_can_not_be_written(
    vinfer_command: Command, clip: Path, tmp_path: Path
) -> None:
    code, _, notes = vinfer_command("explain", clip, "-o", tmp_path, *BUNDLES)
    assert code == exit_codes.OUTPUT
    assert "that is a folder: give a file name" in notes


class TestReport:
    def test_the_best_events_are_explained_in_the_page(
        self, vinfer_command: Command, clip: Path, tmp_path: Path
    ) -> None:
        code, _, notes = vinfer_command("run", clip, "-o", tmp_path, "--explain", "3", *BUNDLES)
        assert code == 0, notes
        assert "explaining 1 event" in notes
        (found,) = explained(tmp_path / "report.html")
        assert found["picture"].startswith("data:image/jpeg;base64,")
        assert "this model never looks at the picture" in found["text"]

    def test_none_are_by_default(self, vinfer_command: Command, clip: Path, tmp_path: Path) -> None:
        vinfer_command("run", clip, "-o", tmp_path, "--no-video", *BUNDLES)
        assert explained(tmp_path / "report.html") == []

    def test_without_a_report_it_is_refused(
        self, vinfer_command: Command, clip: Path, tmp_path: Path
    ) -> None:
        code, _, notes = vinfer_command(
            "run", clip, "-o", tmp_path, "--explain", "1", "--no-report", *BUNDLES
        )
        assert code == exit_codes.USAGE
        assert "outputs" in notes
        assert "a report, as explain adds to it" in notes

    def test_a_failure_does_not_cost_the_report(
        self,
        vinfer_command: Command,
        clip: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def failing(*_: object, **__: object) -> None:
            raise SourceError("the file is gone")

        monkeypatch.setattr(run_explanations, "explain_events", failing)
        code, _, notes = vinfer_command("run", clip, "-o", tmp_path, "--explain", "1", *BUNDLES)
        assert code == 0
        assert "the report explains 0 of 1: the file is gone" in notes
        assert explained(tmp_path / "report.html") == []

    def test_an_interrupt_while_explaining_leaves_the_report(
        self,
        vinfer_command: Command,
        clip: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        real = run_explanations.explain_events

        def interrupted(*arguments: Any, **options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            yield from real(*arguments, **options)

        monkeypatch.setattr(run_explanations, "explain_events", interrupted)
        code, _, notes = vinfer_command("run", clip, "-o", tmp_path, "--explain", "1", *BUNDLES)
        assert code == exit_codes.INTERRUPTED
        assert "stopped by SIGINT" in notes
        assert (tmp_path / "report.html").stat().st_size > 10_000
