"""The reader of TensorFlow's wire format, on messages encoded here."""

import numpy as np
import pytest
from graphdefs import attribute, constant, field, node, shaped, varint

from vinfer.errors import BundleError
from vinfer.export.tensorflow_graph import Constants, read_graph


def test_nodes_inputs_and_attributes() -> None:
    data = node("x", "Placeholder") + node(
        "conv",
        "Conv2D",
        ["x:0", "^control", "split:1"],
        attribute("padding", field(2, b"SAME"))
        + attribute("strides", field(1, field(3, varint(1) + varint(2) + varint(2))))
        + attribute("dilations", field(1, field(3, 1) + field(3, 3))),
    )
    graph = read_graph(data)
    assert list(graph) == ["x", "conv"]
    conv = graph["conv"]
    assert conv.op == "Conv2D"
    assert conv.inputs == ("x", "split:1")
    assert conv.text("padding") == "SAME"
    assert conv.integers("strides") == (1, 2, 2)
    assert (conv.text("missing"), conv.integers("missing"), conv.value()) == ("", (), None)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array([[1.5, -2.5]], np.float64),
        np.array([-1, 2**31 - 1], np.int32),
        np.array([-(2**60), 5], np.int64),
        np.array([1, 0], np.bool_),
        np.array(7.0, np.float32),
    ],
)
def test_tensors_stored_as_bytes(array: np.ndarray) -> None:
    value = read_graph(constant("c", array))["c"].value()
    np.testing.assert_array_equal(value, array)
    assert value.dtype == array.dtype


def test_tensors_stored_as_lists() -> None:
    floats = field(1, 1) + shaped(3) + field(5, np.float32([1, 2, 3]).tobytes())
    ints = field(1, 3) + shaped(2) + field(7, varint(2**64 - 5) + varint(4))
    repeated = field(1, 1) + shaped(2, 2) + field(5, np.float32([0.5]).tobytes())
    text = field(1, 7) + field(8, b"words")
    values = [
        read_graph(node("c", "Const", (), attribute("value", field(8, tensor))))["c"].value()
        for tensor in (floats, ints, repeated, text)
    ]
    np.testing.assert_array_equal(values[0], [1, 2, 3])
    np.testing.assert_array_equal(values[1], [-5, 4])
    np.testing.assert_array_equal(values[2], [[0.5, 0.5], [0.5, 0.5]])
    assert values[3] is None


def test_constants_are_evaluated_through_arithmetic_and_stop_at_inputs() -> None:
    data = (
        node("x", "Placeholder")
        + constant("variance", np.float32([4, 16]))
        + constant("gamma", np.float32([2, 3]))
        + node("read", "Identity", ["variance"])
        + node("rsqrt", "Rsqrt", ["read"])
        + node("scale", "Mul", ["rsqrt", "gamma"])
        + node("shift", "Sub", ["gamma", "scale"])
        + node("sum", "Add", ["x", "gamma"])
    )
    constants = Constants(read_graph(data))
    np.testing.assert_array_equal(constants.value("scale"), [1, 0.75])
    np.testing.assert_array_equal(constants.value("shift"), [1, 2.25])
    assert constants.value("scale").dtype == np.float64
    assert constants.value("sum") is None


SOUND = constant("c", np.zeros(4, np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SOUND[:-3], "cut short"),
        (SOUND[:1], "not a TensorFlow GraphDef"),
        (b"\xff" * 30, "longer than 64 bits"),
        (b"\x0b" + SOUND, "wire type 3"),
        (field(1, 5), "an integer where a message or text belongs"),
        (field(1, field(1, b"\xff\xfe")), "not a TensorFlow GraphDef"),
        (b"", "without nodes"),
        (b"PK\x03\x04 this is not a graph", "not a TensorFlow GraphDef"),
    ],
)
def test_what_is_not_a_graph_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_graph(data)
