from __future__ import annotations

from pathlib import Path

import pytest

from vinfer.sources import address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:secret@cam.local:554/stream1", "rtsp://cam.local:554/stream1"),
        ("RTSP://user:secret@cam/x", "rtsp://cam/x"),
        ("http://host/clip.mp4?token=secret#secret", "http://host/clip.mp4"),
        ("rtsp://user:sec@ret@cam/x", "rtsp://cam/x"),
        ("rtsp://user:sec/ret@cam/x", "rtsp://cam/x"),
        ("rtsp://user:sec?ret@cam/x", "rtsp://..."),
        ("rtsp://user:sec#ret@cam/x", "rtsp://..."),
        ("http://host/clip.mp4", "http://host/clip.mp4"),
    ],
)
def test_shown_urls_carry_no_secret(url: str, shown: str) -> None:
    assert address.shown_url(url) == shown


@pytest.mark.parametrize(
    ("uri", "device"),
    [
        ("0", "/dev/video0"),
        ("camera:12", "/dev/video12"),
        ("/dev/video3", "/dev/video3"),
        ("camera", None),
        ("0.mp4", None),
        ("clip0", None),
    ],
)
def test_cameras_are_told_from_files(uri: str, device: str | None) -> None:
    assert address.camera_device(uri) == device


def test_natural_order_counts_as_people_do() -> None:
    names = ["f10.png", "F2.png", "f1.png", "a100.png", "f02b.png", "9.png"]
    order = sorted(map(Path, names), key=address.natural_key)
    assert [p.name for p in order] == [
        "9.png",
        "a100.png",
        "f1.png",
        "F2.png",
        "f02b.png",
        "f10.png",
    ]


def test_a_name_with_brackets_that_exists_is_no_pattern(tmp_path: Path) -> None:
    path = tmp_path / "clip[1].mp4"
    path.touch()
    assert not address.is_glob(str(path))
    assert address.is_glob(str(tmp_path / "clip[2].mp4"))
