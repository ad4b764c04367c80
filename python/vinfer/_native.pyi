"""The native module as it is bound; `vinfer.ops` is the documented form."""

from collections.abc import Sequence
from typing import Any, final

# Arrays are numpy's or capsules of DLPack; results are numpy's or `_CudaArray`.

@final
class CallOptions:
    def __init__(self, num_threads: int, cpu_level: str, stream: int) -> None: ...

def error_names() -> list[str]: ...
def cpu_levels() -> list[str]: ...
def cuda_was_built() -> bool: ...
def num_cuda_devices() -> int: ...
def roi_align(
    features: object,
    boxes: object,
    batch_indices: object,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    out: object,
    options: CallOptions,
) -> tuple[Any, int]: ...
def roi_align_backward(
    grad_pooled: object,
    boxes: object,
    batch_indices: object,
    feature_shape: Sequence[int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    out: object,
    options: CallOptions,
) -> Any: ...
def positional_maps(
    boxes: object,
    reference: object,
    size: tuple[int, int],
    dtype: str,
    out: object,
    options: CallOptions,
) -> Any: ...
def weldon_pool(
    x: object,
    k_max: int,
    k_min: int,
    alpha: float,
    return_indices: bool,
    out: object,
    options: CallOptions,
) -> Any: ...
def letterbox(
    image: object,
    size: tuple[int, int],
    stretch: bool,
    top_left: bool,
    hwc: bool,
    round_down: bool,
    mean: Sequence[float],
    std: Sequence[float],
    pad_value: float,
    swap_channels: bool,
    dtype: str,
    out: object,
    options: CallOptions,
) -> tuple[Any, tuple[int, int, int, int], tuple[int, int]]: ...
def letterbox_nv12(
    y: object,
    uv: object,
    width: int,
    matrix: int,
    full_range: bool,
    size: tuple[int, int],
    stretch: bool,
    top_left: bool,
    hwc: bool,
    round_down: bool,
    mean: Sequence[float],
    std: Sequence[float],
    pad_value: float,
    swap_channels: bool,
    dtype: str,
    out: object,
    options: CallOptions,
) -> tuple[Any, tuple[int, int, int, int], tuple[int, int]]: ...
