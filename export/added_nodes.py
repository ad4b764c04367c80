"""Nodes that are added to a graph that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx


class AddedNodes:
    """New nodes with names that no other value has."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.shapes: list[onnx.ValueInfoProto] = []
        self._count = 0

    def name(self, hint: str) -> str:
        self._count += 1
        return f"factored_{hint}_{self._count}"

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        return self.nodes_of(op, inputs, 1, **attributes)[0]

    def nodes_of(
        self, op: str, inputs: list[str], num_outputs: int, **attributes: Any
    ) -> list[str]:
        from onnx import helper

        outputs = [self.name(op.lower()) for _ in range(num_outputs)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], **attributes))
        return outputs

    def constant(self, value: Any, dtype: npt.DTypeLike) -> str:
        from onnx import numpy_helper

        name = self.name("constant")
        array = np.asarray(value, dtype)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def gather(self, rows: str, indices: str) -> str:
        return self.node("Gather", [rows, indices], axis=0)

    def column(self, table: str, index: int) -> str:
        return self.node("Gather", [table, self.constant(index, np.int64)], axis=1)

    def state_shape(self, name: str, *dims: int | str) -> None:
        """Write down the shape of a float32 value, where inference can't tell it."""
        from onnx import TensorProto, helper

        self.shapes.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))

    def slice(self, value: str, begin: int | str, end: int | str, axis: int) -> str:
        bounds = [self.ints(b) if isinstance(b, int) else b for b in (begin, end)]
        return self.node("Slice", [value, *bounds, self.ints(axis)])
