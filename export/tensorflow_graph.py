"""Reads TensorFlow's frozen graphs (GraphDef) from protobuf's wire format, without TensorFlow.

Field numbers are those of `graph.proto`, `node_def.proto`, `attr_value.proto` and `tensor.proto`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vinfer.errors import BundleError

Array = npt.NDArray[Any]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DTYPES: Mapping[int, type[np.generic]] = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    4: np.uint8,
    9: np.int64,
    10: np.bool_,
}


@dataclasses.dataclass(frozen=True, slots=True)
class TensorflowNode:
    """One operation.

    Attributes:
        name: unique in the graph.
        op: TensorFlow's operation, "Conv2D".
        inputs: names of the nodes whose first output it takes; control edges are left out.
        attributes: encoded `AttrValue` by name.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, memoryview]

    def text(self, attribute: str) -> str:
        """A string attribute; "" where it is not set."""
        for number, value in _fields(self._attribute(attribute)):
            if number == 2:
                return _text(value)
        return ""

    def integers(self, attribute: str) -> tuple[int, ...]:
        """A list of integers; () where it is not set."""
        for number, value in _fields(self._attribute(attribute)):
            if number == 1:
                for inner, packed in _fields(_view(value)):
                    if inner == 3:
                        return tuple(_integers(packed))
        return ()

    def value(self) -> Array | None:
        """The tensor of a `Const`; None where it is not numeric or not there."""
        for number, value in _fields(self._attribute("value")):
            if number == 8:
                return _tensor(_view(value))
        return None

    def _attribute(self, name: str) -> memoryview:
        return self.attributes.get(name, memoryview(b""))


TensorflowGraph = Mapping[str, TensorflowNode]


def read_graph(data: bytes) -> TensorflowGraph:
    """Nodes of a frozen graph by name.

    Args:
        data: a serialised GraphDef.

    Raises:
        BundleError: it is not a GraphDef, or is cut short.
    """
    try:
        nodes = [_node(_view(value)) for number, value in _fields(memoryview(data)) if number == 1]
    except (IndexError, KeyError, UnicodeDecodeError, ValueError) as exc:
        raise BundleError(
            f"found a file that is not a TensorFlow GraphDef ({exc}), "
            "expected a frozen graph such as frozen_inference_graph.pb"
        ) from exc
    if not nodes:
        raise BundleError("found a TensorFlow graph without nodes, expected a frozen graph")
    return {node.name: node for node in nodes}


class Constants:
    """Values of the nodes that depend on constants only; arithmetic is done in float64."""

    def __init__(self, graph: TensorflowGraph) -> None:
        self._graph = graph
        self._known: dict[str, Array | None] = {}

    def value(self, name: str) -> Array | None:
        """The node's value, or None where it depends on an input or an operation not known here."""
        if name not in self._known:
            self._known[name] = self._evaluate(self._graph[name])
        return self._known[name]

    def _evaluate(self, node: TensorflowNode) -> Array | None:
        if node.op == "Const":
            return node.value()
        if node.op not in ("Identity", "Rsqrt", "Add", "Sub", "Mul"):
            return None
        values = [self.value(name) for name in node.inputs]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        if node.op == "Identity":
            return known[0]
        wide = [value.astype(np.float64) for value in known]
        if node.op == "Rsqrt":
            return np.asarray(1 / np.sqrt(wide[0]))
        operation = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[node.op]
        return np.asarray(operation(wide[0], wide[1]))


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("an integer is longer than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value): an int for a varint, else the field's bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("cut short")
        yield key >> 3, data[at : at + size]
        at += size


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("an integer where a message or text belongs")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_view(value)).decode()


def _integers(value: int | memoryview) -> list[int]:
    """Signed integers of a repeated field, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _node(data: memoryview) -> TensorflowNode:
    name = op = ""
    inputs: list[str] = []
    attributes: dict[str, memoryview] = {}
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            op = _text(value)
        elif number == 3:
            reference = _text(value)
            if not reference.startswith("^"):
                inputs.append(reference.removesuffix(":0"))
        elif number == 5:
            entry = dict(_fields(_view(value)))
            attributes[_text(entry[1])] = _view(entry.get(2, memoryview(b"")))
    return TensorflowNode(name, op, tuple(inputs), attributes)


def _tensor(data: memoryview) -> Array | None:
    dtype: type[np.generic] | None = None
    shape: list[int] = []
    content = memoryview(b"")
    values: list[float] = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            dtype = _DTYPES.get(value)
        elif number == 2:
            shape = [_dimension(_view(dim)) for n, dim in _fields(_view(value)) if n == 2]
        elif number == 4:
            content = _view(value)
        elif number == 5:
            values += np.frombuffer(_view(value), "<f4").tolist()
        elif number in (7, 10, 11):
            values += _integers(value)
    if dtype is None:
        return None
    if len(content):
        return np.frombuffer(content, dtype).reshape(shape)
    # TensorFlow stores a tensor of equal values as one value.
    if len(values) == 1:
        return np.full(shape, values[0], dtype)
    return np.array(values, dtype).reshape(shape)


def _dimension(data: memoryview) -> int:
    return next((value for n, value in _fields(data) if n == 1 and isinstance(value, int)), 0)
