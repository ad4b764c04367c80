"""Network cameras: what arrives from one on loopback, and what happens when it fails."""

from __future__ import annotations

import dataclasses
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from rtsp_server import PASSWORD, USER, Camera, Clip, Fault, encode
from tiny_bundles import (
    APART,
    RIDING,
    detector_graph,
    pack_detector,
    pack_relations,
    plain,
    relation_graph,
)
from videos import corner_colours, number_of, numbered, quadrants

import vinfer
from vinfer.errors import SourceError, TruncatedSourceError
from vinfer.sources import Source, open_source
from vinfer.stores.event_record import event_from_record
from vinfer.types import Frame

COUNT = 50
# Long enough for a busy machine to open the stream in it, which takes a twentieth of a second.
TIMEOUT = 1.2


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Fifty numbered pictures, 25 a second."""
    return encode(tmp_path_factory.mktemp("clip"), [numbered(i) for i in range(COUNT)])


def read(source: Source) -> tuple[list[Frame], SourceError | None]:
    """All frames, and what the stream ended with."""
    frames: list[Frame] = []
    try:
        frames.extend(source)
    except SourceError as exc:
        return frames, exc
    return frames, None


def numbers(frames: list[Frame]) -> list[int]:
    return [number_of(frame.image) for frame in frames]


@pytest.mark.parametrize(("transports", "agreed"), [(("tcp", "udp"), "tcp"), (("udp",), "udp")])
def test_frames_arrive_with_the_cameras_times(
    clip: Clip, transports: tuple[str, ...], agreed: str
) -> None:
    with Camera(clip, transports=transports) as camera:
        with open_source(camera.url) as source:
            camera.fail()
            frames, _ = read(source)
        assert camera.agreed == [agreed]
    assert numbers(frames) == list(range(COUNT))
    assert [frame.index for frame in frames] == list(range(COUNT))
    # Sequence numbers and RTP timestamps overflow on the way.
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(COUNT)]
    assert all(isinstance(frame.time, Fraction) for frame in frames)
    assert {frame.stream for frame in frames} == {source.info.name} == {camera.url}
    assert (source.info.width, source.info.height) == (80, 64)
    assert source.info.average_rate == 25
    assert source.info.duration is None
    assert not source.dropped


def test_pictures_are_upright_rgb(tmp_path: Path) -> None:
    filmed = encode(tmp_path, [quadrants()] * 5)
    with Camera(filmed) as camera:
        camera.fail()
        with open_source(camera.url) as source:
            image = next(source).image
    assert image.dtype == np.uint8
    assert image.shape == (64, 96, 3)
    assert corner_colours(image) == "RG/BW"


def test_a_camera_that_slows_down(tmp_path: Path) -> None:
    """In the dark cameras take fewer pictures: their times count, not their rate."""
    taken = [Fraction(i, 25) for i in range(20)] + [Fraction(1 + i, 2) for i in range(1, 6)]
    filmed = encode(tmp_path, [numbered(i) for i in range(25)], times=taken)
    with Camera(filmed) as camera:
        camera.fail()
        with open_source(camera.url) as source:
            frames, _ = read(source)
    assert [frame.time for frame in frames] == taken


def test_a_replay_from_the_middle_of_a_recording_begins_at_zero(clip: Clip) -> None:
    with Camera(clip, begins_at=100.5) as camera, open_source(camera.url) as source:
        camera.fail()
        frames, _ = read(source)
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(COUNT)]


@pytest.mark.parametrize("fault", ["close", "reset", "bye"])
def test_a_live_stream_that_ends_is_no_normal_end(clip: Clip, fault: Fault) -> None:
    with Camera(clip, fault=fault) as camera, open_source(camera.url) as source:
        first = [next(source) for _ in range(10)]
        camera.fail()
        rest, error = read(source)
    assert numbers(first + rest) == list(range(COUNT))
    assert isinstance(error, TruncatedSourceError)
    assert "closed" in str(error)
    assert "Check the camera" in str(error)
    assert not source.ended


def test_a_part_of_a_live_stream_ends_normally(clip: Clip) -> None:
    with Camera(clip) as camera, open_source(camera.url, duration=1) as source:
        frames, error = read(source)
    assert (len(frames), error, source.ended) == (25, None, True)


@pytest.mark.parametrize(("stated", "message"), [(2, None), (10, "at 2.00 s of 10.00 s")])
def test_a_recording_ends_where_it_says(clip: Clip, stated: int, message: str | None) -> None:
    with Camera(clip, fault="bye", stated_seconds=stated) as camera:
        camera.fail()
        with open_source(camera.url) as source:
            frames, error = read(source)
    assert source.info.duration == stated
    assert numbers(frames) == list(range(COUNT))
    assert source.ended is (message is None)
    assert (error is None) is (message is None)
    if message is not None:
        assert isinstance(error, TruncatedSourceError)
        assert message in str(error)


def test_a_stated_length_of_zero_means_live(clip: Clip) -> None:
    with Camera(clip, stated_seconds=0) as camera, open_source(camera.url) as source:
        camera.fail()
        _, error = read(source)
    assert source.info.duration is None
    assert isinstance(error, TruncatedSourceError)


@pytest.mark.parametrize("audio", [False, True])
def test_pictures_that_stall_run_into_the_timeout_once(clip: Clip, audio: bool) -> None:
    """Also where a sound track would go on: it isn't asked for."""
    with (
        Camera(clip, fault="stall", audio=audio) as camera,
        open_source(camera.url, timeout=TIMEOUT) as source,
    ):
        start = time.monotonic()
        frames, error = read(source)
        waited = time.monotonic() - start
    assert numbers(frames) == list(range(COUNT))
    assert isinstance(error, TruncatedSourceError)
    assert f"nothing came for {TIMEOUT} s" in str(error)
    assert 0.9 * TIMEOUT < waited < 1.9 * TIMEOUT
    assert not source.ended


def test_close_ends_a_read_that_waits(clip: Clip) -> None:
    frames: list[Frame] = []
    ends: list[SourceError | None] = []
    nearly_all = threading.Event()

    def watch(source: Source) -> None:
        try:
            for frame in source:
                frames.append(frame)
                # The last one is complete only when something follows it.
                if frame.index == COUNT - 2:
                    nearly_all.set()
            ends.append(None)
        except SourceError as exc:
            ends.append(exc)

    with Camera(clip, fault="stall") as camera:
        source = open_source(camera.url, timeout=TIMEOUT)
        thread = threading.Thread(target=watch, args=(source,))
        thread.start()
        assert nearly_all.wait(5)
        source.close()
        start = time.monotonic()
        thread.join(5)
        assert time.monotonic() - start < 1.5 * TIMEOUT
        assert not thread.is_alive()
    assert ends == [None]
    assert numbers(frames) == list(range(COUNT - 1))
    assert not source.ended
    assert camera.requests[-1] == "TEARDOWN"


def test_a_camera_without_a_picture(clip: Clip) -> None:
    mute = dataclasses.replace(clip, pictures=[], times=[])
    start = time.monotonic()
    with (
        Camera(mute, fault="stall") as camera,
        pytest.raises(SourceError, match="no picture comes") as info,
    ):
        open_source(camera.url_with_password, timeout=TIMEOUT / 2)
    assert time.monotonic() - start < 3 * TIMEOUT
    assert PASSWORD not in str(info.value)


def test_the_password_opens_and_is_shown_nowhere(
    clip: Clip, capfd: pytest.CaptureFixture[str]
) -> None:
    with Camera(clip, password_needed=True) as camera:
        with open_source(camera.url_with_password) as source:
            camera.fail()
            frames, error = read(source)
        assert source.info.name == source.info.uri == camera.url
        assert len(frames) == COUNT
        refused: list[SourceError] = []
        for url in (camera.url, camera.url_with_password.replace(USER, "thief")):
            with pytest.raises(SourceError, match="access is refused") as info:
                open_source(url)
            assert info.value.__cause__ is None
            assert info.value.__context__ is None
            refused.append(info.value)
    shown = f"{source.info} {frames[0].stream} {error!r} {refused!r} {capfd.readouterr()}"
    assert PASSWORD not in shown
    assert USER not in shown


def test_the_engine_keeps_what_it_found_before_the_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_detector(tmp_path, detector_graph())
    pack_relations(tmp_path, relation_graph())
    monkeypatch.setenv("VINFER_BUNDLES", str(tmp_path))
    filmed = encode(
        tmp_path, [plain(APART)] * 10 + [plain(RIDING)] * 20, rate=10, pix_fmt="yuv444p"
    )
    lines = tmp_path / "events.jsonl"
    with Camera(filmed, password_needed=True) as camera, vinfer.Engine("tiny-relations") as engine:
        camera.fail()
        with pytest.raises(TruncatedSourceError, match="breaks off"):
            engine.run(camera.url_with_password, vinfer.EventsJsonl(lines))
    text = lines.read_text()
    assert PASSWORD not in text
    events = [event_from_record(line) for line in text.splitlines()]
    assert (events[0].type, events[-1].type) == ("open", "close")
    assert len({event.event_id for event in events}) == 1
    assert {event.stream for event in events} == {camera.url}
    last = events[-1]
    assert last.predicate == "ride"
    # The box jumps by more than a track can follow, so the pair needs one frame to be seen again.
    assert Fraction(1) <= last.start <= Fraction(12, 10)
    assert last.end == Fraction(29, 10)
