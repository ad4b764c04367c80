"""The annotated video, decoded again."""

from __future__ import annotations

import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from report_scenes import (
    BICYCLE_BOX,
    PERSON_BOX,
    RUN,
    event,
    found,
    frame,
    grey,
    nothing_found,
    stream,
    summary,
)

from vinfer.errors import OutputError
from vinfer.types import Event, FrameResult, UInt8Array

av = pytest.importorskip("av")
pytest.importorskip("cv2")

from vinfer.report.annotate import AnnotatedVideo  # noqa: E402
from vinfer.report.drawing import track_color  # noqa: E402

Pictures = list[tuple[Fraction, npt.NDArray[np.int16]]]
Step = tuple[UInt8Array, Fraction, FrameResult, list[Event]]
BT709 = 1


def decode(path: Path) -> Pictures:
    with av.open(str(path)) as container:
        return [
            (
                Fraction(picture.pts * picture.time_base),
                picture.reformat(format="rgb24", src_colorspace=BT709)
                .to_ndarray()
                .astype(np.int16),
            )
            for picture in container.decode(video=0)
        ]


def annotate(path: Path, steps: list[Step]) -> Pictures:
    height, width = steps[0][0].shape[:2]
    sink = AnnotatedVideo(path)
    sink.open(stream(width=width, height=height), RUN)
    for index, (image, time, result, events) in enumerate(steps):
        sink.frame(frame(index, image, time=time), result)
        for known in events:
            sink.event(known)
    sink.close(summary(num_frames=len(steps)))
    return decode(path)


def still(
    n: int, result: FrameResult
) -> list[tuple[UInt8Array, Fraction, FrameResult, list[Event]]]:
    return [(grey(), Fraction(i, 10), result, []) for i in range(n)]


def test_times_are_kept_with_a_variable_frame_rate(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1001, 30000), Fraction(1, 7), Fraction(3, 2), Fraction(61, 40)]
    steps: list[Step] = [(grey(), time, found(), []) for time in times]
    decoded = [time for time, _ in annotate(tmp_path / "out.mp4", steps)]
    assert len(decoded) == len(times)
    for have, want in zip(decoded, times, strict=True):
        assert abs(have - want) <= Fraction(1, 2 * 90_000)


def test_two_frames_within_one_tick_keep_their_order(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1), Fraction(1), Fraction(2)]
    steps: list[Step] = [(grey(), time, found(), []) for time in times]
    decoded = [time for time, _ in annotate(tmp_path / "out.mp4", steps)]
    assert decoded == sorted(set(decoded))
    assert len(decoded) == 4


def test_the_last_frame_lasts_as_long_as_the_one_before(tmp_path: Path) -> None:
    annotate(tmp_path / "out.mp4", still(15, found()))
    with av.open(str(tmp_path / "out.mp4")) as container:
        video = container.streams.video[0]
        assert video.duration * video.time_base == Fraction(3, 2)


def test_there_is_a_key_frame_each_second(tmp_path: Path) -> None:
    annotate(tmp_path / "out.mp4", still(35, found()))
    with av.open(str(tmp_path / "out.mp4")) as container:
        keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe]
    assert keys[:4] == pytest.approx([0, 1, 2, 3])


def test_pixels_change_where_the_boxes_are_and_only_there(tmp_path: Path) -> None:
    [_, (_, image)] = annotate(tmp_path / "out.mp4", still(2, found()))
    changed = np.abs(image - 128).max(axis=2) > 24
    for box in (PERSON_BOX, BICYCLE_BOX):
        x1, y1, x2, y2 = map(int, box)
        assert changed[y1 + 5 : y2 - 5, x1 - 1 : x1 + 2].any(axis=1).all()
        assert changed[y1 + 5 : y2 - 5, x2 - 1 : x2 + 2].any(axis=1).all()
        assert changed[y2 - 1 : y2 + 2, x1 + 5 : x2 - 5].any(axis=0).all()
        assert not changed[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8].any()
        # The plate with the text lies on top of the box, in the colour of the track.
        assert changed[y1 - 10 : y1 - 2, x1 + 2 : x1 + 30].mean() > 0.5
    assert not changed[140:].any()
    assert not changed[:20].any()


def test_a_box_has_the_colour_of_its_track(tmp_path: Path) -> None:
    # In HD the plate behind the text has a margin of 5 pixels.
    image = grey(width=1280, height=720)
    steps: list[Step] = [
        (image, Fraction(i, 10), found([(100, 200, 600, 600)]), []) for i in range(2)
    ]
    [_, (_, shown)] = annotate(tmp_path / "out.mp4", steps)
    plate = shown[180:196, 99:102].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(plate, track_color(3), atol=12)


def test_colours_survive_the_encoder(tmp_path: Path) -> None:
    colors = np.array([[200, 30, 40], [30, 160, 60], [40, 60, 200], [230, 220, 90]], np.uint8)
    image = np.repeat(np.repeat(colors[None], 64, axis=0), 48, axis=1)
    steps: list[Step] = [(image, Fraction(i, 10), nothing_found(), []) for i in range(2)]
    [_, (_, shown)] = annotate(tmp_path / "out.mp4", steps)
    for i, color in enumerate(colors):
        block = shown[8:56, 48 * i + 8 : 48 * i + 40].reshape(-1, 3)
        np.testing.assert_allclose(block.mean(axis=0), color, atol=5)


def test_the_caption_shows_from_the_announcement_to_the_last_supporting_frame(
    tmp_path: Path,
) -> None:
    steps = still(10, found())
    steps[3][3].append(event(kind="open", start=0.2, end=0.3))
    steps[8][3].append(event(kind="close", start=0.2, end=0.6))
    pictures = annotate(tmp_path / "out.mp4", steps)
    dark = [bool(image[-3:].mean() < 80) for _, image in pictures]
    # It closed with frame 8, after its end: a sink can't know that earlier, as in a live view.
    assert dark == [False] * 3 + [True] * 5 + [False] * 2


def test_an_event_that_a_cut_ends_is_still_shown_in_its_last_frame(tmp_path: Path) -> None:
    steps = still(6, found())
    steps[2][3].append(event(kind="open", start=0.1, end=0.2))
    # The engine tells of the end before the frame of the new shot (frame 4).
    steps[3][3].append(event(kind="close", start=0.1, end=0.3))
    pictures = annotate(tmp_path / "out.mp4", steps)
    assert [bool(image[-3:].mean() < 80) for _, image in pictures] == [False] * 2 + [True] * 2 + [
        False
    ] * 2


def test_an_open_event_links_its_two_boxes(tmp_path: Path) -> None:
    steps = still(2, found())
    steps[1][3].append(event(kind="open", start=0.1, end=0.1))
    [(_, before), (_, linked)] = annotate(tmp_path / "out.mp4", steps)
    x, y = 140, 85  # half way between the middles of the two boxes
    assert before[y - 1 : y + 2, x].max() < 140
    assert linked[y - 1 : y + 2, x].max() > 190


def test_many_open_events_leave_most_of_the_picture_free(tmp_path: Path) -> None:
    steps = still(1, nothing_found())
    steps[0][3].extend(event(n, kind="open", start=0, end=0) for n in range(40))
    [(_, image)] = annotate(tmp_path / "out.mp4", steps)
    assert image[: 180 * 3 // 5].mean() == pytest.approx(128, abs=3)
    assert image[-3:].mean() < 80


@pytest.mark.parametrize(
    ("size", "expected"), [((101, 75), (102, 76)), ((1, 1), (2, 2)), ((176, 144), (176, 144))]
)
def test_odd_sizes_grow_by_a_pixel(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    width, height = size
    image = grey(width=width, height=height)
    steps: list[Step] = [
        (image, Fraction(i, 10), found([(0, 0, width, height)]), []) for i in range(2)
    ]
    pictures = annotate(tmp_path / "out.mp4", steps)
    assert [image.shape for _, image in pictures] == [(expected[1], expected[0], 3)] * 2


def test_an_8k_frame_is_written(tmp_path: Path) -> None:
    image = grey(width=7680, height=4320)
    [(_, shown)] = annotate(tmp_path / "out.mp4", [(image, Fraction(0), found(), [])])
    assert shown.shape == (4320, 7680, 3)


def test_a_picture_of_another_size_is_scaled_with_its_boxes(tmp_path: Path) -> None:
    # Twice the width and four times the height of the first: it fits by its height.
    tall = grey(width=640, height=720)
    box = (64.0, 64.0, 576.0, 656.0)
    steps: list[Step] = [
        (grey(), Fraction(0), nothing_found(), []),
        (tall, Fraction(1), found([box]), []),
    ]
    [_, (_, image)] = annotate(tmp_path / "out.mp4", steps)
    assert image.shape == (180, 320, 3)
    assert image[:, :70].max() < 12  # beside the picture
    assert image[:, 250:].max() < 12
    left, right, bottom = 80 + 64 // 4, 80 + 576 // 4, 656 // 4
    changed = np.abs(image - 128).max(axis=2) > 24
    assert changed[40:150, left - 1 : left + 2].any(axis=1).all()
    assert changed[40:150, right - 1 : right + 2].any(axis=1).all()
    assert changed[bottom - 1 : bottom + 2, left + 5 : right - 5].any(axis=0).all()


def test_boxes_that_can_not_be_drawn_are_left_out(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    boxes = [(nan, 0, 10, 10), (0, 0, inf, 10), (-90, -90, -10, -10), (900, 900, 990, 990)]
    [_, (_, image)] = annotate(tmp_path / "out.mp4", still(2, found(boxes)))
    assert np.abs(image - 128).max() < 8


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.mp4"
    sink = AnnotatedVideo(path)
    sink.open(stream(), RUN)
    assert path.exists()
    sink.close(summary(num_frames=0))
    assert not path.exists()


def test_a_file_that_somebody_removed_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = AnnotatedVideo(path)
    sink.open(stream(), RUN)
    path.unlink()
    sink.close(summary(num_frames=0))
    assert not path.exists()


def test_a_run_that_ends_after_one_frame_leaves_a_valid_file(tmp_path: Path) -> None:
    assert len(annotate(tmp_path / "out.mp4", still(1, found()))) == 1


def test_without_x264_it_falls_back_to_mpeg4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    pictures = annotate(tmp_path / "out.mp4", still(12, found()))
    assert [time for time, _ in pictures] == [Fraction(i, 10) for i in range(12)]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_a_folder_that_can_not_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"can't write .*out\.mp4"):
        AnnotatedVideo(tmp_path / "file" / "out.mp4").open(stream(), RUN)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_an_output_error_that_names_the_free_space() -> None:
    sink = AnnotatedVideo("/dev/full")
    sink.open(stream(), RUN)

    def write() -> None:
        for index in range(200):
            sink.frame(frame(index), found())

    with pytest.raises(OutputError, match=r"No space left.*MB free"):
        write()
    sink.close(summary(num_frames=200))
    assert Path("/dev/full").exists()


BROKEN_OFF = """
import os, resource, signal, sys
sys.path.insert(0, {tests!r})
import numpy as np
from report_scenes import RUN, found, frame, stream, summary
from vinfer.errors import OutputError
from vinfer.report.annotate import AnnotatedVideo

noise = np.random.default_rng(0)
sink = AnnotatedVideo({path!r})
sink.open(stream(), RUN)
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    for index in range(60):
        sink.frame(frame(index, noise.integers(0, 256, (180, 320, 3), np.uint8)), found())
except OutputError as exc:
    assert {limit} and "raise that limit" in str(exc), exc
    sink.close(summary(num_frames=index))
    sys.exit(7)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_broken_off(path: Path, *, limit: int) -> int:
    code = BROKEN_OFF.format(tests=str(Path(__file__).parent), path=str(path), limit=limit)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.returncode


def test_a_killed_process_leaves_all_but_the_last_seconds(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    assert run_broken_off(path, limit=0) == -signal.SIGKILL
    times = [time for time, _ in decode(path)]
    assert len(times) >= 30
    assert times == [Fraction(i, 10) for i in range(len(times))]


def test_what_was_written_before_the_disk_was_full_stays_playable(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    assert run_broken_off(path, limit=1_200_000) == 7
    assert 0 < path.stat().st_size <= 1_200_000
    times = [time for time, _ in decode(path)]
    assert len(times) >= 10
    assert times == [Fraction(i, 10) for i in range(len(times))]


def test_a_disk_that_is_full_before_the_first_second_leaves_no_unplayable_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.mp4"
    assert run_broken_off(path, limit=60_000) == 7
    assert not path.exists()
