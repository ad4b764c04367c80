"""Stream time from the timestamps that containers and decoders state."""

from __future__ import annotations

from fractions import Fraction

# Reordering mistakes step back by a few frames; a longer step is a new clock (a joined recording).
DISCONTINUITY = Fraction(1)


class StreamClock:
    """Exact, strictly increasing time with the first frame at 0.

    Args:
        frame_duration: seconds a frame lasts where the stream does not say, > 0.
    """

    def __init__(self, frame_duration: Fraction) -> None:
        self._frame_duration = frame_duration
        self._origin: Fraction | None = None
        self._last: Fraction | None = None

    def time(self, presentation: Fraction | None) -> Fraction | None:
        """Stream time of the next frame.

        Args:
            presentation: what the stream states, seconds on its own clock; None where it states
                nothing: the frame then follows the one before at the nominal rate.

        Returns:
            Seconds since the first frame, or None for a frame that must be dropped because its
            time does not increase. A step back of more than a second is taken as a restart of the
            stream's clock, and time goes on from the frame before. So it does where the first
            frames state no time and the next one states one more than a second away from theirs.
        """
        if self._last is None:
            self._origin = presentation
            self._last = Fraction(0)
            return self._last
        following = self._last + self._frame_duration
        if presentation is None:
            self._last = following
            return following
        if self._origin is None:
            # FFmpeg loses the first time of a network camera, whose clock may begin anywhere.
            near = abs(presentation - following) <= DISCONTINUITY
            self._origin = Fraction(0) if near else presentation - following
        time = presentation - self._origin
        if time < self._last - DISCONTINUITY:
            self._origin = presentation - following
            time = following
        if time <= self._last:
            return None
        self._last = time
        return time
