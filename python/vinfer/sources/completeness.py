"""Whether a stream ended where its container says it ends."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

# Only these state an end of their own. For others FFmpeg takes it from the data that are there.
_MOVIE = "mov"  # each track states its duration, edits counted
_AVI = "avi"  # the header states the number of frames
_WHOLE = ("matroska", "flv")  # the header states the duration of the longest stream


class StatedEnd:
    """Compares the packets of a stream with the end that its container states.

    Stated frame numbers alone are not trusted: edit lists, repeated and invisible frames make them
    differ from what is decoded in complete files. The end in time is, to one frame.

    Attributes:
        duration: what the container states, seconds, or None.
        streams: the streams whose packets `see` must get.
    """

    def __init__(
        self,
        streams: list[Any],
        video_index: int,
        duration: Fraction | None,
        end: Fraction | None,
        tolerance: Fraction,
    ) -> None:
        self.duration = duration
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
        frame = 1 / rate if rate else Fraction(1, 10)
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
        return cls(streams, stream.index, duration, end, frame * Fraction(3, 2))

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
        if self._end is None or self._reached is None:
            return None
        if self._reached < self._end - self._tolerance:
            return f"at {float(self._reached):.2f} s of {float(self._end):.2f} s that it states"
        return None
