"""The ops as a PyTorch user composes them; `torch.compile` makes kernels of these."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# One compilation a dtype and static argument must not be refused: the peer would be eager then.
torch._dynamo.config.recompile_limit = 64


@functools.cache
def compiled(function: Callable[..., Any], **static: Any) -> Callable[..., Any]:
    """Sizes of tensors free, so that a compilation serves a whole grid; other arguments fixed."""

    def call(*args: Any) -> Any:
        return function(*args, **static)

    return torch.compile(call, dynamic=True)


def roi_align(
    features: Tensor, boxes: Tensor, batch_indices: Tensor, samples: int, size: int
) -> Tensor:
    """By four gathers, as torchvision's own form for compilers; fixed number of samples.

    `boxes` are in feature-map pixels.
    """
    height, width = features.shape[2:]
    steps = (torch.arange(size * samples, device=boxes.device) + 0.5) / (size * samples)
    start = boxes - 0.5
    x = start[:, 0:1] + (start[:, 2:3] - start[:, 0:1]) * steps
    y = start[:, 1:2] + (start[:, 3:4] - start[:, 1:2]) * steps

    def taps(position: Tensor, extent: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        inside = (position >= -1) & (position <= extent)
        position = position.clamp(0, extent - 1)
        low = position.long()
        high = (low + 1).clamp(max=extent - 1)
        weight = position - low
        return low, high, (1 - weight) * inside, weight * inside

    y0, y1, wy0, wy1 = taps(y, height)
    x0, x1, wx0, wx1 = taps(x, width)
    image = batch_indices[:, None, None, None]
    channel = torch.arange(features.shape[1], device=boxes.device)[None, :, None, None]

    def corner(rows: Tensor, columns: Tensor, wy: Tensor, wx: Tensor) -> Tensor:
        values = features[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
        return values.float() * wy[:, None, :, None] * wx[:, None, None, :]

    sampled = (
        corner(y0, x0, wy0, wx0)
        + corner(y0, x1, wy0, wx1)
        + corner(y1, x0, wy1, wx0)
        + corner(y1, x1, wy1, wx1)
    )
    bins = sampled.view(len(boxes), features.shape[1], size, samples, size, samples)
    return bins.mean(dim=(3, 5)).to(features.dtype)


def weldon_pool(x: Tensor, k: int, alpha: float) -> Tensor:
    maps = x.flatten(2)
    high = maps.topk(k, dim=-1, sorted=False).values.float().mean(dim=-1)
    low = maps.topk(k, dim=-1, largest=False, sorted=False).values.float().mean(dim=-1)
    return (high + alpha * low).to(x.dtype)


def weldon_pool_sort(x: Tensor, k: int, alpha: float) -> Tensor:
    ordered = x.flatten(2).sort(dim=-1).values
    high = ordered[..., ordered.shape[-1] - k :].float().mean(dim=-1)
    return (high + alpha * ordered[..., :k].float().mean(dim=-1)).to(x.dtype)


def letterbox(
    image: Tensor,
    inner: tuple[int, int],
    padding: tuple[int, int, int, int],
    mean: Tensor,
    std: Tensor,
    pad_value: float,
    dtype: torch.dtype,
) -> Tensor:
    """uint8 [H, W, 3]; padding left, right, top, bottom; mean and std [3, 1, 1]."""
    planar = image.permute(2, 0, 1)[None].float()
    return _finished(_resized(planar, inner)[0], padding, mean, std, pad_value, dtype)


def letterbox_nv12(
    y: Tensor,
    uv: Tensor,
    inner: tuple[int, int],
    padding: tuple[int, int, int, int],
    mean: Tensor,
    std: Tensor,
    pad_value: float,
    dtype: torch.dtype,
) -> Tensor:
    """BT.709, limited range, each plane resized on its own; the picture's sides are even."""
    chroma = uv.view(uv.shape[0], -1, 2).permute(2, 0, 1)[None].float() - 128
    luma = (_resized(y[None, None].float(), inner)[0, 0] - 16) * (255 / 219)
    blue, red = _resized(chroma, inner)[0] * (255 / 224)
    rgb = torch.stack(
        [luma + 1.5748 * red, luma - 0.187324 * blue - 0.468124 * red, luma + 1.8556 * blue]
    )
    return _finished(rgb.clamp(0, 255), padding, mean, std, pad_value, dtype)


def _resized(planar: Tensor, inner: tuple[int, int]) -> Tensor:
    return torch.nn.functional.interpolate(
        planar, inner, mode="bilinear", align_corners=False, antialias=False
    )


def _finished(
    planar: Tensor,
    padding: tuple[int, int, int, int],
    mean: Tensor,
    std: Tensor,
    pad_value: float,
    dtype: torch.dtype,
) -> Tensor:
    padded = torch.nn.functional.pad(planar, padding, value=pad_value)
    return ((padded - mean) / std).to(dtype)


def positional_maps(boxes: Tensor, reference: Tensor, size: int) -> Tensor:
    t = (torch.arange(size, device=boxes.device) + 0.5) / size
    scale = 2 / (reference[:, 2:] - reference[:, :2])
    alpha = (boxes[:, :2] - reference[:, :2]) * scale - 1
    lines = alpha[:, :, None] + ((boxes[:, 2:] - boxes[:, :2]) * scale)[:, :, None] * t
    x = lines[:, 0, None, :].expand(-1, size, -1)
    y = lines[:, 1, :, None].expand(-1, -1, size)
    return torch.stack([x, y], dim=1)
