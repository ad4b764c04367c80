"""Folds BatchNormalization into the convolution before it: one rounding less, one pass less."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import numpy as np

from vinfer.export.unused import remove_unused_initializers

if TYPE_CHECKING:
    import onnx


def fold_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which ``Conv, BatchNormalization`` is one ``Conv``, computed in float64.

    Only where the convolution's result goes nowhere else and all weights are initializers.
    Convolutions that share their weights share the folded ones.
    """
    import onnx
    from onnx import numpy_helper

    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    uses = collections.Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    producers = {name: node for node in graph.node for name in node.output}
    made: dict[tuple[str, ...], tuple[str, str]] = {}
    kept = []
    for node in graph.node:
        conv = producers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if (
            conv is None
            or conv.op_type != "Conv"
            or uses[conv.output[0]] != 1
            or not {*conv.input[1:], *node.input[1:]} <= set(weights)
        ):
            kept.append(node)
            continue
        key = (*conv.input[1:], *node.input[1:])
        if key not in made:
            arrays = [numpy_helper.to_array(weights[name]) for name in node.input[1:]]
            gamma, beta, mean, variance = (array.astype(np.float64) for array in arrays)
            epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
            scale = gamma / np.sqrt(variance + epsilon)
            kernel = numpy_helper.to_array(weights[conv.input[1]])
            bias = (
                numpy_helper.to_array(weights[conv.input[2]]).astype(np.float64)
                if len(conv.input) > 2
                else 0.0
            )
            names = f"{conv.input[1]}.folded_{len(made)}", f"{conv.input[1]}.bias_{len(made)}"
            shape = (-1, *[1] * (kernel.ndim - 1))
            for name, array in zip(
                names,
                (kernel.astype(np.float64) * scale.reshape(shape), (bias - mean) * scale + beta),
                strict=True,
            ):
                graph.initializer.append(numpy_helper.from_array(array.astype(kernel.dtype), name))
            made[key] = names
        del conv.input[1:]
        conv.input.extend(made[key])
        conv.output[0] = node.output[0]
    del graph.node[:]
    graph.node.extend(kept)
    remove_unused_initializers(graph)
    return folded
