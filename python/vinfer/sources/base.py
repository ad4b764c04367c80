"""What every source does: hand out upright RGB frames in strictly increasing stream time."""

from __future__ import annotations

import abc
import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction

from vinfer.closing import Closing
from vinfer.errors import ConfigError, SourceError
from vinfer.types import Frame, StreamInfo, UInt8Array

# JPEG and WebP end at this size; beyond it one frame alone takes up to 0.8 GB.
MAX_SIDE = 16384


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """Which frames of a stream are wanted; times and frame numbers stay those of the whole stream.

    Attributes:
        stride: every how many frames one is taken, >= 1; frame 0 is the first.
        start: stream time of the first frame wanted, seconds, >= 0.
        duration: stretch from ``start`` that is wanted, seconds, > 0; None for all.

    Raises:
        ConfigError: a value is out of range.
    """

    stride: int = 1
    start: Fraction = Fraction(0)
    duration: Fraction | None = None

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ConfigError(f"stride is {self.stride}, expected 1 (every frame) or more")
        if self.start < 0:
            raise ConfigError(f"start is {float(self.start)} s, expected 0 or more")
        if self.duration is not None and self.duration <= 0:
            raise ConfigError(f"duration is {float(self.duration)} s, expected more than 0")

    def wants(self, index: int, stream_time: Fraction) -> bool:
        """Whether this frame is to be delivered."""
        return index % self.stride == 0 and stream_time >= self.start

    def is_past(self, stream_time: Fraction) -> bool:
        """Whether this frame and all after it lie behind the stretch."""
        return self.duration is not None and stream_time >= self.start + self.duration


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A picture whose conversion to RGB is still to do, as frames that are skipped need none.

    Attributes:
        index: its number in the stream.
        time: its stream time, seconds.
        to_rgb: makes uint8 ``[H, W, 3]``, or None where it can't be read (counted by the source).
    """

    index: int
    time: Fraction
    to_rgb: Callable[[], UInt8Array | None]


class Source(Closing):
    """An open stream: a context manager and a one-pass iterator of `Frame`.

    One thread iterates; any thread may call `close`.

    Attributes:
        info: what is known of the stream.
        dropped: what could not be delivered, counted by reason: ``corrupt_packet``,
            ``non_monotonic_time``, ``unreadable_image``.
        ended: whether its end was reached; False while frames may come, and after it was closed or
            broke off before.
    """

    info: StreamInfo

    def __init__(self, selection: Selection) -> None:
        self.dropped: Counter[str] = Counter()
        self.ended = False
        self._selection = selection
        # A plain flag and not an Event, whose lock a signal handler that calls close() could meet.
        self._stopped = False
        self._reading = threading.Lock()
        self._frames = self._select()

    @abc.abstractmethod
    def _pictures(self) -> Iterator[Picture]:
        """All pictures of the stream in order; raises `SourceError` after the last good one."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Free what is open; may be called more than once."""

    def _select(self) -> Iterator[Frame]:
        for picture in self._pictures():
            if self._stopped:
                return
            if self._selection.is_past(picture.time):
                break
            if not self._selection.wants(picture.index, picture.time):
                continue
            image = picture.to_rgb()
            if image is not None:
                yield Frame(image, picture.time, picture.index, self.info.name, time.time())
        self.ended = not self._stopped

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        """The next frame.

        Raises:
            StopIteration: the stream ended, or `close` was called.
            TruncatedSourceError: it broke off; every frame before was delivered.
        """
        try:
            with self._reading:
                if self._stopped:
                    raise StopIteration
                return next(self._frames)
        except SourceError:
            # Stopped while it waited for a frame that did not come: no failure of the stream.
            if self._stopped:
                raise StopIteration from None
            raise
        finally:
            # close() leaves freeing to the thread that is decoding.
            if self._stopped:
                self.close()

    def close(self) -> None:
        """Stop the stream and free it; idempotent, from any thread.

        A thread that waits for a frame gets the one being decoded or StopIteration, at the latest
        when the source's timeout runs out.
        """
        self._stopped = True
        if self._reading.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._reading.release()
