"""Ctrl-C and SIGTERM on a real run in a process of its own: files are finished and valid."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from videos import numbered, write_video

from vinfer.cli.interrupt import Interrupted, StopBetweenFrames, signals_raise
from vinfer.stores.jsonl import read_events

LONG = 30.0
NUM_FRAMES = 6000


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Far more frames than are processed before the signal comes."""
    path = tmp_path_factory.mktemp("clips") / "long.mp4"
    return write_video(path, [numbered(5)] * NUM_FRAMES, rate=25, options={"preset": "ultrafast"})


@contextlib.contextmanager
def running(clip: Path, out: Path, bundles: Path) -> Iterator[subprocess.Popen[str]]:
    """`vinfer run` that has written its first event."""
    command = [sys.executable, "-m", "vinfer.cli.main", "run", str(clip), "-o", str(out)]
    command += ["--bundle", "tiny-relations", "--threads", "1", "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "VINFER_BUNDLES": str(bundles)},
    )
    try:
        began = time.monotonic()
        events = out / "events.jsonl"
        while not (events.exists() and events.stat().st_size):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() - began < LONG, "no event within the time allowed"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_the_first_signal_finishes_the_files(
    long_clip: Path, tiny_bundles: Path, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "out"
    with running(long_clip, out, tiny_bundles) as process:
        process.send_signal(number)
        text, notes = process.communicate(timeout=LONG)
    assert process.returncode == code, notes
    assert "Stopping: finishing the files" in notes
    (run,) = json.loads(text)["runs"]
    assert run["exit_code"] == code
    assert run["error"]["kind"] == "Interrupted"
    assert not run["complete"]
    assert 0 < run["num_frames"] < NUM_FRAMES

    events = read_events(out / "events.jsonl")
    assert [event.type for event in events].count("close") == 1
    assert events[-1].type == "close"
    assert json.loads((out / "events.vidvrd.json").read_text())
    with contextlib.closing(sqlite3.connect(out / "events.sqlite")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert connection.execute("select count(*) from events").fetchone() == (1,)
    with av.open(str(out / "annotated.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == run["num_frames"]
    assert (out / "report.html").read_text().rstrip().endswith("</html>")


def test_a_second_signal_ends_at_once() -> None:
    code = (
        "import signal, time\n"
        "from vinfer.cli.interrupt import StopBetweenFrames\n"
        "with StopBetweenFrames(lambda: time.sleep(60)):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    print('finishing', flush=True)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    print('never')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=False
    )
    assert (done.returncode, done.stdout) == (130, "finishing\n")


def test_the_source_is_released_and_the_next_check_raises() -> None:
    released: list[bool] = []
    before = signal.getsignal(signal.SIGINT)
    with StopBetweenFrames(lambda: released.append(True)) as stop:
        stop.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted) as caught:
            stop.check()
    assert caught.value.exit_code == 130
    deadline = time.monotonic() + LONG
    while not released and time.monotonic() < deadline:
        time.sleep(0.01)
    assert released == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """A shell starts background jobs so; Ctrl-C for another job must not end this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_raise():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
