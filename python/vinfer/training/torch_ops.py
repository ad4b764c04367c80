"""The ops for PyTorch: `torch.ops.vinfer.*` is there once this module is imported.

They run the kernels of `vinfer.ops` on tensors of the CPU, or of a GPU where the CUDA kernels are
built, and work with autograd, `torch.compile` and `torch.export`. Arguments are those of
`vinfer.ops`, in the same order. docs/pytorch.md has examples and what has a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vinfer import ops
from vinfer.errors import DTypeError, InputError, ShapeError

__all__ = ["letterbox", "positional_maps", "roi_align", "weldon_pool"]

_FEATURE_DTYPES = (torch.float32, torch.float16, torch.float64)


@torch.library.custom_op(
    "vinfer::roi_align",
    mutates_args=(),
    schema="(Tensor features, Tensor boxes, Tensor batch_indices, SymInt[2] output_size, "
    "float spatial_scale, int sampling_ratio=0, bool aligned=True) -> Tensor",
)
def roi_align(
    features: Tensor,
    boxes: Tensor,
    batch_indices: Tensor,
    output_size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """`vinfer.ops.roi_align`; differentiable in ``features``."""
    pooled: Tensor = _fake_roi_align(features, boxes, batch_indices, output_size, spatial_scale)
    ops.roi_align(
        _plain(features),
        _plain(boxes),
        _plain(batch_indices),
        (output_size[0], output_size[1]),
        spatial_scale,
        sampling_ratio,
        aligned,
        out=_writable(pooled),
        stream=_stream(features),
    )
    return pooled


@roi_align.register_fake
def _fake_roi_align(
    features: Tensor,
    boxes: Tensor,
    batch_indices: Tensor,
    output_size: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    _check_rank("features", features, 4)
    _check_dtype("features", features, *_FEATURE_DTYPES)
    _check_rank("boxes", boxes, 2)
    _check_dtype("boxes", boxes, torch.float32)
    # The only type of a GPU's kernel and of ONNX.
    _check_dtype("batch_indices", batch_indices, torch.int64)
    _check_size("output_size", output_size)
    return features.new_empty((boxes.shape[0], features.shape[1], *output_size))


@torch.library.custom_op(
    "vinfer::roi_align_backward",
    mutates_args=(),
    schema="(Tensor grad_pooled, Tensor boxes, Tensor batch_indices, SymInt[4] feature_shape, "
    "float spatial_scale, int sampling_ratio=0, bool aligned=True) -> Tensor",
)
def _roi_align_backward(
    grad_pooled: Tensor,
    boxes: Tensor,
    batch_indices: Tensor,
    feature_shape: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    grad_features = grad_pooled.new_empty(feature_shape)
    batch, channels, height, width = feature_shape
    ops.roi_align_backward(
        _plain(grad_pooled),
        _plain(boxes),
        _plain(batch_indices),
        (batch, channels, height, width),
        spatial_scale,
        sampling_ratio,
        aligned,
        out=_writable(grad_features),
        stream=_stream(grad_pooled),
    )
    return grad_features


@_roi_align_backward.register_fake
def _fake_roi_align_backward(
    grad_pooled: Tensor,
    boxes: Tensor,
    batch_indices: Tensor,
    feature_shape: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    return grad_pooled.new_empty(feature_shape)


def _save_for_roi_align(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, boxes, batch_indices, _, *ctx.options = inputs
    ctx.save_for_backward(boxes, batch_indices)
    ctx.feature_shape = features.shape


def _differentiate_roi_align(ctx: Any, grad_pooled: Tensor) -> tuple[Tensor | None, ...]:
    if not ctx.needs_input_grad[0]:  # only the boxes ask for one, and they have none
        return None, None, None, None, None, None, None
    # The native gradient sums in float32, as the op does; float16 is for storing only.
    dtype = grad_pooled.dtype
    summed = torch.float32 if dtype == torch.float16 else dtype
    grad_features = _roi_align_backward(
        grad_pooled.to(summed), *ctx.saved_tensors, ctx.feature_shape, *ctx.options
    )
    return grad_features.to(dtype), None, None, None, None, None, None


roi_align.register_autograd(_differentiate_roi_align, setup_context=_save_for_roi_align)


@torch.library.custom_op(
    "vinfer::positional_maps",
    mutates_args=(),
    schema="(Tensor boxes, Tensor reference, SymInt[2] size) -> Tensor",
)
def positional_maps(boxes: Tensor, reference: Tensor, size: Sequence[int]) -> Tensor:
    """`vinfer.ops.positional_maps`; boxes get no gradient."""
    maps: Tensor = _fake_positional_maps(boxes, reference, size)
    ops.positional_maps(
        _plain(boxes),
        _plain(reference),
        (size[0], size[1]),
        out=_writable(maps),
        stream=_stream(boxes),
    )
    return maps


@positional_maps.register_fake
def _fake_positional_maps(boxes: Tensor, reference: Tensor, size: Sequence[int]) -> Tensor:
    for name, tensor in (("boxes", boxes), ("reference", reference)):
        _check_rank(name, tensor, 2)
        _check_dtype(name, tensor, torch.float32)
    _check_size("size", size)
    return boxes.new_empty((boxes.shape[0], 2, *size))


def _save_for_positional_maps(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.mark_non_differentiable(output)


def _differentiate_positional_maps(ctx: Any, grad_maps: Tensor) -> tuple[Tensor | None, ...]:
    return None, None, None


positional_maps.register_autograd(
    _differentiate_positional_maps, setup_context=_save_for_positional_maps
)


@torch.library.custom_op(
    "vinfer::weldon_pool",
    mutates_args=(),
    schema="(Tensor x, int k_max, int k_min, float alpha=1.0) -> Tensor",
)
def weldon_pool(x: Tensor, k_max: int, k_min: int, alpha: float = 1.0) -> Tensor:
    """`vinfer.ops.weldon_pool`; differentiable in ``x``."""
    pooled: Tensor = _fake_weldon_pool(x, k_max, k_min, alpha)
    ops.weldon_pool(_plain(x), k_max, k_min, alpha, out=_writable(pooled), stream=_stream(x))
    return pooled


@weldon_pool.register_fake
def _fake_weldon_pool(x: Tensor, k_max: int, k_min: int, alpha: float = 1.0) -> Tensor:
    _check_rank("x", x, 4)
    _check_dtype("x", x, *_FEATURE_DTYPES)
    return x.new_empty(x.shape[:2])


@torch.library.custom_op(
    "vinfer::weldon_pool_backward",
    mutates_args=(),
    schema="(Tensor grad_pooled, Tensor x, int k_max, int k_min, float alpha) -> Tensor",
)
def _weldon_pool_backward(
    grad_pooled: Tensor, x: Tensor, k_max: int, k_min: int, alpha: float
) -> Tensor:
    # Positions are looked for again: keeping them would cost every forward pass their memory, with
    # or without a backward pass after it.
    _, highest, lowest = ops.weldon_pool(
        _plain(x), k_max, k_min, alpha, return_indices=True, stream=_stream(x)
    )
    grad = torch.zeros_like(x, memory_format=torch.contiguous_format).flatten(2)
    for positions, weight in ((highest, 1.0), (lowest, alpha)):
        if positions.shape[2] == 0 or weight == 0.0:
            continue
        share = (grad_pooled * (weight / positions.shape[2]))[..., None]
        # -1 stands for "the map has a NaN": no gradient, to any position.
        share = share.expand_as(positions).masked_fill(positions < 0, 0.0)
        grad.scatter_add_(2, positions.clamp(min=0), share)
    return grad.view(x.shape)


@_weldon_pool_backward.register_fake
def _fake_weldon_pool_backward(
    grad_pooled: Tensor, x: Tensor, k_max: int, k_min: int, alpha: float
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _save_for_weldon_pool(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.options = inputs
    ctx.save_for_backward(x)


def _differentiate_weldon_pool(ctx: Any, grad_pooled: Tensor) -> tuple[Tensor | None, ...]:
    return _weldon_pool_backward(grad_pooled, *ctx.saved_tensors, *ctx.options), None, None, None


weldon_pool.register_autograd(_differentiate_weldon_pool, setup_context=_save_for_weldon_pool)


@torch.library.custom_op(
    "vinfer::letterbox",
    mutates_args=(),
    schema="(Tensor image, SymInt[2] size, str mode='pad', float[3] mean=[0.0, 0.0, 0.0], "
    "float[3] std=[1.0, 1.0, 1.0], float pad_value=114.0, str layout='chw', *, "
    "str align='center', str rounding='nearest', bool swap_channels=False) -> Tensor",
)
def letterbox(
    image: Tensor,
    size: Sequence[int],
    mode: Any = "pad",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    pad_value: float = 114.0,
    layout: Any = "chw",
    *,
    align: Any = "center",
    rounding: Any = "nearest",
    swap_channels: bool = False,
) -> Tensor:
    """`vinfer.ops.letterbox` without the transform; no gradient."""
    network_image: Tensor = _fake_letterbox(image, size, layout=layout)
    ops.letterbox(
        _plain(image),
        (size[0], size[1]),
        mode,
        mean,
        std,
        pad_value,
        layout,
        align=align,
        rounding=rounding,
        swap_channels=swap_channels,
        out=_writable(network_image),
        stream=_stream(image),
    )
    return network_image


@letterbox.register_fake
def _fake_letterbox(
    image: Tensor,
    size: Sequence[int],
    mode: str = "pad",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    pad_value: float = 114.0,
    layout: str = "chw",
    *,
    align: str = "center",
    rounding: str = "nearest",
    swap_channels: bool = False,
) -> Tensor:
    _check_dtype("image", image, torch.uint8)
    _check_size("size", size)
    height, width = size
    shape = (height, width, 3) if layout == "hwc" else (3, height, width)
    return image.new_empty(shape, dtype=torch.float32)


for _op in (roi_align, positional_maps, weldon_pool):
    for _device in ("cpu", "cuda"):
        # bfloat16 is none of the kernels' types, and boxes in half precision are off by pixels.
        _op.register_autocast(_device, torch.float32)


def _check_rank(name: str, tensor: Tensor, rank: int) -> None:
    if tensor.dim() != rank:
        raise ShapeError(f"{name}: found shape {list(tensor.shape)}, expected rank {rank}")


def _check_dtype(name: str, tensor: Tensor, *dtypes: torch.dtype) -> None:
    """Here too, as exporting and compiling run no kernel that could refuse it."""
    if tensor.dtype not in dtypes:
        expected = " or ".join(str(dtype) for dtype in dtypes)
        raise DTypeError(
            f"{name}: found dtype {tensor.dtype}, expected {expected}; convert with "
            f"{name}.to({dtypes[0]})"
        )


def _check_size(name: str, size: Sequence[int]) -> None:
    # A side that is only known when a compiled or exported program runs is not a number yet.
    if len(size) != 2 or any(isinstance(side, int) and side < 1 for side in size):
        raise InputError(f"{name}: found {list(size)}, expected [height, width] of at least 1 each")


def _plain(tensor: Tensor) -> Tensor:
    """What DLPack gives away: no gradient; on a GPU, contiguous memory."""
    return tensor.detach().contiguous()


def _writable(tensor: Tensor) -> Any:
    """For ``out``: numpy before 2.1 takes tensors by DLPack for reading only."""
    if tensor.device.type != "cpu" or tensor.dtype == torch.bfloat16:  # numpy has none
        return tensor
    return tensor.numpy()


def _stream(tensor: Tensor) -> int | None:
    return torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else None
