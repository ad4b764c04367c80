"""The native module as it is bound; `vinfer.ops` is the documented form."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

def error_names() -> list[str]: ...
def roi_align(
    features: object,
    boxes: object,
    batch_indices: object,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> tuple[npt.NDArray[np.float32], int]: ...
def positional_maps(
    boxes: object, reference: object, size: tuple[int, int]
) -> npt.NDArray[np.float32]: ...
def weldon_pool(
    x: object, k_max: int, k_min: int, alpha: float, return_indices: bool
) -> (
    npt.NDArray[np.float32]
    | tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.int64]]
): ...
def letterbox(
    image: object,
    size: tuple[int, int],
    stretch: bool,
    top_left: bool,
    hwc: bool,
    mean: Sequence[float],
    std: Sequence[float],
    pad_value: float,
    swap_channels: bool,
) -> tuple[npt.NDArray[np.float32], tuple[int, int, int, int]]: ...
