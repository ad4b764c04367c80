"""Graphs made by code, for the tests of the backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def value(name: str, kind: int, shape: list[Any] | None) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Any = ()) -> bytes:
    helper = onnx.helper
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, list(weights)),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    return bytes(model.SerializeToString())


def pair_graph() -> bytes:
    """``sum = a + b`` and ``count = Shape(a)``; a and b are float32 [m, 4]."""
    nodes = [
        onnx.helper.make_node("Add", ["a", "b"], ["sum"]),
        onnx.helper.make_node("Shape", ["a"], ["count"]),
    ]
    inputs = [value("a", FLOAT, ["m", 4]), value("b", FLOAT, ["m", 4])]
    return graph(nodes, inputs, [value("sum", FLOAT, ["m", 4]), value("count", INT64, [2])])


def reshape_graph() -> bytes:
    node = onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])
    inputs = [value("x", FLOAT, ["n"]), value("shape", INT64, [2])]
    return graph([node], inputs, [value("y", FLOAT, ["rows", "columns"])])


def ones(m: int = 2) -> np.ndarray[Any, Any]:
    return np.ones((m, 4), np.float32)


def convolution_graph() -> bytes:
    random = np.random.default_rng(3)
    weights = [
        onnx.numpy_helper.from_array(random.standard_normal(shape, np.float32) / 8, name)
        for name, shape in (("w1", (32, 3, 3, 3)), ("w2", (64, 32, 3, 3)))
    ]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w1"], ["h"], pads=[1] * 4),
        onnx.helper.make_node("Relu", ["h"], ["r"]),
        onnx.helper.make_node("Conv", ["r", "w2"], ["c"], pads=[1] * 4),
        onnx.helper.make_node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ]
    return graph(nodes, [value("x", FLOAT, [1, 3, 40, 56])], [value("y", FLOAT, [1, 64])], weights)
