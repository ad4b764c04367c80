"""Backgrounds, blur and camera noise. Integers only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vinfer.training.key64 import key64, key64_array
from vinfer.training.sprites.keyed_random import KeyedRandom
from vinfer.training.sprites.scene import Colour

Canvas = npt.NDArray[np.uint8]

BACKGROUNDS = ("plain", "gradient", "noise", "blocks")

GREY = (96, 200)
"""Brightness of backgrounds; sprites have dark outlines and strong colours."""

TINT = 14
"""How far a background's red, green and blue lie from its grey."""

GRAIN = 18
"""Largest difference within the background "noise"."""

BLOCK = 16
"""Pixels a side in the background "blocks"."""


def draw_background(kind: str, height: int, width: int, random: KeyedRandom) -> Canvas:
    """A muted background.

    Args:
        kind: one of `BACKGROUNDS`.
        height, width: in pixels.
        random: decides colours and structure.

    Returns:
        uint8 ``[height, width, 3]``, RGB.
    """
    first = np.array(_muted(random), np.int32)
    if kind == "gradient":
        second = np.array(_muted(random), np.int32)
        across = random.chance(1, 2)
        length = width if across else height
        step = np.arange(length, dtype=np.int32)[:, None]
        ramp = (first * (length - 1 - step) + second * step) // (length - 1)
        picture = ramp[None, :, :] if across else ramp[:, None, :]
    elif kind == "noise":
        bits = key64_array(random.below(2**63), np.arange(height * width))
        grain = (bits % np.uint64(2 * GRAIN + 1)).astype(np.int32) - GRAIN
        picture = first + grain.reshape(height, width, 1)
    elif kind == "blocks":
        rows, columns = -(-height // BLOCK), -(-width // BLOCK)
        tones = [random.between(-GRAIN, GRAIN) for _ in range(rows * columns)]
        grid = np.array(tones, np.int32).reshape(rows, columns)
        tiles = grid.repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width, None]
        picture = first + tiles
    else:
        picture = first
    # No tone is near 0 or 255: see GREY, TINT and GRAIN.
    return np.array(np.broadcast_to(picture.astype(np.uint8), (height, width, 3)))


def _muted(random: KeyedRandom) -> Colour:
    grey = random.between(*GREY)
    red, green, blue = (grey + random.between(-TINT, TINT) for _ in range(3))
    return red, green, blue


def blurred(picture: Canvas, passes: int) -> Canvas:
    """The picture after that many passes of the binomial filter 1-2-1 in both directions."""
    image = picture.astype(np.int32)
    for _ in range(2 * passes):
        padded = np.pad(image, ((1, 1), (0, 0), (0, 0)), "edge")
        image = (padded[:-2] + 2 * padded[1:-1] + padded[2:] + 2) >> 2
        image = image.swapaxes(0, 1)
    return image.astype(np.uint8)


def with_camera_noise(picture: Canvas, amplitude: int, *key: int) -> Canvas:
    """The picture with independent noise in every pixel and channel.

    Args:
        picture: uint8 ``[height, width, 3]``.
        amplitude: largest change, of 255; the change is the sum of two uniform ones, so its
            standard deviation is 0.41 of that.
        key: of the noise.
    """
    height, width = picture.shape[:2]
    bits = key64_array(key64(*key), np.arange(height * width))
    parts = bits.astype("<u8").view(np.uint8).reshape(height, width, 8)
    noise = parts[:, :, :3].astype(np.int16) + parts[:, :, 3:6] - 255
    noise *= amplitude
    noise += 128
    noise >>= 8
    noise += picture
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)
