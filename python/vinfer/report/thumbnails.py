"""A small picture of each event's best frame, kept in bounded memory."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from fractions import Fraction

import numpy as np

from vinfer.report.drawing import Pen, opencv, shifted, track_color
from vinfer.types import Event, Frame, UInt8Array

MAX_SIDE = 320  # pixels of a thumbnail's longer side
_JPEG_QUALITY = 82
# The best frame of an event is told when the event opens, with each update and when it closes.
# With the default settings that is at most 1.6 s later (update interval, missing time, merge gap).
_MEMORY_SECONDS = Fraction(4)
_MEMORY_BYTES = 48 << 20
_MAX_KEPT = 400  # about 5 MB in the page; of more events the strongest have a picture


@dataclasses.dataclass(frozen=True, slots=True)
class _SmallFrame:
    image: UInt8Array
    scale: float
    time: Fraction


@dataclasses.dataclass(frozen=True, slots=True)
class _Thumbnail:
    jpeg: bytes
    score: float
    frame: int


class Thumbnails:
    """Remembers the last seconds of a stream in small, and from them one JPEG an event.

    An event whose best frame is told too late, after it was forgotten, keeps the picture of the
    best frame told before.
    """

    def __init__(self) -> None:
        """No frames, no events."""
        self._cv2 = opencv()
        self._recent: OrderedDict[int, _SmallFrame] = OrderedDict()
        self._recent_bytes = 0
        self._kept: dict[str, _Thumbnail] = {}

    def add(self, frame: Frame) -> None:
        """Remember a frame, and forget the oldest."""
        small = self._shrunk(frame)
        self._recent[frame.index] = small
        self._recent_bytes += small.image.nbytes
        while len(self._recent) > 1:
            oldest = next(iter(self._recent.values()))
            too_old = frame.time - oldest.time > _MEMORY_SECONDS
            if not too_old and self._recent_bytes <= _MEMORY_BYTES:
                break
            self._recent.popitem(last=False)
            self._recent_bytes -= oldest.image.nbytes

    def update(self, event: Event) -> None:
        """Take the picture of the event's best frame, where it is new and still remembered."""
        before = self._kept.get(event.event_id)
        if before is not None and before.frame == event.peak_frame:
            return
        small = self._recent.get(event.peak_frame)
        if small is None:
            return
        jpeg = self._picture(small, event)
        self._kept[event.event_id] = _Thumbnail(jpeg, event.peak_score, event.peak_frame)
        if len(self._kept) > _MAX_KEPT:
            del self._kept[min(self._kept, key=lambda key: (self._kept[key].score, key))]

    def jpeg(self, event_id: str) -> bytes | None:
        """The picture of that event, JPEG of at most 320 pixels a side; None if there is none."""
        kept = self._kept.get(event_id)
        return None if kept is None else kept.jpeg

    def _shrunk(self, frame: Frame) -> _SmallFrame:
        height, width = frame.image.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # Averaging all pixels of a 4k frame takes longer than encoding it; every k-th will do.
        step = max(1, int(1 / scale) // 4)
        image = np.ascontiguousarray(frame.image[::step, ::step]) if step > 1 else frame.image
        small = self._cv2.resize(image, size, interpolation=self._cv2.INTER_AREA)
        return _SmallFrame(small, scale, frame.time)

    def _picture(self, small: _SmallFrame, event: Event) -> bytes:
        image = small.image.copy()
        height, width = image.shape[:2]
        pen = Pen(width, height)
        for participant in (event.object, event.subject):
            box = shifted(participant.box, small.scale)
            pen.box(image, box, track_color(participant.track_id), strong=True)
        bgr = self._cv2.cvtColor(image, self._cv2.COLOR_RGB2BGR)
        quality = [self._cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        _, encoded = self._cv2.imencode(".jpg", bgr, quality)
        return bytes(encoded.tobytes())
