"""Weldon pooling: `vinfer::WeldonPool` in graphs, `torch.ops.vinfer.weldon_pool` in PyTorch."""

from __future__ import annotations

from typing import Any, Literal, overload

from vinfer import _native
from vinfer.ops.arguments import integer, real
from vinfer.ops.exchange import Array, call_options, like, to_native


@overload
def weldon_pool(
    x: Array,
    k_max: int,
    k_min: int,
    alpha: float = 1.0,
    return_indices: Literal[False] = False,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
    stream: int | None = None,
) -> Array: ...


@overload
def weldon_pool(
    x: Array,
    k_max: int,
    k_min: int,
    alpha: float = 1.0,
    *,
    return_indices: Literal[True],
    out: Array | None = None,
    num_threads: int | None = None,
    stream: int | None = None,
) -> tuple[Array, Any, Any]: ...


def weldon_pool(
    x: Array,
    k_max: int,
    k_min: int,
    alpha: float = 1.0,
    return_indices: bool = False,
    *,
    out: Array | None = None,
    num_threads: int | None = None,
    stream: int | None = None,
) -> Array | tuple[Array, Any, Any]:
    """Mean of the highest values of each map plus ``alpha`` times the mean of its lowest.

    Durand, Thome and Cord, WELDON, 2016.

    Args:
        x: float32 or float16 ``[N, C, H, W]``, at least one position a map; float64 on the CPU,
            slowly, for checking gradients.
        k_max: how many of the highest values, >= 1; above ``H * W`` it counts as ``H * W``.
        k_min: how many of the lowest values, >= 0; likewise. 0 drops the second term.
        alpha: weight of the lowest values, finite. 0 drops the second term, even where it is
            infinite.
        return_indices: also give the positions that were chosen.
        out, num_threads, stream: see `vinfer.ops`; ``out`` is for the pooled values.

    Returns:
        ``[N, C]`` of the dtype of ``x``. With ``return_indices`` also the flat positions of the
        highest, int64 ``[N, C, min(k_max, H * W)]``, and of the lowest, int64
        ``[N, C, min(k_min, H * W)]``: best first, the lowest position first among equals. A map
        with a NaN gives NaN and -1.

    Raises:
        DTypeError: ``x`` is of another dtype.
        ShapeError: ``x`` is not of rank 4, or its maps are empty.
        InputError: ``k_max``, ``k_min`` or ``alpha`` is out of range, or ``out`` is not what is
            needed.
        ProviderUnavailableError: ``x`` is on a GPU and this build has no CUDA kernels.
    """
    result = _native.weldon_pool(
        to_native("x", x, stream),
        integer("k_max", k_max),
        integer("k_min", k_min),
        real("alpha", alpha),
        bool(return_indices),
        to_native("out", out, stream),
        call_options(num_threads, stream),
    )
    if not return_indices:
        return out if out is not None else like(x, result)
    pooled, highest, lowest = result
    return (
        out if out is not None else like(x, pooled),
        like(x, highest),
        like(x, lowest),
    )
