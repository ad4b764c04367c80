"""Predictions in the VidVRD/VidOR format, for the public evaluators of those data sets."""

from __future__ import annotations

import dataclasses
import json
from array import array
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vinfer.errors import OutputError
from vinfer.stores.base import RunInfo
from vinfer.stores.files import RecordFile
from vinfer.types import UNTRACKED, Event, Frame, FrameResult, RunSummary, StreamInfo


@dataclasses.dataclass(slots=True)
class _Trajectory:
    """Boxes of one track: frame numbers, times in seconds, and four coordinates a frame."""

    frames: array[int] = dataclasses.field(default_factory=lambda: array("q"))
    times: array[float] = dataclasses.field(default_factory=lambda: array("d"))
    boxes: array[float] = dataclasses.field(default_factory=lambda: array("f"))

    def forget_before(self, time: float) -> None:
        count = int(np.searchsorted(np.asarray(self.times), time))
        del self.frames[:count], self.times[:count], self.boxes[: 4 * count]

    def between(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Boxes ``[last - first + 1, 4]``; frames without one are interpolated linearly."""
        # Copies: an array that lends its buffer to numpy can't grow.
        known = np.array(self.frames)
        boxes = np.array(self.boxes, np.float64).reshape(-1, 4)
        wanted = np.arange(first, last + 1)
        return np.stack([np.interp(wanted, known, boxes[:, side]) for side in range(4)], axis=1)


class VidvrdJson:
    """Sink that writes each final event as one relation instance.

    ``{"version": "VERSION 1.0", "results": {STREAM: [{"triplet", "score", "duration",
    "sub_traj", "obj_traj"}]}}``: ``duration`` is [first frame, last frame + 1); a trajectory
    has one ``[left, top, right, bottom]`` a frame, pixels that belong to the box, so right and
    bottom are ``x2 - 1`` and ``y2 - 1``. Frames on which a track was not seen are interpolated.

    The file is valid JSON after each event, so a crash keeps the events before it.
    """

    def __init__(self, path: Path | str, *, history: Fraction = Fraction(60)) -> None:
        """Prepare; nothing is opened yet.

        Args:
            path: the file.
            history: how far before its announcement an event may start, in seconds: at least
                `vinfer.events.segments.longest_lead`. Boxes that are older and belong to no
                announced event are forgotten.
        """
        self._path = Path(path)
        self._history = history
        self._file: RecordFile | None = None
        self._tracks: dict[int, _Trajectory] = {}
        self._going_on: dict[str, Event] = {}
        self._pruned_at = Fraction(0)
        self._separator = "\n"

    def open(self, info: StreamInfo, run: RunInfo) -> None:
        """Create the file.

        Raises:
            OutputError: it can't be created.
        """
        self._file = RecordFile(self._path, tail=b"\n]}}\n")
        video = json.dumps(info.name)
        try:
            self._file.append(
                f'{{"version": "VERSION 1.0", "results": {{{video}: ['.encode("ascii")
            )
        except BaseException:
            # `close` is not called after an `open` that failed.
            self._file.close()
            raise

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """Remember where the tracks are."""
        objects = result.detections
        for track, box in zip(objects.track_ids.tolist(), objects.boxes.tolist(), strict=True):
            if track == UNTRACKED:
                continue
            trajectory = self._tracks.setdefault(track, _Trajectory())
            trajectory.frames.append(frame.index)
            trajectory.times.append(float(frame.time))
            trajectory.boxes.extend(box)
        if frame.time - self._pruned_at >= self._history:
            self._forget(frame.time)

    def event(self, event: Event) -> None:
        """Write the event when it is final.

        Raises:
            OutputError: it can't be written, or its boxes are older than ``history``.
        """
        if event.type != "close":
            self._going_on[event.event_id] = event
            return
        self._going_on.pop(event.event_id, None)
        record = {
            "triplet": [event.subject.label, event.predicate, event.object.label],
            "score": event.score,
            "duration": [event.start_frame, event.end_frame + 1],
            "sub_traj": self._trajectory(event, event.subject.track_id),
            "obj_traj": self._trajectory(event, event.object.track_id),
        }
        assert self._file is not None, "event before open"
        text = json.dumps(record, separators=(",", ":"), allow_nan=False)
        self._file.append((self._separator + text).encode("ascii"))
        self._separator = ",\n"

    def close(self, summary: RunSummary) -> None:
        """Close the file.

        Raises:
            OutputError: the file system reports a late write error.
        """
        if self._file is not None:
            self._file.close()

    def _trajectory(self, event: Event, track: int) -> list[list[float]]:
        trajectory = self._tracks.get(track)
        if trajectory is None or trajectory.frames[0] > event.start_frame:
            raise OutputError(
                f"{self._path}: event {event.event_id} starts at {float(event.start):.2f} s, but "
                f"the boxes of track {track} are only kept for {self._history} s before an event "
                "is announced; give VidvrdJson a longer history"
            )
        boxes = trajectory.between(event.start_frame, event.end_frame)
        boxes[:, 2:] -= 1
        rounded: list[list[float]] = np.round(boxes, 2).tolist()
        return rounded

    def _forget(self, now: Fraction) -> None:
        self._pruned_at = now
        needed_from: dict[int, Fraction] = {}
        for event in self._going_on.values():
            for track in (event.subject.track_id, event.object.track_id):
                needed_from[track] = min(event.start, needed_from.get(track, event.start))
        for track, trajectory in list(self._tracks.items()):
            keep_from = min(now - self._history, needed_from.get(track, now))
            trajectory.forget_before(float(keep_from))
            if not trajectory.frames:
                del self._tracks[track]
