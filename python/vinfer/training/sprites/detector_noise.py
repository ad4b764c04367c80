"""What a detector and a tracker would make of a clip: jitter, misses, changed identities."""

from __future__ import annotations

import numpy as np

from vinfer.errors import ConfigError
from vinfer.training.sprites.clips import SpriteClip
from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.scene import CLASSES
from vinfer.types import Detections

DETECTOR = 6
"""What its stream of random numbers is for, as part of its key."""

MOST_JITTER = 8
LOWEST_SCORE = 600
"""Thousandths; scores are uniform from there to 1."""


def noisy_detections(
    clip: SpriteClip,
    seed: int,
    *,
    jitter: int = 2,
    drop_percent: int = 5,
    switch_percent: int = 2,
) -> tuple[Detections, ...]:
    """Imperfect detections for each frame.

    Args:
        clip: the clip.
        seed: of the noise, 0 or more.
        jitter: each side of a box moves by up to so many pixels, in [0, 8]; it stays in the frame.
        drop_percent: how often an object is missed on a frame, in [0, 100].
        switch_percent: how often a track goes on under a new identity from a frame on, likewise.

    Returns:
        One entry a frame, in the clip's vocabulary. With 0, 0 and 0 boxes, labels and identities
        are the clip's.

    Raises:
        ConfigError: an argument is out of range.
    """
    for name, value, most in (
        ("jitter", jitter, MOST_JITTER),
        ("drop_percent", drop_percent, 100),
        ("switch_percent", switch_percent, 100),
    ):
        if not 0 <= value <= most:
            raise ConfigError(f"{name}: found {value}, expected 0 to {most}")
    if seed < 0:
        raise ConfigError(f"seed: found {seed}, expected 0 or more")
    height, width = clip.size
    next_id = 1 + max(int(frame.track_ids.max()) for frame in clip.frames)
    seen_as: dict[int, int] = {}
    found = []
    for number, frame in enumerate(clip.frames):
        boxes, scores, labels, ids = [], [], [], []
        for label, box, track in zip(
            frame.labels.tolist(), frame.boxes.tolist(), frame.track_ids.tolist(), strict=True
        ):
            random = KeyedRandom(DETECTOR, seed, number, track)
            dropped = random.chance(drop_percent, 100)
            # Nothing can be lost on the frame on which the track begins.
            if track in seen_as and random.chance(switch_percent, 100):
                seen_as[track] = next_id
                next_id += 1
            seen_as.setdefault(track, track)
            if dropped:
                continue
            x1, y1, x2, y2 = (int(side) + random.between(-jitter, jitter) for side in box)
            x1, y1 = max(0, x1), max(0, y1)
            # A sprite's sides are longer than twice the jitter but for the largest ones.
            boxes.append((x1, y1, max(x1 + 1, min(width, x2)), max(y1 + 1, min(height, y2))))
            scores.append(random.between(LOWEST_SCORE, 1000) / 1000)
            labels.append(label)
            ids.append(seen_as[track])
        found.append(
            Detections(
                np.array(boxes, np.float32).reshape(-1, 4),
                np.array(scores, np.float32),
                np.array(labels, np.int32),
                np.array(ids, np.int64),
                CLASSES,
            )
        )
    return tuple(found)
