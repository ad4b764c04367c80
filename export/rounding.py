"""Graphs whose numbers are rounded to 16 bits: to be smaller, or to see what bfloat16 would cost.

Both compute in float32. ONNX Runtime's CPU kernels for x86-64 have hardly any float16: it converts
around each node, which is slower (benchmarks/relation_precision.py measures it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vinfer.errors import InputError, MissingDependencyError
from vinfer.export.functions import DOMAIN
from vinfer.export.winograd import WINOGRAD_CONV

if TYPE_CHECKING:
    import onnx

# Nodes with weights, which are their second input: domain and operator.
WEIGHTED = (("", "Conv"), ("", "Gemm"), ("", "MatMul"), (DOMAIN, WINOGRAD_CONV))
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def store_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep the weights in float16, half the size, and convert them when the graph is loaded.

    Args:
        model: not changed.

    Returns:
        A model with the same inputs and outputs. Weights beyond float16's range stay float32.

    Raises:
        InputError: there are no float32 weights.
        MissingDependencyError: onnx is not installed.
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as exc:
        raise MissingDependencyError.of("onnx", "export", exc) from exc
    stored = _copy(model)
    casts = []
    for tensor in _weights(stored.graph):
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0) > LARGEST_FLOAT16:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.float16"))
        # Of constants, so every runtime computes it once.
        casts.append(helper.make_node("Cast", [tensor.name], [name], name, to=TensorProto.FLOAT))
    nodes = [*casts, *stored.graph.node]
    del stored.graph.node[:]
    stored.graph.node.extend(nodes)
    return stored


def emulate_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Round what convolutions and matrix products read to bfloat16; sums stay float32.

    That is what processors with bfloat16 do in these nodes. A library may round more, such as the
    values in between, so that this shows the least loss to expect.

    Args:
        model: not changed.

    Returns:
        A slower model with the same inputs and outputs.

    Raises:
        InputError: there are no float32 weights.
        MissingDependencyError: onnx is not installed.
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as exc:
        raise MissingDependencyError.of("onnx", "export", exc) from exc
    emulated = _copy(model)
    weights = _weights(emulated.graph)
    names = {tensor.name for tensor in weights}
    for tensor in weights:
        rounded = round_to_bfloat16(numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    nodes = []
    rounded_values: dict[str, str] = {}
    for node in emulated.graph.node:
        if (node.domain, node.op_type) in WEIGHTED and node.input[1] in names:
            value = node.input[0]
            if value not in rounded_values:
                low, high = f"{value}.bfloat16", f"{value}.rounded"
                nodes += [
                    helper.make_node("Cast", [value], [low], low, to=TensorProto.BFLOAT16),
                    helper.make_node("Cast", [low], [high], high, to=TensorProto.FLOAT),
                ]
                rounded_values[value] = high
            node.input[0] = rounded_values[value]
        nodes.append(node)
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del emulated.graph.node[:]
    emulated.graph.node.extend(nodes)
    return emulated


def round_to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The nearest bfloat16 of each finite number, ties to even, as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = type(model)()
    copy.CopyFrom(model)
    return copy


def _weights(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """float32 initializers that are the second input of `WEIGHTED` nodes and nothing else."""
    from onnx import TensorProto

    read: dict[str, set[bool]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            is_weight = place == 1 and (node.domain, node.op_type) in WEIGHTED
            read.setdefault(name, set()).add(is_weight)
    found = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and read.get(tensor.name) == {True}
    ]
    if not found:
        raise InputError("model: found no float32 weights of convolutions and matrix products")
    return found
