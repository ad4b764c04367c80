"""Positional maps: `vinfer::PositionalMaps` in graphs, `torch.ops.vinfer.positional_maps`."""

from __future__ import annotations

from typing import Literal

from vinfer import _native
from vinfer.ops.arguments import choice, height_width
from vinfer.ops.exchange import Array, SupportsDLPack, call_options, like, to_native


def positional_maps(
    boxes: Array,
    reference: SupportsDLPack,
    size: int | tuple[int, int],
    *,
    dtype: Literal["float32", "float16"] = "float32",
    out: Array | None = None,
    num_threads: int | None = None,
    stream: int | None = None,
) -> Array:
    """Where each bin of a box lies within a reference box: -1 at its low edge, 1 at its high one.

    For relations the reference is the union of the subject's and the object's box, after both were
    clipped to the picture (a CoordConv of the pair, Liu et al. 2018).

    Args:
        boxes: float32 ``[R, 4]``, xyxy in any unit.
        reference: float32 ``[R, 4]``, xyxy in the same unit, one a box.
        size: bins, one number or ``(height, width)``, 1 to 4096 a side.
        dtype: of the result.
        out, num_threads, stream: see `vinfer.ops`.

    Returns:
        ``[R, 2, height, width]`` of ``dtype``: x in channel 0, y in channel 1. A box without area
        gives constants. An axis on which the reference is below 1e-6, or on which a coordinate is
        not finite, is all zeros.

    Raises:
        DTypeError: an array is not float32.
        ShapeError: an array is not ``[R, 4]``, or their lengths differ.
        InputError: ``size`` or ``dtype`` is out of range, the output would be too large, or ``out``
            is not what is needed.
        ProviderUnavailableError: the arrays are on a GPU and this build has no CUDA kernels.
    """
    choice("dtype", dtype, ("float32", "float16"))
    maps = _native.positional_maps(
        to_native("boxes", boxes, stream),
        to_native("reference", reference, stream),
        height_width("size", size),
        dtype,
        to_native("out", out, stream),
        call_options(num_threads, stream),
    )
    return out if out is not None else like(boxes, maps)
