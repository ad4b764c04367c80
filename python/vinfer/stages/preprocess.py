"""From a picture to a network's input, as a manifest says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.bundles.manifest import Preprocess
from vinfer.errors import DTypeError, ShapeError
from vinfer.ops import LetterboxTransform, letterbox
from vinfer.types import Float32Array, UInt8Array


def preprocess(image: UInt8Array, how: Preprocess) -> tuple[Float32Array, LetterboxTransform]:
    """Resize, pad and normalise.

    Args:
        image: uint8 ``[H, W, 3]`` RGB, any size from 1x1.
        how: what the manifest asks for.

    Returns:
        float32 ``[3, h, w]`` of ``how.size``, and the transform that maps boxes back.

    Raises:
        ShapeError, DTypeError: ``image`` is something else; the message says how to convert it.
    """
    check_image(image)
    # One thread: frames are prepared side by side already.
    return letterbox(
        image,
        how.size,
        mode=how.mode,
        mean=how.mean,
        std=how.std,
        pad_value=how.pad_value,
        align=how.align,
        rounding=how.rounding,
        swap_channels=how.color == "BGR",
        num_threads=1,
    )


def check_image(image: npt.NDArray[Any]) -> None:
    """Refuse everything but uint8 ``[H, W, 3]``; each message says how to convert what was found.

    Raises:
        ShapeError: grey, with alpha, channels first, empty, or not one picture.
        DTypeError: not a numpy array of uint8.
    """
    if not isinstance(image, np.ndarray):
        raise DTypeError(
            f"image: found {type(image).__name__}, expected a numpy array uint8 [H, W, 3]; "
            "convert with np.asarray(image)"
        )
    shape = list(image.shape)
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        raise ShapeError(
            f"image: found a grey picture {shape}, expected [H, W, 3] RGB; "
            "convert with np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)"
        )
    if image.ndim == 3 and image.shape[2] == 4:
        raise ShapeError(
            f"image: found four channels {shape}, expected [H, W, 3] RGB; "
            "drop the alpha channel with image[:, :, :3]"
        )
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        raise ShapeError(
            f"image: found channels first {shape}, expected [H, W, 3] RGB; "
            "convert with image.transpose(1, 2, 0)"
        )
    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError(f"image: found shape {shape}, expected [H, W, 3] RGB, one picture")
    if 0 in image.shape:
        raise ShapeError(f"image: found an empty picture {shape}, expected at least 1x1 pixel")
    if image.dtype != np.uint8:
        raise DTypeError(
            f"image: found {image.dtype}, expected uint8 0..255; convert values 0..1 with "
            "(image * 255).round().astype(np.uint8)"
        )
