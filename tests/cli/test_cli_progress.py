"""Progress: what it says, on a terminal and elsewhere."""

import io
import re
from fractions import Fraction

import pytest

from vinfer.cli import progress
from vinfer.cli.progress import RunReporter, clock, counting, expected_frames
from vinfer.config import SourceSettings
from vinfer.delivery import Progress
from vinfer.types import StreamInfo


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stream(
    *, rate: int | None = 25, duration: int | None = 10, num_frames: int | None = 250
) -> StreamInfo:
    return StreamInfo(
        name="clip.mp4",
        uri="clip.mp4",
        width=64,
        height=64,
        average_rate=None if rate is None else Fraction(rate),
        duration=None if duration is None else Fraction(duration),
        num_frames=num_frames,
    )


def after(num_frames: int, info: StreamInfo) -> Progress:
    return Progress(
        info=info,
        num_frames=num_frames,
        stream_time=Fraction(num_frames, 25),
        frames_per_second=10.0,
        num_events=3,
    )


@pytest.mark.parametrize(
    ("info", "settings", "expected"),
    [
        (stream(), {}, 250),
        (stream(), {"stride": 3}, 84),
        (stream(), {"start": 4}, 150),
        (stream(), {"start": 4, "duration": 2}, 50),
        (stream(), {"start": 9, "duration": 20}, 25),
        (stream(num_frames=None), {}, 250),
        (stream(num_frames=None, duration=None), {}, None),
        (stream(num_frames=None, duration=None), {"duration": 2}, 50),
        (stream(rate=None, duration=None), {}, 250),
        (stream(), {"start": 20}, None),
    ],
)
def test_expected_frames(
    info: StreamInfo, settings: dict[str, float], expected: int | None
) -> None:
    assert expected_frames(info, SourceSettings.model_validate(settings)) == expected


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 61, 3600, 36061)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "10:01:01",
    ]


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = stream()
    with RunReporter(info, SourceSettings()) as reporter:
        reporter.update(after(10, info))
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
        reporter.update(after(50, info))
    assert capsys.readouterr().err == (
        "clip.mp4: 50/250 frames, 10.0 frames/s, 3 events, 0:20 left\n"
    )


def test_a_live_stream_has_no_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    info = stream(num_frames=None, duration=None)
    with RunReporter(info, SourceSettings()) as reporter:
        reporter.update(after(50, info))
    assert capsys.readouterr().err == "clip.mp4: 50 frames, 10.0 frames/s, 3 events\n"


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    info = stream()
    with RunReporter(info, SourceSettings()) as reporter:
        reporter.update(after(125, info))
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"clip\.mp4 .* 50% 10\.0 frames/s 3 events .* left", shown)


def test_counting_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting("pictures") as update:
        update(1, 60)
        monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
        update(2, 60)
    assert capsys.readouterr().err == "2/60 pictures\n"


def test_counting_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with counting("pictures") as update:
        update(30, 60)
    assert "50%" in terminal.getvalue()
