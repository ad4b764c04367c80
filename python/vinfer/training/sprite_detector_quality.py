"""How well a detector finds sprites in clips after H.264: what is missed, made up, and how far off.

Found is what overlaps by half and has the right class.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from vinfer.errors import TrainingError
from vinfer.stages.box_iou import box_iou
from vinfer.stages.detect import Detector
from vinfer.training.sprite_detector_pictures import (
    FIRST_SEED,
    SIZE,
    LabelledPicture,
    coded_frames,
)
from vinfer.training.sprites import CLASSES, make_clip
from vinfer.types import Detections, Float32Array, Int64Array

MIN_OVERLAP = 0.5
"""IoU from which a box is that of an object."""

STEP = 10
"""One frame in so many is looked at: its neighbours show the same objects nearly in place."""

HELD_OUT_SEED = 500_000
"""Clips count on from it; below `FIRST_SEED`, so that no training saw them."""

Progress = Callable[[int, int], None]
"""Takes the number of clips done and of all."""


@dataclasses.dataclass(frozen=True, slots=True)
class SpriteDetectorQuality:
    """Figures at the detector's own thresholds.

    Attributes:
        num_pictures, num_objects: that were looked at.
        recall: share of objects that were found, by class.
        false_per_picture: detections that are no object, or one found already.
        error_median, error_95: pixels by which the side that is farthest off is off, of the found
            objects: the median, and what 95 % stay below.
        within_a_pixel: share of the found objects with no side more than 1 pixel off.
    """

    num_pictures: int
    num_objects: int
    recall: Mapping[str, float]
    false_per_picture: float
    error_median: float
    error_95: float
    within_a_pixel: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return dataclasses.asdict(self)


def measure_on_clips(
    detector: Detector,
    num_clips: int,
    *,
    seed: int = HELD_OUT_SEED,
    progress: Progress | None = None,
    **look: Any,
) -> SpriteDetectorQuality:
    """Run a detector over every tenth frame of clips.

    Args:
        detector: its classes are those of the sprites.
        num_clips: 1 or more.
        seed: of the first clip; a seed for which no room is found is left out.
        progress: called after each clip.
        look: options of `make_clip`.

    Raises:
        MissingDependencyError: PyAV is not installed, or its FFmpeg has no x264.
    """
    return measure(detector, held_out_frames(num_clips, seed=seed, progress=progress, **look))


def held_out_frames(
    num_clips: int, *, seed: int = HELD_OUT_SEED, progress: Progress | None = None, **look: Any
) -> Iterable[LabelledPicture]:
    """The frames of clips as `measure_on_clips` has them."""
    done = 0
    for clip_seed in range(seed, FIRST_SEED):
        try:
            clip = make_clip(clip_seed, **{"size": SIZE, **look})
        except TrainingError:
            continue
        yield from coded_frames(clip)[::STEP]
        done += 1
        if progress is not None:
            progress(done, num_clips)
        if done == num_clips:
            return


def measure(detector: Detector, pictures: Iterable[LabelledPicture]) -> SpriteDetectorQuality:
    """Run a detector over labelled pictures; arguments as for `measure_on_clips`."""
    objects: collections.Counter[int] = collections.Counter()
    found: collections.Counter[int] = collections.Counter()
    errors: list[Float32Array] = []
    num_pictures = num_false = 0
    for picture in pictures:
        detections = detector.detect(picture.image)
        which = matches(detections, picture.labels, picture.boxes)
        num_pictures += 1
        num_false += int((which < 0).sum())
        rows = np.flatnonzero(which >= 0)
        true = which[rows]
        objects.update(picture.labels.tolist())
        found.update(picture.labels[true].tolist())
        errors.append(np.abs(detections.boxes[rows] - picture.boxes[true]).max(1, initial=0.0))
    off = np.concatenate(errors)
    return SpriteDetectorQuality(
        num_pictures=num_pictures,
        num_objects=objects.total(),
        recall={
            CLASSES[label]: round(found[label] / objects[label], 4)
            for label in range(len(CLASSES))
            if objects[label]
        },
        false_per_picture=round(num_false / num_pictures, 4),
        error_median=round(float(np.median(off)), 3) if len(off) else 0.0,
        error_95=round(float(np.quantile(off, 0.95)), 3) if len(off) else 0.0,
        within_a_pixel=round(float((off <= 1).mean()), 4) if len(off) else 0.0,
    )


def matches(detections: Detections, labels: Int64Array, boxes: Float32Array) -> Int64Array:
    """Which object each detection is: by score, the free one of its class that it overlaps most.

    Args:
        detections: of one picture, by descending score.
        labels: int64 ``[n]``, of the true objects.
        boxes: float32 ``[n, 4]``, theirs.

    Returns:
        int64 ``[detections]``, indices of objects; -1 for a false detection.
    """
    overlaps = box_iou(detections.boxes, boxes)
    overlaps[detections.labels[:, None] != labels[None]] = 0
    which = np.full(len(detections), -1, np.int64)
    for row in range(len(detections)):
        if len(boxes) and overlaps[row].max() >= MIN_OVERLAP:
            which[row] = overlaps[row].argmax()
            overlaps[:, which[row]] = 0
    return which
