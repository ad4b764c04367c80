"""Each kind of bad input through the command line: message, exit code, files that stay valid."""

import json
import os
import shlex
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import NAN_BLUE, detector_graph, pack_detector, pack_relations, plain
from tiny_bundles import relation_graph as tiny_relation_graph
from videos import noisy, numbered, truncate, write_audio, write_video, write_without_frames

from vinfer import errors
from vinfer.cli import exit_codes
from vinfer.stores.jsonl import read_events

av = pytest.importorskip("av", reason="PyAV reads the annotated video back")
cv2 = pytest.importorskip("cv2", reason="OpenCV writes the pictures")

Command = Callable[..., tuple[int, str, str]]

BUNDLES = ("--bundle", "tiny-relations", "--threads", "1")


def assert_valid(folder: Path) -> list[str]:
    """Every file in the folder can be read; the types of the events in it."""
    types = [event.type for event in read_events(folder / "events.jsonl")]
    assert json.loads((folder / "events.vidvrd.json").read_text())["results"]
    with sqlite3.connect(folder / "events.sqlite") as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert connection.execute("select count(*) from events").fetchone() == (
            types.count("open"),
        )
    connection.close()
    if (folder / "annotated.mp4").exists():
        with av.open(folder / "annotated.mp4") as video:
            assert sum(1 for _ in video.decode(video=0)) > 0
    if (folder / "report.html").exists():
        assert (folder / "report.html").read_text().rstrip().endswith("</html>")
    return types


def text_file(folder: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("not a video\n" * 100)
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def cut_mp4(folder: Path) -> Path:
    return truncate(write_video(folder / "whole.mp4", [numbered(5)] * 20), folder / "cut.mp4", 0.5)


def folder_without_images(folder: Path) -> Path:
    path = folder / "pictures"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.mp4", "there is no such file"),
        (text_file, "not a video or image that can be read"),
        (empty_file, "the file is empty"),
        (cut_mp4, "broke off, get the whole file"),
        (lambda folder: write_without_frames(folder / "zero.avi"), "no frames"),
        (lambda folder: write_audio(folder / "sound.mp4"), "found audio, expected a video"),
        (folder_without_images, "no images"),
    ],
    ids=["missing", "text", "empty", "truncated", "zero frames", "audio only", "empty folder"],
)
def test_a_source_without_a_frame_is_one_message(
    vinfer_command: Command, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    source = make(tmp_path)
    code, out, err = vinfer_command("run", source, "-o", tmp_path / "out", *BUNDLES)
    assert code == exit_codes.INPUT
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("vinfer: ")]
    assert message in line
    assert line.count(f"{source}: ") == 1
    assert not (tmp_path / "out").exists()


def test_a_source_that_ends_in_the_middle_leaves_whole_files(
    vinfer_command: Command, tmp_path: Path
) -> None:
    pictures = [noisy(1, height=64, width=64) // 12 for _ in range(100)]
    whole = write_video(tmp_path / "whole.mkv", pictures, rate=10, options={"crf": "0"})
    broken = truncate(whole, tmp_path / "broken.mkv", 0.6)
    code, _, err = vinfer_command("run", broken, "-o", tmp_path / "out", *BUNDLES)
    assert code == errors.TruncatedSourceError.exit_code == exit_codes.INPUT
    assert "the video breaks off" in err
    assert assert_valid(tmp_path / "out")[-1] == "close"


@pytest.mark.parametrize(
    ("shape", "value"),
    [((1, 1, 3), 90), ((4320, 7680, 3), 90), ((64, 80), 90), ((64, 80, 4), 90)],
    ids=["1x1", "8k", "grey", "RGBA"],
)
def test_unusual_pictures_run(
    vinfer_command: Command, tmp_path: Path, shape: tuple[int, ...], value: int
) -> None:
    assert cv2.imwrite(str(tmp_path / "picture.png"), np.full(shape, value, np.uint8))
    code, _, err = vinfer_command("run", tmp_path / "picture.png", "-o", tmp_path / "out", *BUNDLES)
    assert code == 0, err
    assert "in 1 frame" in err
    assert_valid(tmp_path / "out")


def test_nan_in_a_models_output_leaves_whole_files(
    vinfer_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_detector(tmp_path, detector_graph())
    pack_relations(tmp_path, tiny_relation_graph())
    monkeypatch.setenv("VINFER_BUNDLES", str(tmp_path))
    pictures = [plain(0, blue=NAN_BLUE if i >= 15 else 0) for i in range(20)]
    path = write_video(tmp_path / "nan.mkv", pictures, rate=10, options={"crf": "0"})
    code, _, err = vinfer_command("run", path, "-o", tmp_path / "out", *BUNDLES)
    assert code == errors.ModelOutputError.exit_code == exit_codes.BUNDLE
    assert 'output "scores"' in err
    assert "NaN or infinite" in err
    assert assert_valid(tmp_path / "out")[-1] == "close"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("model.onnx", b"tiny", b"Tiny", "it is not the file that was packed"),
        ("manifest.json", b"vinfer.bundle/1", b"vinfer.bundle/2", "upgrade vinfer"),
    ],
    ids=["wrong hash", "newer schema"],
)
def test_a_bundle_that_is_not_what_it_says(
    vinfer_command: Command,
    tiny_bundles: Path,
    tmp_path: Path,
    file: str,
    old: bytes,
    new: bytes,
    message: str,
) -> None:
    changed = tmp_path / "changed.vinfer"
    with (
        zipfile.ZipFile(tiny_bundles / "tiny-relations.vinfer") as before,
        zipfile.ZipFile(changed, "w") as after,
    ):
        for name in before.namelist():
            data = before.read(name)
            assert name != file or old in data
            after.writestr(name, data.replace(old, new) if name == file else data)
    for verb in (("inspect", changed), ("run", "clip.mp4", "--bundle", changed)):
        code, out, err = vinfer_command(*verb)
        assert code == exit_codes.BUNDLE
        assert out == ""
        assert err.startswith(f"vinfer: {changed}: ")
        assert message in err


def run_limited(
    blocks: int, *arguments: str | os.PathLike[str]
) -> subprocess.CompletedProcess[str]:
    """`vinfer` in a process whose files can't grow above so many KiB, as on a full disk."""
    command = [sys.executable, "-m", "vinfer.cli.main", *map(os.fspath, arguments)]
    script = f"ulimit -f {blocks}; exec {shlex.join(command)}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)


def test_a_full_disk_leaves_whole_files(environment: None, tmp_path: Path) -> None:
    pictures = [noisy(i, height=240, width=320) for i in range(40)]
    path = write_video(tmp_path / "noise.mp4", pictures, rate=10)
    out = tmp_path / "out"
    done = run_limited(512, "run", path, "-o", out, *BUNDLES)
    assert done.returncode == errors.OutputError.exit_code == exit_codes.OUTPUT, done.stderr
    assert f"can't write {out / 'annotated.mp4'}" in done.stderr
    assert assert_valid(out)[-1] == "close"


def test_files_of_an_earlier_run_are_not_taken_for_this_ones(
    vinfer_command: Command, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "clip.mp4", [numbered(5)] * 20, rate=10)
    arguments = ("run", path, "-o", tmp_path / "out", *BUNDLES)
    assert vinfer_command(*arguments)[1].count(str(tmp_path / "out")) == 5
    nowhere = f"sqlite:///{tmp_path / 'none' / 'events.sqlite'}"
    code, out, _ = vinfer_command(*arguments, "--database", nowhere)
    assert code == exit_codes.OUTPUT
    assert "events.jsonl" in out
    assert "annotated.mp4" not in out
    assert "report.html" not in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("option", [(), ("--json",)])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_on_a_full_disk(
    environment: None,
    option: tuple[str, ...],
    unbuffered: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    command = [sys.executable, "-m", "vinfer.cli.main", "inspect", "tiny-relations", *option]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == exit_codes.OUTPUT
    assert done.stderr.startswith("vinfer: can't write standard output: No space left on device")
    assert "Traceback" not in done.stderr
