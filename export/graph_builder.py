"""Writes an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vinfer.errors import MissingDependencyError

if TYPE_CHECKING:
    import onnx

IR_VERSION = 9
OPSET = 17


class GraphBuilder:
    """Collects nodes and constants; every value is named, nodes are in order of execution.

    Raises:
        MissingDependencyError: onnx is not installed.
    """

    def __init__(self) -> None:
        try:
            from onnx import helper, numpy_helper
        except ImportError as exc:
            raise MissingDependencyError(
                "onnx is not installed, and writing a model needs it; "
                "install it with: pip install 'vinfer[export]'"
            ) from exc
        self._helper = helper
        self._numpy_helper = numpy_helper
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(
        self, name: str, value: npt.ArrayLike, dtype: type[np.generic] = np.float32
    ) -> str:
        """A constant tensor; returns its name."""
        array = np.ascontiguousarray(np.asarray(value).astype(dtype))
        self._constants.append(self._numpy_helper.from_array(array, name))
        return name

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        name: str,
        *more_outputs: str,
        **attributes: Any,
    ) -> str:
        """A node called after its first output; returns that name."""
        self._nodes.append(
            self._helper.make_node(op, inputs, [name, *more_outputs], name=name, **attributes)
        )
        return name

    def model(
        self,
        name: str,
        inputs: dict[str, Sequence[int | str]],
        outputs: dict[str, Sequence[int | str]],
    ) -> bytes:
        """The serialised model, checked; all inputs and outputs are float32."""
        import onnx

        def values(specs: dict[str, Sequence[int | str]]) -> list[Any]:
            return [
                self._helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, list(shape))
                for key, shape in specs.items()
            ]

        graph = self._helper.make_graph(
            self._nodes, name, values(inputs), values(outputs), self._constants
        )
        model = self._helper.make_model(
            graph,
            opset_imports=[self._helper.make_opsetid("", OPSET)],
            producer_name="vinfer",
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))
