"""The clip again, with boxes, tracks and the events that are going on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vinfer.report.drawing import Box, CaptionLine, Pen, opencv, shifted, track_color
from vinfer.report.mp4 import Mp4Writer
from vinfer.stores.base import RunInfo
from vinfer.stores.files import output_error
from vinfer.types import (
    UNTRACKED,
    Detections,
    Event,
    Frame,
    FrameResult,
    Participant,
    RunSummary,
    StreamInfo,
    UInt8Array,
)


class AnnotatedVideo:
    """Sink that writes an MP4 with what was found in each frame.

    Boxes carry ``label #track score`` in a colour that belongs to the track. While an event is
    open, its two boxes are bold and linked, and a caption names it. An event shows from the frame
    with which it was announced, as it would live, not from its start, known only afterwards.

    The times of the frames are kept. Odd sizes grow by a pixel; pictures of another size than the
    first (a folder of images) are scaled to fit.
    """

    def __init__(self, path: Path | str) -> None:
        """Args: path: the MP4 file; it is replaced, and removed if there is no frame."""
        self._path = Path(path)
        self._writer: Mp4Writer | None = None
        # Events come after the frame with which they became known: each frame waits for the next.
        self._waiting: tuple[Frame, FrameResult] | None = None
        self._open_events: dict[str, Event] = {}
        self._closed_events: list[Event] = []

    def open(self, info: StreamInfo, run: RunInfo) -> None:
        """Create the file, and its folder.

        Raises:
            OutputError: they can't be created.
            MissingDependencyError: PyAV or OpenCV is not installed.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise output_error(self._path, exc) from exc
        # 4:2:0 has one colour sample for 2x2 pixels.
        self._size = (info.height + info.height % 2, info.width + info.width % 2)
        self._pen = Pen(info.width, info.height)
        self._writer = Mp4Writer(self._path, width=self._size[1], height=self._size[0])

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """Take a frame; the one before it is written.

        Raises:
            OutputError: it can't be written.
        """
        self._write_waiting()
        self._waiting = (frame, result)

    def event(self, event: Event) -> None:
        """Take what became known about an event."""
        if event.type == "close":
            self._open_events.pop(event.event_id, None)
            self._closed_events.append(event)
        else:
            self._open_events[event.event_id] = event

    def close(self, summary: RunSummary) -> None:
        """Write the last frame and finish the file.

        Raises:
            OutputError: the rest can't be written; what was written before stays playable.
        """
        if self._writer is None:
            return
        try:
            self._write_waiting()
        finally:
            writer, self._writer = self._writer, None
            writer.close()

    def _write_waiting(self) -> None:
        if self._waiting is None:
            return
        assert self._writer is not None, "frame before open"
        frame, result = self._waiting
        # It must not be tried again by `close` when it fails here.
        self._waiting = None
        # An event that ends with this frame was still going on in it.
        events = [e for e in self._closed_events if e.start <= frame.time <= e.end]
        events += self._open_events.values()
        self._closed_events.clear()
        events.sort(key=lambda e: (e.start, e.event_id))
        image = self._annotated(frame.image, result.detections, events)
        self._writer.write(image, frame.time)

    def _annotated(
        self, image: UInt8Array, detections: Detections, events: list[Event]
    ) -> UInt8Array:
        canvas, scale, left, top = _fit(image, self._size)
        boxes = [shifted(tuple(box), scale, left, top) for box in detections.boxes.tolist()]
        tracks = detections.track_ids.tolist()
        by_track = dict(zip(tracks, boxes, strict=True))
        by_track.pop(UNTRACKED, None)
        bold = {e.subject.track_id for e in events} | {e.object.track_id for e in events}
        # Weak first, so that the best detections and the participants lie on top.
        order = sorted(
            range(len(boxes)), key=lambda i: (tracks[i] in bold, float(detections.scores[i]))
        )
        for i in order:
            self._pen.box(canvas, boxes[i], track_color(tracks[i]), strong=tracks[i] in bold)
        for event in events:
            self._link(canvas, event, by_track)
        for i in order:
            name = _object_name(detections.name(i), tracks[i])
            text = f"{name} {detections.scores[i]:.2f}"
            self._pen.tag(canvas, boxes[i], text, track_color(tracks[i]))
        self._pen.caption(canvas, [_caption_line(event) for event in events])
        return canvas

    def _link(self, canvas: UInt8Array, event: Event, by_track: dict[int, Box]) -> None:
        subject = by_track.get(event.subject.track_id)
        object_ = by_track.get(event.object.track_id)
        if subject is not None and object_ is not None:
            self._pen.link(canvas, subject, object_)


def _object_name(label: str, track_id: int) -> str:
    return label if track_id == UNTRACKED else f"{label} #{track_id}"


def _caption_line(event: Event) -> CaptionLine:
    def name(participant: Participant) -> str:
        return _object_name(participant.label, participant.track_id)

    return CaptionLine(
        name(event.subject),
        event.predicate,
        name(event.object),
        track_color(event.subject.track_id),
        track_color(event.object.track_id),
    )


def _fit(image: UInt8Array, size: tuple[int, int]) -> tuple[UInt8Array, float, float, float]:
    """A copy of the picture on a canvas of that size.

    Args:
        image: uint8 ``[h, w, 3]``.
        size: height and width of the canvas, even.

    Returns:
        The canvas, and how it was placed: canvas px = picture px * scale + (left, top).
    """
    cv2 = opencv()
    height, width = size
    h, w = image.shape[:2]
    if height - h in (0, 1) and width - w in (0, 1):
        # Repeating the last row and column leaves no line at the border.
        border = (0, height - h, 0, width - w)
        canvas: UInt8Array = cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE)
        return canvas, 1.0, 0.0, 0.0
    scale = min(height / h, width / w)
    new_h, new_w = max(1, round(h * scale)), max(1, round(w * scale))
    top, left = (height - new_h) // 2, (width - new_w) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[top : top + new_h, left : left + new_w] = cv2.resize(
        image, (new_w, new_h), interpolation=method
    )
    return canvas, scale, float(left), float(top)
