"""Letterbox: `vinfer::Letterbox` in graphs, `torch.ops.vinfer.letterbox` in PyTorch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vinfer import _native
from vinfer.errors import DTypeError, ShapeError
from vinfer.ops.arguments import choice, height_width, integer, real, three
from vinfer.ops.exchange import SupportsDLPack, call_options, like, to_native
from vinfer.types import Float32Array

MATRICES = ("bt601", "bt709", "bt2020")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Nv12:
    """A picture as hardware decoders give it: full-size luma, chroma of half the size, interleaved.

    Attributes:
        y: uint8 ``[H, S]``, luma; the first ``width`` of each row's ``S`` bytes are the picture.
        uv: uint8 ``[ceil(H / 2), T]``, Cb and Cr in turn; likewise the first
            ``2 * ceil(width / 2)`` bytes.
        width: pixels of a row; decoders pad rows to a pitch. All of ``y`` without.
        matrix: how colours were coded: ``"bt601"`` (standard definition), ``"bt709"`` (HD),
            ``"bt2020"`` (UHD, non-constant luminance).
        full_range: luma spans 0..255; False (usual in video) is 16..235, and chroma 16..240.
    """

    y: Any
    uv: Any
    width: int | None = None
    matrix: Literal["bt601", "bt709", "bt2020"] = "bt709"
    full_range: bool = False


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
    image: SupportsDLPack | Nv12,
    size: int | tuple[int, int],
    mode: Literal["pad", "stretch"] = "pad",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    pad_value: float = 114.0,
    layout: Literal["chw", "hwc"] = "chw",
    *,
    align: Literal["center", "top_left"] = "center",
    rounding: Literal["nearest", "floor"] = "nearest",
    swap_channels: bool = False,
    dtype: Literal["float32", "float16"] = "float32",
    out: Any = None,
    num_threads: int | None = None,
    stream: int | None = None,
) -> tuple[Any, LetterboxTransform]:
    """Resize, pad, normalise and lay out a picture for a network, in one pass.

    Bilinear with half-pixel centres, without antialias. Padded, the side that does not fill the
    size is ``side * scale`` rounded as ``rounding`` says, computed exactly.

    Args:
        image: uint8 ``[H, W, 3]``, at least one pixel (a crop such as ``image[y1:y2, x1:x2]`` of a
            numpy array is not copied), or an `Nv12`, which becomes RGB.
        size: of the network's input, one number or ``(height, width)``, 1 to 32768 a side.
        mode: ``"pad"`` keeps the aspect ratio, ``"stretch"`` fills the size.
        mean: subtracted, on 0..255, in the order of the output's channels.
        std: divided by afterwards, likewise; not 0.
        pad_value: colour of the padding on 0..255, normalised like the picture.
        layout: ``"chw"`` or ``"hwc"``.
        align: where a padded picture sits, ``"center"`` (the odd pixel goes right and below) or
            ``"top_left"``.
        rounding: of the side that does not fill the size: ``"nearest"`` (halves up) or ``"floor"``;
            never below one pixel.
        swap_channels: reverse the channels: BGR from RGB.
        dtype: of the result; float16 is the float32 result rounded.
        out, num_threads, stream: see `vinfer.ops`.

    Returns:
        ``[3, h, w]`` (``[h, w, 3]`` for ``"hwc"``) of ``dtype``, and the transform that maps boxes.

    Raises:
        DTypeError: the picture is not uint8.
        ShapeError: the picture is grey, has an alpha channel or no pixel, or its chroma does not
            fit its luma.
        InputError: a setting is unknown or out of range, the output would be too large, or ``out``
            is not what is needed.
        ProviderUnavailableError: the picture is on a GPU and this build has no CUDA kernels.
    """
    choice("dtype", dtype, ("float32", "float16"))
    settings = (
        height_width("size", size),
        bool(choice("mode", mode, ("pad", "stretch"))),
        bool(choice("align", align, ("center", "top_left"))),
        bool(choice("layout", layout, ("chw", "hwc"))),
        bool(choice("rounding", rounding, ("nearest", "floor"))),
        three("mean", mean),
        three("std", std),
        real("pad_value", pad_value),
        bool(swap_channels),
        dtype,
        to_native("out", out, stream),
        call_options(num_threads, stream),
    )
    if isinstance(image, Nv12):
        luma = to_native("y", image.y, stream)
        network_image, placement, source = _native.letterbox_nv12(
            luma,
            to_native("uv", image.uv, stream),
            -1 if image.width is None else integer("width", image.width),
            choice("matrix", image.matrix, MATRICES),
            bool(image.full_range),
            *settings,
        )
        given: Any = image.y
    else:
        network_image, placement, source = _native.letterbox(
            to_native("image", image, stream), *settings
        )
        given = image
    height, width, top, left = placement
    source_height, source_width = source
    return out if out is not None else like(given, network_image), LetterboxTransform(
        scale_x=width / source_width,
        scale_y=height / source_height,
        offset_x=float(left),
        offset_y=float(top),
        source_height=source_height,
        source_width=source_width,
    )
