"""The numerical core on numpy arrays: RoIAlign, positional maps, Weldon pooling, letterbox.

All functions take arrays of any memory layout (what is not contiguous is copied), release the GIL
while they compute, give the same result for any number of threads, and raise only errors of
`vinfer.errors`. docs/ops.md has examples.
"""

from __future__ import annotations

import dataclasses
import operator
import warnings
from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from vinfer import _native
from vinfer.errors import DTypeError, InputError, ShapeError
from vinfer.types import Float32Array, Int64Array, UInt8Array

__all__ = ["LetterboxTransform", "letterbox", "positional_maps", "roi_align", "weldon_pool"]

IntegerArray = npt.NDArray[np.integer[Any]]

_INT32_MAX = 2**31 - 1


def _integer(name: str, value: object) -> int:
    """An int that fits the native side; bools and floats are mistakes, not numbers of something."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_):
        raise InputError(f"{name}: found {value!r}, expected an integer")
    if abs(number) > _INT32_MAX:
        raise InputError(f"{name}: found {number}, expected at most {_INT32_MAX}")
    return number


def _real(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as exc:
        raise InputError(f"{name}: found {value!r}, expected a number") from exc


def _height_width(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(size, Sequence):
        side = _integer(name, size)
        return side, side
    if isinstance(size, str) or len(size) != 2:
        raise InputError(f"{name}: found {size!r}, expected an integer or (height, width)")
    return _integer(name, size[0]), _integer(name, size[1])


def _choice(name: str, value: str, choices: tuple[str, str]) -> bool:
    """True for the second of the two choices."""
    if value not in choices:
        raise InputError(f'{name}: found {value!r}, expected "{choices[0]}" or "{choices[1]}"')
    return value == choices[1]


def _three(name: str, values: Sequence[float]) -> tuple[float, float, float]:
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != 3:
        raise InputError(f"{name}: found {values!r}, expected three numbers, one a channel")
    return _real(name, values[0]), _real(name, values[1]), _real(name, values[2])


def roi_align(
    features: Float32Array,
    boxes: Float32Array,
    batch_indices: IntegerArray,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Float32Array:
    """Average a grid of bilinear samples in each bin of each box (He et al. 2017, section 3).

    The same numbers as ONNX RoiAlign-16 in average mode, with ``aligned=True`` for
    ``half_pixel`` and ``aligned=False`` for ``output_half_pixel``.

    Args:
        features: float32 ``[N, C, H, W]``.
        boxes: float32 ``[R, 4]``, xyxy in image pixels.
        batch_indices: integers ``[R]``, the image of each box, in ``[0, N)``.
        output_size: bins, one number or ``(height, width)``, 1 to 4096 a side.
        spatial_scale: feature-map pixels per image pixel, > 0; 1/16 for stride 16.
        sampling_ratio: samples a bin and axis, up to 1024; 0 takes as many as the bin has pixels.
        aligned: pixel ``i`` covers ``[i, i + 1)``; False is the first published form, off by half
            a pixel and never smaller than one.

    Returns:
        float32 ``[R, C, height, width]``, within 1e-5 of the largest feature from float64. A
        sample more than a pixel outside the map, or at NaN, counts as 0. A box without area gives
        zeros (adaptive sampling), its point (fixed sampling) or a one-pixel window (not aligned).

    Raises:
        DTypeError: ``features`` or ``boxes`` is not float32, ``batch_indices`` not integer.
        ShapeError: a rank or length is wrong, or the map is empty.
        InputError: a batch index or a setting is out of range, or the output would be too large.

    Warns:
        RuntimeWarning: boxes reach so far outside the map that their adaptive grid was capped.
    """
    if not isinstance(batch_indices, np.ndarray) or not np.issubdtype(
        batch_indices.dtype, np.integer
    ):
        found = (
            f"dtype {batch_indices.dtype}"
            if isinstance(batch_indices, np.ndarray)
            else type(batch_indices).__name__
        )
        raise DTypeError(
            f"batch_indices: found {found}, expected a numpy array of int64 and shape [R]; "
            "convert with np.asarray(batch_indices, np.int64)"
        )
    pooled, num_capped = _native.roi_align(
        features,
        boxes,
        batch_indices.astype(np.int64, copy=False),
        _height_width("output_size", output_size),
        _real("spatial_scale", spatial_scale),
        _integer("sampling_ratio", sampling_ratio),
        bool(aligned),
    )
    if num_capped:
        warnings.warn(
            f"roi_align: {num_capped} of {len(boxes)} boxes reach far outside the map, so their "
            "sampling grid was capped; clip boxes to the picture first",
            RuntimeWarning,
            stacklevel=2,
        )
    return pooled


def positional_maps(
    boxes: Float32Array, reference: Float32Array, size: int | tuple[int, int]
) -> Float32Array:
    """Where each bin of a box lies within a reference box: -1 at its low edge, 1 at its high one.

    For relations the reference is the union of the subject's and the object's box, after both were
    clipped to the picture (a CoordConv of the pair, Liu et al. 2018).

    Args:
        boxes: float32 ``[R, 4]``, xyxy in any unit.
        reference: float32 ``[R, 4]``, xyxy in the same unit, one a box.
        size: bins, one number or ``(height, width)``, 1 to 4096 a side.

    Returns:
        float32 ``[R, 2, height, width]``: x in channel 0, y in channel 1. A box without area gives
        constants. An axis on which the reference is below 1e-6, or on which a coordinate is not
        finite, is all zeros.

    Raises:
        DTypeError: an array is not float32.
        ShapeError: an array is not ``[R, 4]``, or their lengths differ.
        InputError: ``size`` is out of range, or the output would be too large.
    """
    return _native.positional_maps(boxes, reference, _height_width("size", size))


@overload
def weldon_pool(
    x: Float32Array,
    k_max: int,
    k_min: int,
    alpha: float = 1.0,
    return_indices: Literal[False] = False,
) -> Float32Array: ...


@overload
def weldon_pool(
    x: Float32Array,
    k_max: int,
    k_min: int,
    alpha: float = 1.0,
    *,
    return_indices: Literal[True],
) -> tuple[Float32Array, Int64Array, Int64Array]: ...


def weldon_pool(
    x: Float32Array,
    k_max: int,
    k_min: int,
    alpha: float = 1.0,
    return_indices: bool = False,
) -> Float32Array | tuple[Float32Array, Int64Array, Int64Array]:
    """Mean of the highest values of each map plus ``alpha`` times the mean of its lowest.

    Durand, Thome and Cord, WELDON, 2016.

    Args:
        x: float32 ``[N, C, H, W]``, at least one position a map.
        k_max: how many of the highest values, >= 1; above ``H * W`` it counts as ``H * W``.
        k_min: how many of the lowest values, >= 0; likewise. 0 drops the second term.
        alpha: weight of the lowest values, finite. 0 drops the second term, even where it is
            infinite.
        return_indices: also give the positions that were chosen.

    Returns:
        float32 ``[N, C]``. With ``return_indices`` also the flat positions of the highest, int64
        ``[N, C, min(k_max, H * W)]``, and of the lowest, int64 ``[N, C, min(k_min, H * W)]``:
        best first, the lowest position first among equals. A map with a NaN gives NaN and -1.

    Raises:
        DTypeError: ``x`` is not float32.
        ShapeError: ``x`` is not of rank 4, or its maps are empty.
        InputError: ``k_max``, ``k_min`` or ``alpha`` is out of range.
    """
    return _native.weldon_pool(
        x,
        _integer("k_max", k_max),
        _integer("k_min", k_min),
        _real("alpha", alpha),
        bool(return_indices),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class LetterboxTransform:
    """How `letterbox` moved the picture: network pixel = source pixel * scale + offset.

    Attributes:
        scale_x, scale_y: network pixels per source pixel; they differ by rounding even when the
            aspect ratio is kept.
        offset_x, offset_y: network pixels to the left of and above the picture.
        source_height, source_width: size of the picture that went in, in pixels.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    source_height: int
    source_width: int

    def to_network(self, boxes: Float32Array) -> Float32Array:
        """Boxes of the source picture in network pixels.

        Args:
            boxes: float32 ``[n, 4]``, xyxy in source pixels.

        Returns:
            float32 ``[n, 4]``, xyxy in network pixels.

        Raises:
            DTypeError, ShapeError: ``boxes`` is not that.
        """
        moved = _checked_boxes(boxes) * self._scale() + self._offset()
        return moved.astype(np.float32)

    def to_source(self, boxes: Float32Array, clip: bool = True) -> Float32Array:
        """Boxes that a network found, in pixels of the source picture.

        Args:
            boxes: float32 ``[n, 4]``, xyxy in network pixels.
            clip: cut them off at the border of the picture. NaN stays NaN.

        Returns:
            float32 ``[n, 4]``, xyxy in source pixels.

        Raises:
            DTypeError, ShapeError: ``boxes`` is not that.
        """
        moved = (_checked_boxes(boxes) - self._offset()) / self._scale()
        if clip:
            width, height = self.source_width, self.source_height
            np.clip(moved, 0.0, (width, height, width, height), out=moved)
        return moved.astype(np.float32)

    def _scale(self) -> npt.NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])

    def _offset(self) -> npt.NDArray[np.float64]:
        return np.array([self.offset_x, self.offset_y, self.offset_x, self.offset_y])


def _checked_boxes(boxes: Float32Array) -> npt.NDArray[np.float64]:
    if not isinstance(boxes, np.ndarray) or boxes.dtype != np.float32:
        found = boxes.dtype if isinstance(boxes, np.ndarray) else type(boxes).__name__
        raise DTypeError(f"boxes: found {found}, expected a numpy array of float32")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"boxes: found shape {list(boxes.shape)}, expected [n, 4]")
    return boxes.astype(np.float64)


def letterbox(
    image: UInt8Array,
    size: int | tuple[int, int],
    mode: Literal["pad", "stretch"] = "pad",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    pad_value: float = 114.0,
    layout: Literal["chw", "hwc"] = "chw",
    *,
    align: Literal["center", "top_left"] = "center",
    swap_channels: bool = False,
) -> tuple[Float32Array, LetterboxTransform]:
    """Resize, pad, normalise and lay out a picture for a network, in one pass.

    Bilinear with half-pixel centres, without antialias. Padded, the side that does not fill the
    size has ``floor(side * scale + 1/2)`` pixels, computed exactly.

    Args:
        image: uint8 ``[H, W, 3]``, at least one pixel.
        size: of the network's input, one number or ``(height, width)``, 1 to 32768 a side.
        mode: ``"pad"`` keeps the aspect ratio, ``"stretch"`` fills the size.
        mean: subtracted, on 0..255, in the order of the output's channels.
        std: divided by afterwards, likewise; not 0.
        pad_value: colour of the padding on 0..255, normalised like the picture.
        layout: ``"chw"`` or ``"hwc"``.
        align: where a padded picture sits, ``"center"`` (the odd pixel goes right and below) or
            ``"top_left"``.
        swap_channels: reverse the channels: BGR from RGB.

    Returns:
        float32 ``[3, h, w]`` (``[h, w, 3]`` for ``"hwc"``), and the transform that maps boxes.

    Raises:
        DTypeError: ``image`` is not uint8.
        ShapeError: ``image`` is grey, has an alpha channel or no pixel.
        InputError: a setting is unknown or out of range, or the output would be too large.
    """
    network_image, (height, width, top, left) = _native.letterbox(
        image,
        _height_width("size", size),
        _choice("mode", mode, ("pad", "stretch")),
        _choice("align", align, ("center", "top_left")),
        _choice("layout", layout, ("chw", "hwc")),
        _three("mean", mean),
        _three("std", std),
        _real("pad_value", pad_value),
        bool(swap_channels),
    )
    source_height, source_width = image.shape[:2]
    return network_image, LetterboxTransform(
        scale_x=width / source_width,
        scale_y=height / source_height,
        offset_x=float(left),
        offset_y=float(top),
        source_height=source_height,
        source_width=source_width,
    )
