"""An ONNX graph as OpenVINO takes it: no functions, nothing outside the file, ONNX's own defaults.

OpenVINO reads an ONNX file itself, with differences that would go unnoticed: it looks for weights
outside the file in the current folder, loses the names of free dimensions, computes float64 and
int64 in half their bits, and takes some defaults for others than ONNX's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from vinfer.backends.base import TensorSpec
from vinfer.errors import BackendError, MissingDependencyError

if TYPE_CHECKING:
    import onnx

_DTYPES = {
    "FLOAT": "float32",
    "FLOAT16": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}

# (domain, operator): attributes that are written out where a node leaves them to the default.
# RoiAlign's grid adapts to the box by default; OpenVINO takes one point a bin
# (openvinotoolkit/openvino#37826).
_DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {("", "RoiAlign"): {"sampling_ratio": 0}}


@dataclasses.dataclass(frozen=True, slots=True)
class PreparedGraph:
    """A graph to be read by OpenVINO.

    Attributes:
        data: bytes of an ONNX file that means the same as the one given.
        inputs, outputs: as the file given states them.
    """

    data: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def prepare(graph: bytes) -> PreparedGraph:
    """Inline the graph's functions and write defaults out.

    Raises:
        BackendError: not an ONNX graph, or one with weights outside the file, nodes of domain
            ``vinfer`` without a body, or inputs or outputs of a type that OpenVINO has not.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
        import onnx.inliner
    except ImportError as exc:
        raise MissingDependencyError.of("onnx", "openvino", exc) from exc
    try:
        model = onnx.load_model_from_string(graph)
    except Exception as exc:  # protobuf's errors have no common class below Exception
        raise BackendError(f"openvino can't load the graph: not an ONNX model ({exc})") from exc
    if not model.graph.output:
        raise BackendError(
            "openvino can't load the graph: found no outputs, expected an ONNX model"
        )
    _refuse_files(model)
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_spec(v) for v in model.graph.input if v.name not in initialised)
    outputs = tuple(_spec(v) for v in model.graph.output)
    if model.functions:
        _complete_calls(model)
        model = onnx.inliner.inline_local_functions(model)
    for node in _nodes(model.graph.node):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain == "vinfer":
            raise BackendError(
                f"openvino can't load the graph: it has no vinfer::{node.op_type}, and the graph "
                "has no body for it; give it one with vinfer.export.attach_functions"
            )
        given = {attribute.name for attribute in node.attribute}
        for name, value in _DEFAULTS.get((domain, node.op_type), {}).items():
            if name not in given:
                node.attribute.append(onnx.helper.make_attribute(name, value))
    return PreparedGraph(model.SerializeToString(), inputs, outputs)


def _complete_calls(model: onnx.ModelProto) -> None:
    """Give each call of a function the attributes it leaves to the function's defaults.

    onnx's inliner drops them, and the body's nodes then have no value.
    """
    functions = {(each.domain, each.name): each for each in model.functions}
    bodies = [each.node for each in model.functions]
    for nodes in (model.graph.node, *bodies):
        for node in _nodes(nodes):
            function = functions.get((node.domain, node.op_type))
            if function is not None:
                given = {attribute.name for attribute in node.attribute}
                node.attribute.extend(a for a in function.attribute_proto if a.name not in given)


def _refuse_files(model: onnx.ModelProto) -> None:
    bodies = (node for function in model.functions for node in function.node)
    for tensor in (*_tensors(model.graph), *_tensors_of(bodies)):
        if tensor.data_location == type(tensor).EXTERNAL:
            raise BackendError(
                f"openvino can't load the graph: {tensor.name!r} lies in a file outside the graph, "
                "which nobody checked; save the graph in one file"
            )


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of(graph.node)


def _tensors_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        found = f"a {(kind or 'value without a type').removesuffix('_type')}"
    else:
        tensor = value.type.tensor_type
        found = onnx.TensorProto.DataType.Name(tensor.elem_type)
        if found in _DTYPES:
            return TensorSpec(value.name, _DTYPES[found], tuple(map(_size, tensor.shape.dim)))
    raise BackendError(
        f"openvino can't load the graph: {value.name!r} is {found}, expected one of "
        f"{', '.join(_DTYPES)}; use backend onnxruntime, or export the graph with these types"
    )


def _size(dim: Any) -> int | str:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return str(dim.dim_param) or "?"
