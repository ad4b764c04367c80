"""Writing an MP4 that keeps true times and stays playable however the writing ends."""

from __future__ import annotations

import contextlib
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from vinfer.errors import MissingDependencyError, OutputError
from vinfer.stores.files import output_error
from vinfer.types import UInt8Array

if TYPE_CHECKING:
    import av
    import av.container
    import av.packet
    import av.video.stream

# Ticks a second. 90 kHz is the clock of MPEG and RTP; MPEG-4 Part 2 has 16 bits for its own.
_CLOCKS = {"libx264": 90_000, "mpeg4": 60_000}
# superfast: 0.65 of the time of veryfast for 1.26 of its size (bikes.mp4). No B-frames: decoding
# order is presentation order, so the first picture is at 0 without an edit list.
_CODEC_OPTIONS = {
    "libx264": {"preset": "superfast", "crf": "23", "bf": "0", "forced-idr": "1"},
    "mpeg4": {"qscale": "4", "bf": "0"},
}
_CONTAINER_OPTIONS = {
    # Whole fragments while it is written (a killed process leaves a playable file), turned into
    # a plain MP4 with one index at the end (browsers seek at once). Needs FFmpeg 7.1.
    "movflags": "hybrid_fragmented+frag_keyframe",
    "flush_packets": "1",
}
_BT709 = 1  # primaries, transfer and matrix have this number in ISO/IEC 23091-2
_LIMITED_RANGE = 1
_KEYFRAME_SECONDS = 1  # how exactly a player can seek, and how much a crash loses


class _RecoverableFile:
    """A file that accepts nothing more once a write failed.

    The muxer finishes by rewriting the head of the file. After a failed write that would hide the
    fragments that are whole, so from then on the bytes on disk stay as they are.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._whole = 0
        self._head: int | None = None  # size of what precedes the first fragment
        self.failure: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.failure is not None:
            raise self.failure
        rest = memoryview(data)
        size = rest.nbytes
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as exc:
            self.failure = exc
            raise
        return size

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def mark_whole(self) -> None:
        """What is written so far ends with a whole fragment, or with the head before the first."""
        self._whole = self._file.tell()
        if self._head is None:
            self._head = self._whole

    @property
    def is_playable(self) -> bool:
        """Nothing failed, or a whole fragment came before the failure."""
        return self.failure is None or self._whole > (self._head or 0)

    def close(self) -> None:
        if self.failure is not None:
            with contextlib.suppress(OSError):  # a device can't be cut to size
                self._file.truncate(self._whole)
        self._file.close()


class Mp4Writer:
    """H.264 (MPEG-4 Part 2 where this FFmpeg has no x264) in MP4, one picture at a time.

    Pictures keep their times to 1/90000 s, so a variable frame rate survives. A key frame comes at
    least each second. When the process is killed, or the disk is full, all pictures up to the
    last key frame that was written can be played.
    """

    def __init__(self, path: Path, *, width: int, height: int) -> None:
        """Create the file.

        Args:
            path: the file; it is replaced.
            width, height: size of the pictures in pixels, both even.

        Raises:
            MissingDependencyError: PyAV is not installed.
            OutputError: the file can't be created.
        """
        try:
            import av
        except ImportError as exc:
            raise MissingDependencyError(
                "PyAV is not installed; install it with: pip install 'vinfer[video]'"
            ) from exc
        self._path = path
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._time_base = Fraction(1, _CLOCKS[codec])
        self._pending: deque[int] = deque()  # pts handed to the encoder, not yet written
        self._last_pts = -1
        self._last_duration = _CLOCKS[codec] // 25
        self._next_key = Fraction(0)
        try:
            self._file = _RecoverableFile(path)
        except OSError as exc:
            raise output_error(path, exc) from exc
        self._container = av.open(self._file, "w", format="mp4", options=_CONTAINER_OPTIONS)
        self._stream = self._open_stream(codec, width, height)

    def _open_stream(self, codec: str, width: int, height: int) -> av.video.stream.VideoStream:
        stream = cast(
            "av.video.stream.VideoStream",
            self._container.add_stream(codec, options=_CODEC_OPTIONS[codec]),
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._time_base
        # Untagged files are shown with other colours by one player than by the next.
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        return stream

    def write(self, image: UInt8Array, time: Fraction) -> None:
        """Add a picture.

        Args:
            image: uint8 ``[height, width, 3]``, RGB.
            time: presentation time in seconds, not before the previous picture's.

        Raises:
            OutputError: it can't be written; what was written before stays playable.
        """
        import av
        from av.video.frame import PictureType

        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED_RANGE
        )
        # Two pictures within one tick still need two times.
        frame.pts = max(round(time / self._time_base), self._last_pts + 1)
        frame.time_base = self._time_base
        frame.pict_type = PictureType.NONE
        if time >= self._next_key:
            frame.pict_type = PictureType.I
            self._next_key = time + _KEYFRAME_SECONDS
        self._last_pts = frame.pts
        self._pending.append(frame.pts)
        self._encode(frame)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        import av

        try:
            for packet in self._stream.encode(frame):
                packet.duration = self._duration(self._pending.popleft())
                self._container.mux(packet)
                self._file.mark_whole()
        except (OSError, av.FFmpegError) as exc:
            raise self._error(exc) from exc

    def _duration(self, pts: int) -> int:
        # Only the last picture has no successor; it stays as long as the one before it.
        if self._pending:
            self._last_duration = self._pending[0] - pts
        return self._last_duration

    def _error(self, exc: Exception) -> OutputError:
        if self._file.failure is not None:
            return output_error(self._path, self._file.failure)
        return OutputError(
            f"can't write {self._path}: the video encoder refused a picture of "
            f"{self._stream.width}x{self._stream.height} pixels: {exc}; run without the video"
        )

    def close(self) -> None:
        """Finish the file; without a single picture that can be played it is removed.

        Raises:
            OutputError: the rest can't be written; what was written before stays playable.
        """
        import av

        empty = self._last_pts < 0
        reported = self._file.failure is not None
        error: OutputError | None = None
        try:
            if not empty and not reported:
                self._encode(None)
        except OutputError as exc:
            error = exc
        try:
            self._container.close()
        except (OSError, av.FFmpegError) as exc:
            error = error or self._error(exc)
        self._file.close()
        # A device is no file of ours to remove; one that somebody removed already is none either.
        if (empty or not self._file.is_playable) and self._path.is_file():
            self._path.unlink()
        if error is not None and not reported:
            raise error
