"""RoIAlign: `vinfer::RoiAlign` in graphs, `torch.ops.vinfer.roi_align` in PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from vinfer import _native
from vinfer.errors import DTypeError, ShapeError
from vinfer.ops.arguments import height_width, integer, real
from vinfer.ops.exchange import Array, SupportsDLPack, call_options, like, to_native


def roi_align(
    features: Array,
    boxes: SupportsDLPack,
    batch_indices: SupportsDLPack,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
    stream: int | None = None,
) -> Array:
    """Average a grid of bilinear samples in each bin of each box (He et al. 2017, section 3).

    The same numbers as ONNX RoiAlign-16 in average mode, with ``aligned=True`` for
    ``half_pixel`` and ``aligned=False`` for ``output_half_pixel``.

    Args:
        features: float32 or float16 ``[N, C, H, W]``; float64 on the CPU, slowly, for checking
            gradients. Sums are float32 for both.
        boxes: float32 ``[R, 4]``, xyxy in image pixels.
        batch_indices: integers ``[R]`` (int64 on a GPU), the image of each box, in ``[0, N)``.
        output_size: bins, one number or ``(height, width)``, 1 to 4096 a side.
        spatial_scale: feature-map pixels per image pixel, > 0; 1/16 for stride 16.
        sampling_ratio: samples a bin and axis, up to 1024; 0 takes as many as the bin has pixels.
        aligned: pixel ``i`` covers ``[i, i + 1)``; False is the first published form, off by half
            a pixel and never smaller than one.
        out, num_threads, stream: see `vinfer.ops`.

    Returns:
        ``[R, C, height, width]`` of the dtype of ``features``, within 1e-5 of the largest feature
        from float64 (float16: rounded to its 11 bits). A sample more than a pixel outside the map,
        or at NaN, counts as 0. A box without area gives zeros (adaptive sampling), its point (fixed
        sampling) or a one-pixel window (not aligned). On a GPU, where nothing is read back, a batch
        index out of range gives zeros.

    Raises:
        DTypeError: ``features`` or ``boxes`` is of another dtype, ``batch_indices`` not integer.
        ShapeError: a rank or length is wrong, or the map is empty.
        InputError: a batch index or a setting is out of range, the output would be too large, or
            ``out`` is not what is needed.
        ProviderUnavailableError: the arrays are on a GPU and this build has no CUDA kernels.

    Warns:
        RuntimeWarning: boxes reach so far outside the map that their adaptive grid was capped (not
            on a GPU).
    """
    pooled, num_capped = _native.roi_align(
        to_native("features", features, stream),
        to_native("boxes", boxes, stream),
        _native_batch_indices(batch_indices, stream),
        height_width("output_size", output_size),
        real("spatial_scale", spatial_scale),
        integer("sampling_ratio", sampling_ratio),
        bool(aligned),
        to_native("out", out, stream),
        call_options(num_threads, stream),
    )
    if num_capped:
        warnings.warn(
            f"roi_align: {num_capped} of {boxes.shape[0]} boxes reach far outside the map, so "
            "their sampling grid was capped; clip boxes to the picture first",
            RuntimeWarning,
            stacklevel=2,
        )
    return out if out is not None else like(features, pooled)


def roi_align_backward(
    grad_pooled: Array,
    boxes: SupportsDLPack,
    batch_indices: SupportsDLPack,
    feature_shape: tuple[int, int, int, int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
    stream: int | None = None,
) -> Array:
    """Gradient of a loss in the features, from its gradient in what `roi_align` gave.

    RoIAlign is linear in the features, so this is its transpose; boxes get no gradient. On the CPU
    the sum has one order whatever the number of threads; on a GPU it varies in the last bits.

    Args:
        grad_pooled: float32 ``[R, C, height, width]``; float64 on the CPU.
        boxes, batch_indices, spatial_scale, sampling_ratio, aligned: as for `roi_align`.
        feature_shape: ``(N, C, H, W)`` of the features.
        out, num_threads, stream: see `vinfer.ops`.

    Returns:
        ``[N, C, H, W]`` of the dtype of ``grad_pooled``.

    Raises:
        As `roi_align`.
    """
    if len(feature_shape) != 4:
        raise ShapeError(f"feature_shape: found {feature_shape!r}, expected (N, C, H, W)")
    grad_features = _native.roi_align_backward(
        to_native("grad_pooled", grad_pooled, stream),
        to_native("boxes", boxes, stream),
        _native_batch_indices(batch_indices, stream),
        [integer("feature_shape", extent) for extent in feature_shape],
        real("spatial_scale", spatial_scale),
        integer("sampling_ratio", sampling_ratio),
        bool(aligned),
        to_native("out", out, stream),
        call_options(num_threads, stream),
    )
    return out if out is not None else like(grad_pooled, grad_features)


def _native_batch_indices(batch_indices: Any, stream: int | None) -> Any:
    native = to_native("batch_indices", batch_indices, stream)
    if isinstance(native, np.ndarray) and native.dtype != np.int64:
        if native.dtype.kind in "iu":
            return native.astype(np.int64)
        raise DTypeError(
            f"batch_indices: found dtype {native.dtype}, expected integers of shape [R]; convert "
            "with np.asarray(batch_indices, np.int64)"
        )
    return native
