from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from videos import (
    corner_colours,
    noisy,
    number_of,
    numbered,
    quadrants,
    set_display_matrix,
    truncate,
    write_video,
)

from vinfer.errors import TruncatedSourceError
from vinfer.sources import Source, open_source
from vinfer.types import Frame


def read_until_error(source: Source) -> tuple[list[Frame], Exception | None]:
    frames: list[Frame] = []
    try:
        frames.extend(source)
    except TruncatedSourceError as exc:
        return frames, exc
    return frames, None


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty numbered frames, 25 a second, H.264 with B-frames."""
    folder = tmp_path_factory.mktemp("clips")
    pictures = (numbered(i) for i in range(50))
    return write_video(folder / "clip.mp4", pictures, options={"bf": "2"})


def test_frames_arrive_in_order_with_exact_times(clip: Path) -> None:
    with open_source(clip) as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(50))
    assert [frame.index for frame in frames] == list(range(50))
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(50)]
    assert {frame.stream for frame in frames} == {"clip.mp4"}
    image = frames[0].image
    assert (image.dtype, image.shape) == (np.uint8, (64, 80, 3))
    assert image.flags.c_contiguous
    assert not source.dropped


def test_info_tells_what_the_container_states(clip: Path) -> None:
    with open_source(clip, name="gate 3") as source:
        info = source.info
    assert (info.name, info.uri) == ("gate 3", str(clip))
    assert (info.width, info.height) == (80, 64)
    assert (info.average_rate, info.duration, info.num_frames) == (25, 2, 50)


def test_a_file_url_is_the_file(clip: Path) -> None:
    with open_source(clip.as_uri()) as source:
        assert source.info.uri == str(clip)
        assert len(list(source)) == 50


def test_a_colon_in_a_file_name_is_no_protocol(clip: Path, tmp_path: Path) -> None:
    odd = tmp_path / "http:%20clip?.mp4"
    odd.write_bytes(clip.read_bytes())
    with open_source(odd) as source:
        assert len(list(source)) == 50


def test_stride_start_and_duration_keep_times_and_numbers_of_the_stream(clip: Path) -> None:
    with open_source(clip, stride=4, start=Fraction(1, 2), duration=1) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [16, 20, 24, 28, 32, 36]
    assert [number_of(frame.image) for frame in frames] == [16, 20, 24, 28, 32, 36]
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in (16, 20, 24, 28, 32, 36)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate(tmp_path: Path, suffix: str) -> None:
    stated = [Fraction(n, 1000) for n in (0, 40, 80, 500, 520, 1000, 3000, 3040)]
    path = write_video(
        tmp_path / f"vfr{suffix}",
        [numbered(i) for i in range(8)],
        times=stated,
        time_base=Fraction(1, 1000),
    )
    with open_source(path) as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(8))
    assert [frame.time for frame in frames] == stated


def test_a_stream_that_starts_late_starts_at_zero(tmp_path: Path) -> None:
    stated = [Fraction(i, 10) + 5 for i in range(5)]
    path = write_video(tmp_path / "late.mkv", [numbered(i) for i in range(5)], times=stated)
    with open_source(path) as source:
        times = [frame.time for frame in source]
    assert times == [Fraction(i, 10) for i in range(5)]


def test_a_stream_without_timestamps_counts_at_its_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", [numbered(i) for i in range(10)])
    with open_source(path) as source:
        frames = list(source)
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    assert [frame.time for frame in frames] == [Fraction(i, 25) for i in range(10)]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_rotation_and_mirroring_are_undone(tmp_path: Path, clockwise: int, mirrored: bool) -> None:
    # What the camera stored is the scene turned the other way, and then mirrored.
    scene = (
        quadrants(height=64, width=96) if clockwise % 180 == 0 else quadrants(height=96, width=64)
    )
    stored = np.rot90(scene, clockwise // 90)
    stored = stored[:, ::-1] if mirrored else stored
    path = write_video(tmp_path / "phone.mp4", [np.ascontiguousarray(stored)] * 3)
    set_display_matrix(path, clockwise, mirrored=mirrored)
    with open_source(path) as source:
        frame = next(source)
        assert (source.info.height, source.info.width) == scene.shape[:2]
    assert frame.image.shape == scene.shape
    assert corner_colours(frame.image) == "RG/BW"
    assert frame.image.flags.c_contiguous


def test_limited_range_video_is_stretched(tmp_path: Path) -> None:
    picture = np.full((64, 64, 3), 255, np.uint8)  # stored as luma 235
    path = write_video(tmp_path / "limited.mkv", [picture], codec="ffv1", pix_fmt="yuv444p")
    with open_source(path) as source:
        assert next(source).image.min() >= 254


def test_full_range_video_is_not_stretched(tmp_path: Path) -> None:
    picture = np.full((64, 64, 3), 255, np.uint8)
    path = write_video(tmp_path / "full.avi", [picture] * 2, codec="mjpeg", pix_fmt="yuvj420p")
    with open_source(path) as source:
        assert abs(int(next(source).image[32, 32, 0]) - 255) <= 2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (33, 47)])
def test_any_size(tmp_path: Path, height: int, width: int) -> None:
    picture = np.full((height, width, 3), (200, 60, 20), np.uint8)
    path = write_video(tmp_path / "size.mkv", [picture], codec="ffv1", pix_fmt="bgr0")
    with open_source(path) as source:
        frames = list(source)
    assert [frame.image.shape for frame in frames] == [(height, width, 3)]
    assert frames[0].image[0, 0].tolist() == [200, 60, 20]


def test_an_8k_frame(tmp_path: Path) -> None:
    picture = np.full((4320, 7680, 3), 200, np.uint8)
    path = write_video(tmp_path / "8k.avi", [picture], codec="mjpeg", pix_fmt="yuvj420p")
    with open_source(path) as source:
        (frame,) = source
    assert frame.image.shape == (4320, 7680, 3)
    assert abs(int(frame.image[4319, 7679, 1]) - 200) <= 2


def test_a_large_video_is_decoded_by_several_threads_in_order(tmp_path: Path) -> None:
    pictures = (numbered(i, height=1088, width=1920) for i in range(12))
    path = write_video(tmp_path / "hd.mp4", pictures, options={"preset": "ultrafast"})
    with open_source(path) as source:
        assert [number_of(frame.image) for frame in source] == list(range(12))


def test_grey_video_has_three_equal_channels(tmp_path: Path) -> None:
    picture = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 3, 2).repeat(8, 0)
    path = write_video(tmp_path / "grey.mkv", [picture], codec="ffv1", pix_fmt="gray")
    with open_source(path) as source:
        image = next(source).image
    np.testing.assert_array_equal(image[..., 0], image[..., 1])
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    assert abs(image.astype(int) - picture).max() <= 2


def test_deep_colour_is_reduced_to_eight_bits(tmp_path: Path) -> None:
    picture = np.full((16, 16, 3), 120, np.uint8)
    path = write_video(tmp_path / "deep.mkv", [picture], codec="ffv1", pix_fmt="yuv444p10le")
    with open_source(path) as source:
        assert abs(next(source).image.astype(int) - 120).max() <= 2


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        (".mkv", "libx264", {"bf": "0"}),
        (".avi", "mpeg4", {"bf": "0", "qmin": "6", "qmax": "6"}),
        (".avi", "mjpeg", {}),
        (".webm", "libvpx", {}),
    ],
)
@pytest.mark.parametrize("fraction", [0.3, 0.7, 0.9])
def test_a_truncated_video_gives_its_good_frames_and_then_the_error(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str], fraction: float
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    whole = write_video(
        tmp_path / f"whole{suffix}",
        [noisy(i) for i in range(100)],
        codec=codec,
        options=options,
        pix_fmt=pix_fmt,
    )
    with open_source(whole) as source:
        frames, error = read_until_error(source)
    assert (len(frames), error) == (100, None)

    with open_source(truncate(whole, tmp_path / f"part{suffix}", fraction)) as source:
        frames, error = read_until_error(source)
    assert [number_of(frame.image) for frame in frames] == list(range(len(frames)))
    assert fraction - 0.2 < len(frames) / 100 < fraction + 0.1
    assert error is not None
    assert "breaks off" in str(error)


def test_a_truncated_streamable_mp4(tmp_path: Path) -> None:
    import av

    plain = write_video(tmp_path / "plain.mp4", [noisy(i) for i in range(50)], options={"bf": "2"})
    fast = tmp_path / "fast.mp4"
    with (
        av.open(str(plain)) as source,
        av.open(str(fast), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with open_source(fast) as opened:
        assert len(list(opened)) == 50
    with open_source(truncate(fast, tmp_path / "part.mp4", 0.7)) as opened:
        frames, error = read_until_error(opened)
        assert opened.dropped["corrupt_packet"] == 1
    numbers = [number_of(frame.image) for frame in frames]
    # The lost packet takes with it B-frames that are predicted from it, at the very end.
    assert numbers == sorted(set(numbers))
    assert numbers[:-2] == list(range(len(numbers) - 2))
    assert 25 < len(numbers) < 45
    assert error is not None


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi"])
def test_sound_that_goes_on_after_the_picture_is_no_truncation(tmp_path: Path, suffix: str) -> None:
    import av

    path = tmp_path / f"long{suffix}"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 80, 64, "yuv420p"
        sound = container.add_stream("mp3" if suffix == ".avi" else "aac", rate=44100)
        for i in range(25):
            container.mux(video.encode(av.VideoFrame.from_ndarray(numbered(i), format="rgb24")))
        container.mux(video.encode(None))
        for i in range(40):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((2, 4410), np.float32), format="fltp", layout="stereo"
            )
            silence.sample_rate, silence.pts = 44100, i * 4410
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with open_source(path) as source:
        frames, error = read_until_error(source)
    assert (len(frames), error) == (25, None)


def test_a_window_that_ends_before_the_break_is_complete(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "w.mkv", [numbered(i) for i in range(100)])
    part = truncate(whole, tmp_path / "p.mkv", 0.8)
    with open_source(part, duration=1) as source:
        frames, error = read_until_error(source)
    assert (len(frames), error) == (25, None)


def test_damaged_packets_are_counted_and_the_rest_is_delivered(tmp_path: Path) -> None:
    import av

    path = write_video(
        tmp_path / "m.avi",
        [numbered(i) for i in range(20)],
        codec="mjpeg",
        pix_fmt="yuvj420p",
    )
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    position, size = packets[7]
    start = data.index(b"\xff\xd8", position)
    data[start : start + size - 8] = bytes(size - 8)
    path.write_bytes(data)
    with open_source(path) as source:
        frames, error = read_until_error(source)
        assert source.dropped == {"corrupt_packet": 1}
    assert [number_of(frame.image) for frame in frames] == [*range(7), *range(8, 20)]
    assert error is None
    assert [frame.time for frame in frames][6:8] == [Fraction(6, 25), Fraction(8, 25)]


def test_frames_of_a_repeated_time_are_dropped_and_counted(tmp_path: Path) -> None:
    import av

    path = write_video(
        tmp_path / "d.mkv", [numbered(i) for i in range(6)], codec="mjpeg", pix_fmt="yuvj420p"
    )
    repeated = tmp_path / "repeated.mkv"
    with av.open(str(path)) as source, av.open(str(repeated), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            packet.stream = stream
            if packet.pts == 120:
                packet.pts = packet.dts = 80
            target.mux(packet)
    with open_source(repeated) as opened:
        frames = list(opened)
        assert opened.dropped == {"non_monotonic_time": 1}
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 4, 5]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in frames] == [Fraction(n, 1000) for n in (0, 40, 80, 160, 200)]


def test_close_ends_the_iteration_and_may_be_repeated(clip: Path) -> None:
    source = open_source(clip)
    assert number_of(next(source).image) == 0
    source.close()
    source.close()
    assert list(source) == []


def test_close_from_another_thread_stops_a_reader(clip: Path) -> None:
    source = open_source(clip)
    started = threading.Event()
    seen: list[int] = []

    def read() -> None:
        for frame in source:
            seen.append(frame.index)
            started.set()
            threading.Event().wait(0.02)

    reader = threading.Thread(target=read)
    reader.start()
    assert started.wait(5)
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    assert seen == list(range(len(seen)))
    assert len(seen) < 50
