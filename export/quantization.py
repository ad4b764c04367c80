"""A graph whose convolutions compute in 8-bit integers, with ranges taken from pictures.

The form is QDQ: QuantizeLinear and DequantizeLinear around nodes that stay as they are, which a
library fuses into integer kernels where it has them. docs/relations.md says which nodes stay
float32, and what that costs and saves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vinfer.backends.base import Array
from vinfer.errors import InputError, MissingDependencyError
from vinfer.export.winograd import plain_convolutions

if TYPE_CHECKING:
    import onnx

# What a network is made of between two convolutions. Anything else is computed in float32: linear
# layers after the mean are cheap and make the logits; the rest is geometry, where 8 bits are 3
# pixels of 853.
BETWEEN = ("Relu", "Clip", "Add", "MaxPool", "Pad")


def quantize_int8(model: onnx.ModelProto, feeds: Iterable[Mapping[str, Array]]) -> onnx.ModelProto:
    """Quantize the convolutions, weights per output channel.

    Weights take 7 of the 8 bits: processors without VNNI add two products in 16 bits, which
    saturates with 8, so that results would depend on the processor.

    Args:
        model: not changed. The graph may hold nodes of domain `vinfer` with bodies; those of
            `vinfer.export.use_winograd` are convolutions again in the result.
        feeds: inputs of typical pictures, by name; activations take the range that they have there.
            Names that the graph does not have are left out.

    Returns:
        A model with the same inputs and outputs. These stay float32: convolutions that read an
        input (a picture's values differ most, and there are few of them), and everything that is
        not a convolution or between two of them.

    Raises:
        InputError: no convolution to quantize, or no feed.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as exc:
        raise MissingDependencyError.of("onnx", "export", exc) from exc
    model = plain_convolutions(model)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    chosen = quantized_nodes(model.graph)
    if not chosen:
        raise InputError(
            "model: found no convolution but those that read an input, expected some to quantize"
        )
    names = [value.name for value in model.graph.input]
    reader = _reader(quantization.CalibrationDataReader, names, feeds)
    # Says that BatchNorm is folded and shapes are known, or a warning says to do it.
    prepared = model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            path,
            reader,
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *BETWEEN],
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        quantized: onnx.ModelProto = onnx.load(path)
    quantized.metadata_props.remove(prepared)
    return quantized


def quantized_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the nodes that `quantize_int8` takes."""
    inputs = {value.name for value in graph.input}
    weights = {tensor.name for tensor in graph.initializer}
    chosen: dict[str, str] = {}  # by output
    for node in graph.node:
        read = [name for name in node.input if name and name not in weights]
        if node.op_type == "Conv":
            is_chosen = node.input[0] not in inputs and node.input[1] in weights
        else:
            # With the results of quantized ones only, so that no float32 value is rounded for
            # nodes that gain nothing from it.
            is_chosen = node.op_type in BETWEEN and all(name in chosen for name in read)
        if is_chosen and not node.domain:
            chosen[node.output[0]] = node.name
    return list(chosen.values())


def _reader(base: type, names: list[str], feeds: Iterable[Mapping[str, Array]]) -> Any:
    found: Iterator[Mapping[str, Array]] = iter(feeds)
    first = next(found, None)
    if first is None:
        raise InputError("feeds: found none, expected inputs of some pictures to take ranges from")

    class Reader(base):  # type: ignore[misc]
        """Hands out one feed after the other."""

        def __init__(self) -> None:
            self._next: Mapping[str, Array] | None = first

        def get_next(self) -> dict[str, Array] | None:
            feed, self._next = self._next, next(found, None)
            return None if feed is None else {name: feed[name] for name in names}

    return Reader()
