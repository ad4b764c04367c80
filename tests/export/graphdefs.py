"""Encodes TensorFlow GraphDefs for the tests of their reader, after protobuf's wire format."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10}


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute(name: str, value: bytes) -> bytes:
    """An attribute of a node; ``value`` is an encoded AttrValue."""
    return field(5, field(1, name.encode()) + field(2, value))


def node(name: str, op: str, inputs: Iterable[str] = (), attributes: bytes = b"") -> bytes:
    """One node as it stands in a GraphDef; graphs are such bytes one after another."""
    body = field(1, name.encode()) + field(2, op.encode())
    body += b"".join(field(3, source.encode()) for source in inputs)
    return field(1, body + attributes)


def shaped(*shape: int) -> bytes:
    return field(2, b"".join(field(2, field(1, size)) for size in shape))


def constant(name: str, array: np.ndarray) -> bytes:
    tensor = field(1, _TYPES[array.dtype.name]) + shaped(*array.shape) + field(4, array.tobytes())
    return node(name, "Const", (), attribute("value", field(8, tensor)))


def convolution(
    name: str, op: str, source: str, weights: str, stride: int, padding: str = "SAME"
) -> bytes:
    strides = field(1, field(3, b"".join(map(varint, (1, stride, stride, 1)))))
    return node(
        name,
        op,
        [source, weights],
        attribute("strides", strides) + attribute("padding", field(2, padding.encode())),
    )
