"""Tracks: the same object keeps one number from frame to frame (ByteTrack, Zhang et al. 2022)."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from vinfer.errors import ConfigError, MissingDependencyError
from vinfer.types import UNTRACKED, Detections, Int64Array

if TYPE_CHECKING:
    from trackers import ByteTrackTracker

# `trackers` counts its buffer in frames of this rate, whatever the stream's own is.
_BUFFER_RATE = 30


class Tracker:
    """Numbers the objects of one stream.

    Each class is tracked on its own, so a track never changes its class. Ids start at 1, are unique
    in the stream and are not used again, also not after `reset`. The same input gives the same ids.

    Args:
        frame_rate: frames a second, > 0, the unit of the motion model; real times are given to
            `update`, so it need not be exact and the rate may vary.
        activation: score from which an unmatched object starts a track, in [0, 1]. Objects below
            it only continue tracks (the second, low-score association).
        min_frames: consecutive frames in which an object must be seen before it gets an id, >= 2:
            the frame that starts a track never carries one.
        lost_seconds: how long a track that is not seen can still be continued.
        min_iou: overlap of prediction and object from which they can be the same, in (0, 1].

    Raises:
        ConfigError: a value is out of range.
        MissingDependencyError: the package `trackers` is not installed.
    """

    def __init__(
        self,
        *,
        frame_rate: Fraction | float,
        activation: float = 0.5,
        min_frames: int = 2,
        lost_seconds: float = 1.0,
        min_iou: float = 0.1,
    ) -> None:
        if not frame_rate > 0:
            raise ConfigError(f"frame_rate is {frame_rate}, expected more than 0 frames a second")
        if not 0 <= activation <= 1:
            raise ConfigError(f"activation is {activation}, expected a score in [0, 1]")
        if min_frames < 2:
            raise ConfigError(f"min_frames is {min_frames}, expected 2 or more")
        if not 0 <= lost_seconds < 3600:
            raise ConfigError(f"lost_seconds is {lost_seconds}, expected 0 to 3600")
        if not 0 < min_iou <= 1:
            raise ConfigError(f"min_iou is {min_iou}, expected an overlap in (0, 1]")
        try:
            import supervision
            from trackers import ByteTrackTracker
        except ImportError as exc:
            raise MissingDependencyError.of("the package trackers", "video", exc) from exc
        self._supervision = supervision
        self._tracker_class = ByteTrackTracker
        self._settings: dict[str, Any] = {
            "frame_rate": float(frame_rate),
            "track_activation_threshold": activation,
            "high_conf_det_threshold": activation,
            "minimum_consecutive_frames": min_frames,
            "lost_track_buffer": round(lost_seconds * _BUFFER_RATE),
            "minimum_iou_threshold": min_iou,
        }
        self._trackers: dict[int, ByteTrackTracker] = {}
        self._ids: dict[int, dict[int, int]] = {}
        self._next_id = 1

    def update(self, detections: Detections, time: Fraction) -> Detections:
        """Number the objects of the next frame.

        Args:
            detections: its objects.
            time: its stream time, seconds, later than that of the frame before.

        Returns:
            The same objects in the same order with ``track_ids``; -1 for those without a track.
        """
        track_ids = np.full(len(detections), UNTRACKED, np.int64)
        seen = {int(label) for label in np.unique(detections.labels)}
        # Classes that are out of sight are updated too: their tracks age.
        for label in sorted(seen | self._trackers.keys()):
            members = np.flatnonzero(detections.labels == label)
            if label not in self._trackers:
                self._trackers[label] = self._tracker_class(**self._settings)
            tracker = self._trackers[label]
            if len(members) or tracker.tracks:
                self._update_class(label, tracker, detections, members, float(time), track_ids)
        return dataclasses.replace(detections, track_ids=track_ids)

    def _update_class(
        self,
        label: int,
        tracker: ByteTrackTracker,
        detections: Detections,
        members: Int64Array,
        time: float,
        track_ids: Int64Array,
    ) -> None:
        # The result is in another order, so each object carries its place along.
        objects = self._supervision.Detections(
            xyxy=detections.boxes[members],
            confidence=detections.scores[members],
            data={"place": members},
        )
        result = tracker.update(objects, timestamp=time)
        if result.tracker_id is None or len(result) == 0:
            return
        ids = self._ids.get(label, {})
        for place, own_id in zip(result.data["place"], result.tracker_id, strict=True):
            if own_id != UNTRACKED:
                if own_id not in ids:
                    ids[int(own_id)] = self._next_id
                    self._next_id += 1
                track_ids[place] = ids[int(own_id)]
        # Without the tracks that are over: a fixed camera sees no cut for days.
        alive = {track.tracker_id for track in tracker.tracks}
        self._ids[label] = {own_id: ids[own_id] for own_id in ids if own_id in alive}

    def reset(self) -> None:
        """End all tracks, as at a shot cut; what comes next gets new ids."""
        self._trackers.clear()
        self._ids.clear()
