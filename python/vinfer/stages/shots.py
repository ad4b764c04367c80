"""Hard cuts: the frames at which a new shot begins and every track ends."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import numpy as np

from vinfer.types import Float32Array, UInt8Array

# Thumbnail of 24x40 cells, each the mean of 4x4 samples: fine enough to tell scenes apart, coarse
# enough that a person who moves through the picture changes little of it. With fewer samples thin
# lines before a plain wall come and go as they move by a pixel, and look like cuts.
_ROWS, _COLUMNS, _SAMPLES = 24, 40, 4
# A thumbnail that differs less from its own mean (in grey levels) shows no scene: black, white,
# a lens cap, the middle of a fade.
_BLANK_DEVIATION = 3.0
# What a shot is assumed to move by until its own history says better.
_ASSUMED_MOTION = 0.2


class ShotDetector:
    """Finds hard cuts, one frame at a time and without looking ahead.

    Frames are compared as small thumbnails by ``1 - correlation``: 0 for the same structure, about
    1 for unrelated ones, whatever the brightness, so that flashes and switched lights are no cuts.
    A cut must exceed both a floor and a multiple of what the shot itself moved by in the last
    moments, so that fast motion is none either; beyond a ceiling everything is a cut. A blank frame
    (black, white) is never a cut; the first frame with structure after it is compared with the last
    one before it. Dissolves and fades are not reported.

    Args:
        floor: difference that a cut has at least, in (0, 2).
        ratio: how many times the recent motion it must exceed.
        ceiling: difference that no motion reaches, so always a cut.
        memory: seconds of recent motion that count.
    """

    def __init__(
        self,
        *,
        floor: float = 0.35,
        ratio: float = 3.0,
        ceiling: float = 0.75,
        memory: Fraction = Fraction(1, 2),
    ) -> None:
        self._floor = floor
        self._ratio = ratio
        self._ceiling = ceiling
        self._memory = memory
        self._reference: Float32Array | None = None
        self._motion: deque[tuple[Fraction, float]] = deque()

    def is_cut(self, image: UInt8Array, time: Fraction) -> bool:
        """Whether this frame begins a new shot; the first frame of a stream does not.

        Args:
            image: uint8 ``[H, W, 3]``, RGB, of any size.
            time: its stream time, seconds, later than that of the frame before.
        """
        thumbnail = _normalised(image)
        if thumbnail is None:
            return False
        reference, self._reference = self._reference, thumbnail
        if reference is None:
            return False
        difference = 1.0 - float(np.dot(reference, thumbnail))
        while self._motion and self._motion[0][0] < time - self._memory:
            self._motion.popleft()
        recent = max((motion for _, motion in self._motion), default=0.0)
        if difference > min(max(self._floor, self._ratio * recent), self._ceiling):
            self._motion.clear()
            self._motion.append((time, _ASSUMED_MOTION))
            return True
        self._motion.append((time, difference))
        return False


def _normalised(image: UInt8Array) -> Float32Array | None:
    """Thumbnail with mean 0 in each channel and length 1, flat; None for a blank picture."""
    height, width = image.shape[:2]
    rows = np.arange(_ROWS * _SAMPLES) * height // (_ROWS * _SAMPLES)
    columns = np.arange(_COLUMNS * _SAMPLES) * width // (_COLUMNS * _SAMPLES)
    samples = image[rows[:, None], columns].reshape(_ROWS, _SAMPLES, _COLUMNS, _SAMPLES, 3)
    cells = samples.mean(axis=(1, 3), dtype=np.float32).reshape(-1, 3)
    cells -= cells.mean(axis=0)
    length = float(np.sqrt(np.vdot(cells, cells)))
    if length < _BLANK_DEVIATION * np.sqrt(cells.size):
        return None
    cells /= length
    return np.asarray(cells.ravel(), np.float32)
