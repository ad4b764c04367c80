"""The data that stages hand to each other: arrays in the hot path, plain records at the end.

Boxes are xyxy, float32, in pixels of the source frame, continuous (x2 - x1 is the width). Times are
`Fraction` seconds of the stream's own clock with its first frame at 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from vinfer.errors import DTypeError, MissingDependencyError, ShapeError

if TYPE_CHECKING:
    import supervision

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]

UNTRACKED = -1


def _checked(name: str, array: Any, dtype: type[np.generic], shape: tuple[int | None, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise DTypeError(f"{name}: found {found}, expected a numpy array of {np.dtype(dtype)}")
    if array.ndim != len(shape) or any(
        want is not None and have != want for have, want in zip(array.shape, shape, strict=True)
    ):
        wanted = "[" + ", ".join("n" if want is None else str(want) for want in shape) + "]"
        raise ShapeError(f"{name}: found shape {list(array.shape)}, expected {wanted}")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture of a stream.

    Attributes:
        image: uint8 ``[H, W, 3]``, RGB, upright (the container's rotation is applied).
        time: presentation time in the stream, seconds, exact; the first frame is at 0.
        index: number of the frame in the stream, counted from 0 in presentation order.
        stream: name of the stream it came from.
        arrival: Unix time at which it was decoded, seconds.
    """

    image: UInt8Array
    time: Fraction
    index: int
    stream: str
    arrival: float


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects of one frame.

    Attributes:
        boxes: float32 ``[n, 4]``, xyxy in pixels of the source frame.
        scores: float32 ``[n]`` in [0, 1].
        labels: int32 ``[n]``, indices into ``names``.
        track_ids: int64 ``[n]``, -1 where no track is known.
        names: the detector's vocabulary.

    Raises:
        ShapeError, DTypeError: the arrays do not agree with the above.
    """

    boxes: Float32Array
    scores: Float32Array
    labels: Int32Array
    track_ids: Int64Array
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        _checked("boxes", self.boxes, np.float32, (None, 4))
        n = len(self.boxes)
        _checked("scores", self.scores, np.float32, (n,))
        _checked("labels", self.labels, np.int32, (n,))
        _checked("track_ids", self.track_ids, np.int64, (n,))

    @classmethod
    def empty(cls, names: Sequence[str]) -> Detections:
        """No objects, with the vocabulary kept."""
        return cls.untracked(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), names
        )

    @classmethod
    def untracked(
        cls,
        boxes: Float32Array,
        scores: Float32Array,
        labels: Int32Array,
        names: Sequence[str],
    ) -> Detections:
        """Objects straight from a detector: every track id is -1."""
        return cls(boxes, scores, labels, np.full(len(boxes), UNTRACKED, np.int64), tuple(names))

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, which: npt.NDArray[Any]) -> Detections:
        """The objects at a boolean mask or an index array, in that order."""
        return dataclasses.replace(
            self,
            boxes=self.boxes[which],
            scores=self.scores[which],
            labels=self.labels[which],
            track_ids=self.track_ids[which],
        )

    def name(self, i: int) -> str:
        """Name of the class of object ``i``."""
        return self.names[int(self.labels[i])]

    def to_dict(self) -> list[dict[str, Any]]:
        """JSON-ready records, one an object."""
        return [
            {
                "label": self.name(i),
                "score": float(self.scores[i]),
                "box": [float(v) for v in self.boxes[i]],
                "track_id": None if self.track_ids[i] == UNTRACKED else int(self.track_ids[i]),
            }
            for i in range(len(self))
        ]

    def to_coco(self, image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """COCO result records: ``bbox`` is ``[x, y, width, height]``.

        Args:
            image_id: the picture's COCO id.
            category_ids: COCO category id of each entry of ``names``.
        """
        return [
            {
                "image_id": image_id,
                "category_id": int(category_ids[label]),
                "bbox": [float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1)],
                "score": float(score),
            }
            for (x1, y1, x2, y2), label, score in zip(
                self.boxes, self.labels, self.scores, strict=True
            )
        ]

    def to_mot(self, frame_number: int) -> list[str]:
        """MOTChallenge lines ``frame,id,left,top,width,height,score,-1,-1,-1``.

        Args:
            frame_number: 1-based, as MOTChallenge counts. Untracked objects are left out.
        """
        return [
            f"{frame_number},{track},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f}"
            ",-1,-1,-1"
            for (x1, y1, x2, y2), track, score in zip(
                self.boxes.tolist(), self.track_ids.tolist(), self.scores.tolist(), strict=True
            )
            if track != UNTRACKED
        ]

    def to_supervision(self) -> supervision.Detections:
        """The same objects as `supervision.Detections` (class names in ``data["class_name"]``).

        Raises:
            MissingDependencyError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as exc:
            raise MissingDependencyError.of("supervision", "video", exc) from exc
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels.astype(int),
            tracker_id=self.track_ids.astype(int),
            data={"class_name": np.array([self.names[label] for label in self.labels])},
        )

    @classmethod
    def from_supervision(cls, objects: supervision.Detections, names: Sequence[str]) -> Detections:
        """The reverse of `to_supervision`; missing confidences count as 1, missing ids as -1."""
        n = len(objects)
        scores = np.ones(n) if objects.confidence is None else objects.confidence
        labels = np.zeros(n) if objects.class_id is None else objects.class_id
        tracks = np.full(n, UNTRACKED) if objects.tracker_id is None else objects.tracker_id
        return cls(
            np.ascontiguousarray(objects.xyxy, np.float32).reshape(n, 4),
            np.asarray(scores, np.float32),
            np.asarray(labels, np.int32),
            np.asarray(tracks, np.int64),
            tuple(names),
        )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Relations:
    """Scored triplets between the objects of one frame.

    Attributes:
        pairs: int32 ``[m, 2]``, indices (subject, object) into the frame's detections.
        predicates: int32 ``[m]``, indices into ``names``.
        scores: float32 ``[m]`` in [0, 1]: calibrated probability that the predicate holds.
        names: the relation model's predicates.
    """

    pairs: Int32Array
    predicates: Int32Array
    scores: Float32Array
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        _checked("pairs", self.pairs, np.int32, (None, 2))
        _checked("predicates", self.predicates, np.int32, (len(self.pairs),))
        _checked("scores", self.scores, np.float32, (len(self.pairs),))

    @classmethod
    def empty(cls, names: Sequence[str]) -> Relations:
        """No relations, with the vocabulary kept."""
        return cls(
            np.zeros((0, 2), np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), tuple(names)
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def select(self, which: npt.NDArray[Any]) -> Relations:
        """The relations at a boolean mask or an index array, in that order."""
        return dataclasses.replace(
            self,
            pairs=self.pairs[which],
            predicates=self.predicates[which],
            scores=self.scores[which],
        )

    def name(self, i: int) -> str:
        """Name of the predicate of relation ``i``."""
        return self.names[int(self.predicates[i])]

    def to_dict(self) -> list[dict[str, Any]]:
        """JSON-ready records; ``subject`` and ``object`` are indices into the detections."""
        return [
            {
                "subject": int(self.pairs[i, 0]),
                "predicate": self.name(i),
                "object": int(self.pairs[i, 1]),
                "score": float(self.scores[i]),
            }
            for i in range(len(self))
        ]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What the engine found in one picture."""

    detections: Detections
    relations: Relations
    is_cut: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record with ``detections`` and ``relations``."""
        return {
            "detections": self.detections.to_dict(),
            "relations": self.relations.to_dict(),
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Participant:
    """Subject or object of an event.

    Attributes:
        label: class name.
        track_id: the track, unique within the stream.
        box: xyxy in pixels of the source frame at the event's best moment (`Event.peak_time`).
    """

    label: str
    track_id: int
    box: tuple[float, float, float, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return {"label": self.label, "track_id": self.track_id, "box": list(self.box)}


EventType = Literal["open", "update", "close"]


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """``<subject, predicate, object>`` over a stretch of stream time.

    Attributes:
        type: ``open`` when announced, ``update`` while it goes on, ``close`` when it is final.
        event_id: 16 hexadecimal digits, made from stream, tracks, predicate and start.
        stream: name of the stream.
        start: stream time of the first frame that supports it, seconds.
        end: stream time of the last frame that supports it so far; final in ``close``.
        start_frame, end_frame: numbers of these frames.
        subject, predicate, object: the triplet.
        score: mean score over the supporting frames, in [0, 1].
        peak_score, peak_time, peak_frame: the best frame.
        support: number of frames that support it.
        bundle: ``name@version`` of the relation bundle.
        config_hash: 16 hexadecimal digits of everything that decides the result.
    """

    type: EventType
    event_id: str
    stream: str
    start: Fraction
    end: Fraction
    start_frame: int
    end_frame: int
    subject: Participant
    predicate: str
    object: Participant
    score: float
    peak_score: float
    peak_time: Fraction
    peak_frame: int
    support: int
    bundle: str = ""
    config_hash: str = ""

    @property
    def duration(self) -> Fraction:
        """``end - start`` in seconds; 0 for a single frame."""
        return self.end - self.start

    def __str__(self) -> str:
        return (
            f"{float(self.start):.2f}-{float(self.end):.2f} s  {self.subject.label}"
            f"#{self.subject.track_id} {self.predicate} {self.object.label}"
            f"#{self.object.track_id}  {self.score:.2f}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a stream when it is opened.

    Attributes:
        name: name of the stream, part of every event id.
        uri: what was opened.
        width, height: size of the upright picture in pixels.
        average_rate: frames a second as the container states it, or None.
        duration: seconds as the container states it, or None (live, folder of images).
        num_frames: frames as the container states it, or None.
    """

    name: str
    uri: str
    width: int
    height: int
    average_rate: Fraction | None
    duration: Fraction | None
    num_frames: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did.

    Attributes:
        stream: the stream.
        num_frames: frames that were processed.
        stream_seconds: stream time of the last frame.
        wall_seconds: time the run took.
        events: the final events, in order of (start, end, subject track, predicate, object track).
        dropped: what was lost, by reason.
        complete: False when the source broke off, an error ended the run or it was interrupted.
    """

    stream: StreamInfo
    num_frames: int
    stream_seconds: Fraction
    wall_seconds: float
    events: tuple[Event, ...]
    dropped: Mapping[str, int]
    complete: bool
