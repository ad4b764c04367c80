"""The trained relation prior as an ONNX graph: opset 17, IR 9, any number of pairs.

Written node by node rather than by PyTorch's exporter, so that the same weights give the same bytes
whatever its version. tests/training compares it with the module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vinfer.errors import MissingDependencyError
from vinfer.training.relation_model import LOG_RANGE, MIN_SIZE, RELATIVE_RANGE

if TYPE_CHECKING:
    import onnx

IR_VERSION = 9
OPSET = 17

Weights = Mapping[str, npt.NDArray[np.float32]]


class _Nodes:
    """Nodes and constants in order of execution; a node is named after its output."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError as exc:
            raise MissingDependencyError(
                "onnx is not installed, and writing the model needs it; "
                "install it with: pip install 'vinfer[train]'"
            ) from exc
        self._onnx = onnx
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(np.asarray(value, dtype))
        self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        output = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(
            self._onnx.helper.make_node(op, inputs, [output], name=output, **attributes)
        )
        return output

    def columns(self, x: str, start: int, end: int, step: int = 1) -> str:
        start_, end_, axis, step_ = (self.constant([v], np.int64) for v in (start, end, 1, step))
        return self.add("Slice", x, start_, end_, axis, step_)

    def concat(self, *parts: str) -> str:
        return self.add("Concat", *parts, axis=1)

    def linear(self, x: str, weight: npt.NDArray[np.float32], bias: str) -> str:
        return self.add("Gemm", x, self.constant(weight), bias, transB=1)


def relation_graph(weights: Weights, outputs: Mapping[str, Sequence[int]]) -> bytes:
    """The serialised, checked model.

    Args:
        weights: the module's state by name.
        outputs: columns of the calibrated scores that each graph output holds, in order.

    Returns:
        A model with inputs ``subject_labels``, ``object_labels`` int64 ``[m]``, ``subject_boxes``,
        ``object_boxes`` float32 ``[m, 4]`` and outputs float32 ``[m, columns]``.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    n = _Nodes()
    geometry = _geometry(n)
    geometry = n.add("Sub", geometry, n.constant(weights["geometry_mean"]))
    geometry = n.add("Mul", geometry, n.constant(weights["geometry_scale"]))

    subjects = n.add("Gather", n.constant(weights["subject.weight"]), "subject_labels")
    objects = n.add("Gather", n.constant(weights["object.weight"]), "object_labels")
    classes = n.concat(subjects, objects, n.add("Mul", subjects, objects))
    hidden = n.concat(classes, geometry)
    for layer in ("first", "second"):
        bias = n.constant(weights[f"{layer}.bias"])
        hidden = n.add("Relu", n.linear(hidden, weights[f"{layer}.weight"], bias))
    # Gemm's third operand takes the direct path as it takes a bias.
    direct = n.linear(classes, weights["direct.weight"], n.constant(weights["last.bias"]))
    logits = n.linear(hidden, weights["last.weight"], direct)
    logits = n.add("Mul", logits, n.constant(weights["calibration_scale"]))
    logits = n.add("Add", logits, n.constant(weights["calibration_offset"]))
    scores = n.add("Sigmoid", logits)
    for name, chosen in outputs.items():
        n.add("Gather", scores, n.constant(list(chosen), np.int64), name=name, axis=1)
    return _model(n, outputs)


def _geometry(n: _Nodes) -> str:
    """`relation_model.pair_geometry`, operation by operation."""
    zero, one, two = (n.constant(v) for v in (0.0, 1.0, 2.0))
    smallest = n.constant(MIN_SIZE)
    subject_min, subject_max = (n.columns("subject_boxes", v, v + 2) for v in (0, 2))
    object_min, object_max = (n.columns("object_boxes", v, v + 2) for v in (0, 2))
    union_min = n.add("Min", subject_min, object_min)
    union_max = n.add("Max", subject_max, object_max)

    def size(low: str, high: str) -> str:
        return n.add("Max", n.add("Sub", high, low), smallest)

    def area(sides: str) -> str:
        return n.add("Mul", n.columns(sides, 0, 1), n.columns(sides, 1, 2))

    def over(a: str, b: str, unit: str) -> str:
        return n.add("Div", n.add("Sub", a, b), unit)

    subject_size = size(subject_min, subject_max)
    object_size = size(object_min, object_max)
    union_size = size(union_min, union_max)
    overlap = n.add(
        "Sub", n.add("Min", subject_max, object_max), n.add("Max", subject_min, object_min)
    )
    overlap_area = area(n.add("Max", overlap, zero))
    subject_area, object_area = area(subject_size), area(object_size)
    both_areas = n.add("Sub", n.add("Add", subject_area, object_area), overlap_area)
    sizes = n.concat(subject_size, object_size, union_size)
    ratios = n.concat(
        n.add("Div", subject_size, object_size),
        n.add("Div", n.columns(sizes, 0, 6, 2), n.columns(sizes, 1, 6, 2)),
    )
    relative = n.concat(
        over(subject_min, object_min, object_size),
        over(subject_max, object_min, object_size),
        over(object_min, subject_min, subject_size),
        over(object_max, subject_min, subject_size),
    )

    def offset(low: str) -> str:
        return n.add("Sub", n.add("Mul", over(low, union_min, union_size), two), one)

    def extent(sides: str) -> str:
        return n.add("Div", n.add("Mul", sides, two), union_size)

    return n.concat(
        offset(subject_min),
        extent(subject_size),
        offset(object_min),
        extent(object_size),
        n.add("Div", overlap_area, both_areas),
        n.add("Div", overlap_area, subject_area),
        n.add("Div", overlap_area, object_area),
        n.add("Clip", relative, *(n.constant(v) for v in RELATIVE_RANGE)),
        n.add("Clip", n.add("Log", ratios), *(n.constant(v) for v in LOG_RANGE)),
    )


def _model(n: _Nodes, outputs: Mapping[str, Sequence[int]]) -> bytes:
    import onnx

    def value(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, kind, shape)

    tensor = onnx.TensorProto
    graph = onnx.helper.make_graph(
        n.nodes,
        "relation_prior",
        [
            value("subject_labels", tensor.INT64, ["m"]),
            value("object_labels", tensor.INT64, ["m"]),
            value("subject_boxes", tensor.FLOAT, ["m", 4]),
            value("object_boxes", tensor.FLOAT, ["m", 4]),
        ],
        [value(name, tensor.FLOAT, ["m", len(chosen)]) for name, chosen in outputs.items()],
        n.constants,
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="vinfer",
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
