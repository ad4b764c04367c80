"""Colours as video has them: at half the resolution of brightness."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vinfer.training.sprites.backgrounds import Canvas

_UNIT = 1 << 14
_LUMA = (3483, 11718, 1183)  # Rec. ITU-R BT.709-6, item 3.2: Kr, Kg and Kb times `_UNIT`


def with_video_colours(image: Canvas) -> Canvas:
    """A picture after 4:2:0 subsampling: each square of 2x2 pixels has one colour difference.

    In integers, so that the bytes are the same on every platform.

    Args:
        image: uint8 ``[height, width, 3]`` RGB, height and width even.
    """
    red, green, blue = np.moveaxis(image.astype(np.int32), 2, 0)
    kr, kg, kb = _LUMA
    luma = (kr * red + kg * green + kb * blue + _UNIT // 2) // _UNIT
    red_over, blue_over = (_of_squares(channel - luma) for channel in (red, blue))
    green_under = (kr * red_over + kb * blue_over + kg // 2) // kg
    result = np.stack([luma + red_over, luma - green_under, luma + blue_over], 2)
    return result.clip(0, 255).astype(np.uint8)


def _of_squares(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    height, width = values.shape
    sums = values.reshape(height // 2, 2, width // 2, 2).sum((1, 3), dtype=np.int32)
    return np.repeat(np.repeat((sums + 2) // 4, 2, 0), 2, 1)
