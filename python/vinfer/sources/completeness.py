"""Whether a stream ended where its container says it ends."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av

# Only these state an end of their own. For others FFmpeg takes it from the data that are there.
_MOVIE = "mov"  # each track states its duration, edits counted
_AVI = "avi"  # the header states the number of frames
_WHOLE = ("matroska", "flv")  # the header states the duration of the longest stream
_RTSP = "rtsp"  # a recording's description states its duration; a live stream has no end
_CAMERA = "v4l2"
# Recorders state the longest track, which may be a sound track.
_RTSP_TOLERANCE = Fraction(1)


class StatedEnd:
    """Compares the packets of a stream with the end that its container states.

    Stated frame numbers alone are not trusted: edit lists, repeated and invisible frames make them
    differ from what is decoded in complete files. The end in time is, to one frame.

    Attributes:
        duration: what the container states, seconds, or None.
        live: whether it is a camera's picture of now, which has no end: each end is a break.
        streams: the streams whose packets `see` must get.
    """

    def __init__(
        self,
        streams: list[Any],
        video_index: int,
        duration: Fraction | None,
        end: Fraction | None,
        tolerance: Fraction,
        live: bool,
    ) -> None:
        self.duration = duration
        self.live = live
        self.streams = streams
        self._video_index = video_index
        self._end = end
        self._tolerance = tolerance
        self._reached: Fraction | None = None
        self._last_is_cut = False

    @classmethod
    def of(cls, container: av.container.InputContainer, stream: av.VideoStream) -> StatedEnd:
        """What this container states of this video stream."""
        kind = container.format.name
        rate = stream.average_rate or stream.guessed_rate
        tolerance = (1 / rate if rate else Fraction(1, 10)) * Fraction(3, 2)
        streams: list[Any] = [stream]
        duration = end = None
        if stream.duration is not None and stream.time_base is not None:
            duration = stream.duration * stream.time_base
        elif container.duration is not None:
            duration = Fraction(container.duration, av.time_base)
        if _AVI in kind and stream.frames and rate:
            duration = end = stream.frames / rate
        elif _MOVIE in kind and stream.duration and stream.time_base is not None:
            end = duration
            if stream.start_time is not None and duration is not None:
                end = duration + stream.start_time * stream.time_base
        elif any(name in kind for name in _WHOLE) and duration is not None:
            streams, end = list(container.streams), duration
        elif kind == _RTSP:
            # Some cameras state a length of 0.
            duration = end = duration or None
            tolerance = _RTSP_TOLERANCE
        live = _CAMERA in kind or (kind == _RTSP and end is None)
        return cls(streams, stream.index, duration, end, tolerance, live)

    def see(self, packet: av.Packet[Any]) -> None:
        """Take note of a packet, in the order of the file."""
        if packet.pts is None or packet.time_base is None:
            return
        end = (packet.pts + (packet.duration or 0)) * packet.time_base
        self._reached = end if self._reached is None else max(self._reached, end)
        if packet.stream_index == self._video_index:
            self._last_is_cut = packet.is_corrupt

    def missing(self) -> str | None:
        """After the last packet: what is missing in words, or None where nothing is."""
        if self._last_is_cut:
            return "its last packet is cut short"
        if self.live:
            return "the connection was closed or the stream was ended there"
        if self._end is None or self._reached is None:
            return None
        if self._reached < self._end - self._tolerance:
            return f"at {float(self._reached):.2f} s of {float(self._end):.2f} s that it states"
        return None


def index_is_cut(path: Path) -> bool:
    """An MP4 whose index begins and goes on past the end of the file.

    FFmpeg reads what there is of it, and may then know of no stream, or of one without samples.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return False
        start = 0
        while start + 8 <= size:
            file.seek(start)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4]), head[4:8]
            if length == 1:  # the length follows, in 64 bits
                length = int.from_bytes(head[8:])
            if kind == b"moov":
                return start + length > size
            if length < 8:  # 0: up to the end of the file
                return False
            start += length
    return False
