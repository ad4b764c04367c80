"""Rewrites 3x3 convolutions of small maps so that they multiply a third as often.

Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, CVPR 2016): a tile of 4x4 results takes 36
products a pair of channels in place of 144. Maps of RoIs are so small that tiles are cut out,
transformed and put together again by one matrix product each, and the rest is 36 matrix products of
channels. docs/relations.md has the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.polynomial import polynomial

from vinfer.export.functions import DOMAIN, attach_functions
from vinfer.export.unused import remove_unused_initializers

if TYPE_CHECKING:
    import onnx

Float64Array = npt.NDArray[np.float64]

WINOGRAD_CONV = "WinogradConv"
MIN_CHANNELS = 256
"""Of input and output. With half as many the transforms take about what the products save."""

MAX_SIZE = 16
"""Height and width of a map. The transforms are dense: their work grows with the square of a map's
size, the convolution's with the size."""

TILE = 4
_TAPS = 3
_NUM_POINTS = TILE + _TAPS - 1
_POINTS = (0.0, -(2**-0.5), 2**-0.5, -(2**0.5), 2**0.5)
"""And infinity. With the usual 0, 1, -1, 2, -2 the largest error is four times as large; these make
no transform by additions and shifts, which nothing here needs."""


def use_winograd(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace convolutions by nodes ``vinfer::WinogradConv``, where that is faster on a CPU.

    These are float32 3x3 convolutions of stride 1 and padding 1, of at least `MIN_CHANNELS`
    channels, on maps of a fixed size up to `MAX_SIZE`. A node keeps the weights as they were, so
    that a file is no larger; loaded, they take four times the memory. It pays from about six maps
    on: reading the weights is most of the work of fewer.

    Args:
        model: opset 16 or later. It is not changed.

    Returns:
        A model with the same inputs and outputs, equal to about 1e-6 of the largest value.

    Raises:
        InputError: as `vinfer.export.attach_functions`.
        MissingDependencyError: onnx is not installed.
    """
    attached = attach_functions(model)
    graph = attached.graph
    sizes = _map_sizes(attached)
    weights = {t.name: tuple(t.dims) for t in graph.initializer if t.data_type == t.FLOAT}
    for node in graph.node:
        size = sizes.get(node.input[0]) if node.op_type == "Conv" and not node.domain else None
        if size is None or not _is_suitable(node, weights, size):
            continue
        kernel = node.input[1]
        bias = node.input[2] if len(node.input) > 2 else _zeros(graph, weights[kernel][0])
        inputs = [node.input[0], kernel, bias, *_transforms(graph, size)]
        del node.input[:], node.attribute[:]
        node.input.extend(inputs)
        node.op_type, node.domain = WINOGRAD_CONV, DOMAIN
    return attach_functions(attached)


def plain_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model before `use_winograd`, as quantization wants it; the model is not changed."""
    from onnx import helper

    plain = type(model)()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if (node.domain, node.op_type) == (DOMAIN, WINOGRAD_CONV):
            del node.input[3:], node.attribute[:]
            node.attribute.append(helper.make_attribute("pads", [1, 1, 1, 1]))
            node.op_type, node.domain = "Conv", ""
    remove_unused_initializers(plain.graph)
    return attach_functions(plain)


def input_transform(height: int, width: int) -> Float64Array:
    """``[36 * tiles, height * width]``: a map to its tiles at the points, zero padding included."""
    rows, columns = (_cut(size) for size in (height, width))
    both: Float64Array = np.einsum("pti,quj->pqtuij", rows, columns)
    return both.reshape(-1, height * width)


def kernel_transform() -> Float64Array:
    """``[36, 9]``: a kernel at the points."""
    _, kernel, _ = _minimal_filtering()
    both: Float64Array = np.einsum("pi,qj->pqij", kernel, kernel)
    return both.reshape(-1, _TAPS**2)


def output_transform(height: int, width: int) -> Float64Array:
    """``[height * width, 36 * tiles]``: products at the points to a map."""
    rows, columns = (_put_together(size) for size in (height, width))
    both: Float64Array = np.einsum("ipt,jqu->ijpqtu", rows, columns)
    return both.reshape(height * width, -1)


def _minimal_filtering() -> tuple[Float64Array, Float64Array, Float64Array]:
    """Along one axis, after Toom and Cook: of data, kernel and result.

    ``[points, points]``, ``[points, 3]`` and ``[4, points]``; the product of what the first two
    give at each point, taken through the third, is the convolution.
    """
    data = np.zeros((_NUM_POINTS, _NUM_POINTS))
    kernel = np.zeros((_NUM_POINTS, _TAPS))
    result = np.zeros((TILE, _NUM_POINTS))
    for k, point in enumerate(_POINTS):
        others = np.delete(_POINTS, k)
        data[k, :-1] = polynomial.polyfromroots(others)
        kernel[k] = point ** np.arange(_TAPS) / np.prod(point - others)
        result[:, k] = point ** np.arange(TILE)
    data[-1] = polynomial.polyfromroots(_POINTS)
    kernel[-1, -1] = result[-1, -1] = 1
    return data, kernel, result


def _cut(size: int) -> Float64Array:
    """Along one axis: ``[points, tiles, size]``."""
    tiles = -(-size // TILE)
    # Two more than a tile has results, which begin one before its first.
    padded = np.eye(tiles * TILE + _TAPS - 1)[:, 1 : size + 1]
    windows = np.stack([padded[t * TILE : t * TILE + _NUM_POINTS] for t in range(tiles)])
    data, _, _ = _minimal_filtering()
    at_points: Float64Array = np.einsum("pk,tki->pti", data, windows)
    return at_points


def _put_together(size: int) -> Float64Array:
    """Along one axis: ``[size, points, tiles]``; results beyond the map are left out."""
    tiles = -(-size // TILE)
    _, _, result = _minimal_filtering()
    placed: Float64Array = np.einsum("rp,tu->trpu", result, np.eye(tiles))
    return placed.reshape(tiles * TILE, _NUM_POINTS, tiles)[:size]


def _map_sizes(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Height and width of the maps ``[N, C, H, W]`` where both are fixed, by name of the value."""
    import onnx

    sizes = {}
    graph = onnx.shape_inference.infer_shapes(model).graph
    for value in [*graph.input, *graph.value_info]:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and all(dim.HasField("dim_value") for dim in dims[2:]):
            sizes[value.name] = (dims[2].dim_value, dims[3].dim_value)
    return sizes


def _is_suitable(
    node: onnx.NodeProto, weights: dict[str, tuple[int, ...]], size: tuple[int, int]
) -> bool:
    shape = weights.get(node.input[1], ())
    settings: dict[str, Any] = {
        a.name: list(a.ints) for a in node.attribute if a.name in ("strides", "dilations", "pads")
    }
    return (
        len(shape) == 4
        and shape[2:] == (3, 3)
        and min(shape[:2]) >= MIN_CHANNELS
        and max(size) <= MAX_SIZE
        and settings.get("pads") == [1, 1, 1, 1]
        and settings.get("strides", [1, 1]) == [1, 1]
        and settings.get("dilations", [1, 1]) == [1, 1]
        and all(a.i == 1 for a in node.attribute if a.name == "group")
        and all(a.s == b"NOTSET" for a in node.attribute if a.name == "auto_pad")
    )


def _zeros(graph: onnx.GraphProto, count: int) -> str:
    return _shared(graph, f"winograd_no_bias_{count}", np.zeros(count))


def _transforms(graph: onnx.GraphProto, size: tuple[int, int]) -> list[str]:
    named = "x".join(map(str, size))
    return [
        _shared(graph, f"winograd_input_{named}", input_transform(*size)),
        _shared(graph, "winograd_kernel", kernel_transform()),
        _shared(graph, f"winograd_output_{named}", output_transform(*size)),
    ]


def _shared(graph: onnx.GraphProto, name: str, values: Float64Array) -> str:
    """A float32 constant that is there once."""
    from onnx import numpy_helper

    if name not in [tensor.name for tensor in graph.initializer]:
        array = values.astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(array, name))
    return name
