"""From a detector's raw outputs to boxes and class scores, by the manifest's decode kind.

A new kind is a class in `vinfer.bundles.manifest` and a function here, entered in `_MAKERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.bundles.manifest import BoxesScoresDecode, DetectionManifest, YoloxDecode
from vinfer.errors import ModelOutputError
from vinfer.types import Float32Array

Outputs = Mapping[str, npt.NDArray[Any]]
Decoder = Callable[[Outputs], tuple[Float32Array, Float32Array]]
"""The outputs of one picture to boxes float32 ``[a, 4]``, xyxy in pixels of the network input (not
clipped, maybe inverted), and scores float32 ``[a, classes]``."""

# A float32 exp overflows near 88; e^20 input pixels is past any picture already.
_MAX_LOG_SIZE = 20.0


def make_decoder(manifest: DetectionManifest) -> Decoder:
    """The decoder that the manifest asks for.

    Raises (the decoder):
        ModelOutputError: an output is missing, has another shape or dtype than the manifest
            promises, or holds NaN or infinity.
    """
    return _MAKERS[manifest.decode.kind](
        manifest.decode, manifest.preprocess.size, len(manifest.labels)
    )


def checked_output(
    outputs: Outputs, name: str, columns: int, rows: int | None = None
) -> Float32Array:
    """One picture's float32 ``[rows, columns]`` out of the batch of one in ``outputs[name]``.

    Raises:
        ModelOutputError: it is missing, of another shape or dtype, or not finite.
    """
    if name not in outputs:
        raise ModelOutputError(
            f'output "{name}" is missing, found {sorted(outputs)}; name one of these in the '
            "manifest's decode"
        )
    array = outputs[name]
    if (
        array.dtype != np.float32
        or array.ndim != 3
        or array.shape[0] != 1
        or array.shape[2] != columns
        or (rows is not None and array.shape[1] != rows)
    ):
        raise ModelOutputError(
            f'output "{name}": found {array.dtype} {list(array.shape)}, expected float32 '
            f"[1, {'a' if rows is None else rows}, {columns}]; the manifest does not fit this graph"
        )
    finite = np.isfinite(array)
    if not finite.all():
        raise ModelOutputError(
            f'output "{name}": {array.size - int(finite.sum())} of {array.size} values are NaN or '
            "infinite, expected finite numbers; check graph and precision with `vinfer inspect`"
        )
    picture: Float32Array = array[0]
    return picture


def _boxes_scores(spec: BoxesScoresDecode, size: tuple[int, int], num_classes: int) -> Decoder:
    height, width = size
    scale = np.array([width, height] * 2 if spec.normalized else [1] * 4, np.float32)

    def decode(outputs: Outputs) -> tuple[Float32Array, Float32Array]:
        scores = checked_output(outputs, spec.scores, num_classes)
        return checked_output(outputs, spec.boxes, 4, len(scores)) * scale, scores

    return decode


def _yolox(spec: YoloxDecode, size: tuple[int, int], num_classes: int) -> Decoder:
    cells, strides = yolox_grid(size, spec.strides)

    def decode(outputs: Outputs) -> tuple[Float32Array, Float32Array]:
        out = checked_output(outputs, spec.output, 5 + num_classes, len(cells))
        centres = (out[:, :2] + cells) * strides
        halves = np.exp(np.minimum(out[:, 2:4], np.float32(_MAX_LOG_SIZE))) * (strides / 2)
        return np.concatenate([centres - halves, centres + halves], 1), out[:, 4:5] * out[:, 5:]

    return decode


def yolox_grid(
    size: tuple[int, int], strides: tuple[int, ...]
) -> tuple[Float32Array, Float32Array]:
    """Cells of a YOLOX head, row by row, stride by stride.

    Args:
        size: (height, width) of the network input in pixels, multiples of the strides.

    Returns:
        float32 ``[a, 2]``: column and row of each cell; float32 ``[a, 1]``: its stride in pixels.
    """
    cells, cell_strides = [], []
    for stride in strides:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], 1))
        cell_strides.append(np.full((rows.size, 1), stride))
    return (
        np.concatenate(cells).astype(np.float32),
        np.concatenate(cell_strides).astype(np.float32),
    )


# Any: each maker takes its own kind of spec; the manifest's discriminator matches kind and class.
_MAKERS: Mapping[str, Callable[[Any, tuple[int, int], int], Decoder]] = {
    "boxes_scores": _boxes_scores,
    "yolox": _yolox,
}
