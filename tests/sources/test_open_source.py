"""What can't be opened: the error says what was found, what was expected and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from videos import numbered, write_audio, write_video, write_without_frames

from vinfer.errors import (
    ConfigError,
    MissingDependencyError,
    SourceError,
    SourceNotFoundError,
    UnsupportedSourceError,
)
from vinfer.sources import open_source


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "street.mp4").touch()
    with pytest.raises(SourceNotFoundError, match=r"sreet\.mp4.*did you mean .*street\.mp4"):
        open_source(tmp_path / "sreet.mp4")


def test_a_missing_folder_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"the folder .*nowhere does not exist either"):
        open_source(tmp_path / "nowhere" / "clip.mp4")


def test_nothing_alike_gives_the_kinds_of_sources(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"rtsp://.*camera:0"):
        open_source(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"This is a text, not a video. " * 50, "not a video or image"),
        (bytes(range(256)) * 20, "not a video or image"),
    ],
)
def test_what_is_no_video_is_unsupported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(UnsupportedSourceError, match=message):
        open_source(path)


def test_an_mp4_without_its_index_says_that_it_broke_off(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", [numbered(i) for i in range(30)])
    content = whole.read_bytes()
    index = content.rindex(b"moov") - 4
    rest = len(content) - index
    for cut in (index // 2, index, index + 40, index + rest // 3, index + rest * 2 // 3):
        part = tmp_path / "part.mp4"
        part.write_bytes(content[:cut])
        with pytest.raises(UnsupportedSourceError, match=r"index \(moov\).*broke off"):
            open_source(part)


def test_audio_only(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSourceError, match="found audio, expected a video stream"):
        open_source(write_audio(tmp_path / "sound.mp4"))


def test_zero_frames(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSourceError, match="no frames"):
        open_source(write_without_frames(tmp_path / "empty.avi"))


def test_a_picture_beyond_the_size_limit_is_refused(tmp_path: Path) -> None:
    wide = write_video(
        tmp_path / "wide.avi", [np.zeros((2, 16500, 3), np.uint8)], codec="ffv1", pix_fmt="bgr0"
    )
    with pytest.raises(UnsupportedSourceError, match="16500x2 px, expected at most 16384 px"):
        open_source(wide)


@pytest.mark.parametrize("name", ["clip.avi", "clip.png"])
def test_no_permission(tmp_path: Path, name: str) -> None:
    codec, pix_fmt = ("mpeg4", "yuv420p") if name.endswith("avi") else ("png", "rgb24")
    path = write_video(tmp_path / name, [numbered(0)], codec=codec, pix_fmt=pix_fmt)
    open_source(path).close()  # everything is imported before the rights are given away
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(SourceError, match=rf"{name}: no permission"):
            open_source(path)
    finally:
        if is_root:
            os.seteuid(0)


def test_unknown_kinds_of_urls() -> None:
    with pytest.raises(UnsupportedSourceError, match=r"gopher://host/x.*expected http://") as info:
        open_source("gopher://user:secret@host/x")
    assert "secret" not in str(info.value)


def test_a_missing_camera_names_those_that_are_there() -> None:
    with pytest.raises(SourceNotFoundError, match=r"/dev/video987: there is no such camera"):
        open_source("camera:987")


def test_an_empty_text() -> None:
    with pytest.raises(SourceNotFoundError, match="empty text"):
        open_source("")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride is 0, expected 1"),
        ({"start": -1}, "start is -1.0 s, expected 0"),
        ({"duration": 0}, "duration is 0.0 s, expected more than 0"),
        ({"duration": float("nan")}, "duration is nan, expected a finite number"),
        ({"rate": 0}, "rate is 0 images a second"),
        ({"timeout": float("inf")}, "timeout is inf s"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        open_source(tmp_path, **options)


def test_float_seconds_mean_their_decimal_text(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", [numbered(i) for i in range(25)])
    with open_source(clip, start=0.2, duration=0.12) as source:
        assert [frame.time for frame in source] == [Fraction(i, 25) for i in (5, 6, 7)]


def test_without_pyav_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['av'] = None\n"
        "from vinfer.sources import open_source\n"
        "try: open_source('clip.mp4')\n"
        "except Exception as exc: print(type(exc).__name__, exc)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith(MissingDependencyError.__name__), done.stderr
    assert "pip install 'vinfer[video]'" in done.stdout
