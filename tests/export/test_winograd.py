"""Convolutions of small maps by Winograd's minimal filtering: the same numbers, fewer products."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import vinfer
from vinfer.backends import Backend, SessionOptions, load
from vinfer.export import use_winograd, winograd
from vinfer.export.quantization import quantize_int8
from vinfer.export.rounding import emulate_bfloat16, store_float16
from vinfer.export.winograd import (
    MIN_CHANNELS,
    input_transform,
    kernel_transform,
    output_transform,
    plain_convolutions,
)

SIZE = (7, 7)


def convolution(
    channels: int = MIN_CHANNELS,
    filters: int = MIN_CHANNELS,
    size: tuple[int | str, int | str] = SIZE,
    *,
    bias: bool = True,
    kernel: int = 3,
    group: int = 1,
    opset: int = 17,
    **attributes: Any,
) -> onnx.ModelProto:
    """ReLU, one convolution, ReLU."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((filters, channels // group, kernel, kernel))
    weights = {"w": weight / np.sqrt(weight[0].size)}
    if bias:
        weights["b"] = rng.standard_normal(filters)
    attributes = {"pads": [1] * 4, "group": group, **attributes}
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"]),
        helper.make_node("Conv", ["positive", *weights], ["sums"], "conv", **attributes),
        helper.make_node("Relu", ["sums"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(array.astype(np.float32), n) for n, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, ir_version=9, opset_imports=opsets)


def maps(number: int, channels: int = MIN_CHANNELS, size: tuple[int, int] = SIZE) -> NDArray[Any]:
    return np.random.default_rng(1).standard_normal((number, channels, *size)).astype(np.float32)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto, x: NDArray[Any], *, library: bool = False) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    if library:
        options.register_custom_ops_library(str(vinfer.ort_library_path()))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: NDArray[Any] = session.run(None, {"x": x})[0]
    return found


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (5, 9), (7, 7), (8, 6), (14, 16)])
def test_the_transforms_make_a_convolution(size: tuple[int, int]) -> None:
    height, width = size
    rng = np.random.default_rng(0)
    picture, kernel = rng.standard_normal(size), rng.standard_normal((3, 3))
    points = kernel_transform() @ kernel.ravel()
    data = (input_transform(height, width) @ picture.ravel()).reshape(36, -1)
    found = output_transform(height, width) @ (data * points[:, None]).ravel()
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(picture, 1), (3, 3))
    expected = np.einsum("yxij,ij->yx", windows, kernel)
    np.testing.assert_allclose(found.reshape(size), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("library", [False, True])
@pytest.mark.parametrize("size", [(1, 2), (7, 7), (10, 5)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_the_same_numbers(number: int, bias: bool, size: tuple[int, int], library: bool) -> None:
    given = convolution(filters=MIN_CHANNELS + 3, size=size, bias=bias)
    rewritten = use_winograd(given)
    onnx.checker.check_model(rewritten, full_check=True)
    assert operators(rewritten) == ["Relu", "WinogradConv", "Relu"]
    x = maps(number, size=size)
    expected = run(given, x)
    assert expected.shape == (number, MIN_CHANNELS + 3, *size)
    np.testing.assert_allclose(run(rewritten, x, library=library), expected, rtol=0, atol=1e-5)


def test_results_are_nearer_than_with_the_usual_points(monkeypatch: pytest.MonkeyPatch) -> None:
    given, x = convolution(), maps(4)
    weight, bias = (numpy_helper.to_array(t).astype(np.float64) for t in given.graph.initializer)
    padded = np.pad(np.maximum(x, 0).astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    sums = np.einsum("ncyxij,kcij->nkyx", windows, weight, optimize=True)
    expected = np.maximum(sums + bias[:, None, None], 0)
    ours = np.abs(run(use_winograd(given), x) - expected)
    monkeypatch.setattr(winograd, "_POINTS", (0.0, 1.0, -1.0, 2.0, -2.0))
    usual = np.abs(run(use_winograd(given), x) - expected)
    assert 1.2 * ours.mean() < usual.mean()
    assert 2 * ours.max() < usual.max()


@pytest.mark.parametrize("opset", [16, 17, 18, 20, 21])
def test_every_opset(opset: int) -> None:
    given = convolution(opset=opset)
    x = maps(2)
    np.testing.assert_allclose(run(use_winograd(given), x), run(given, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_backend(backend: Backend) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed (extra `openvino`)")
    given = convolution()
    options = SessionOptions(provider="cpu", backend=backend)
    session = load(use_winograd(given).SerializeToString(), options)
    x = maps(3)
    found = session.run({"x": x})["y"]
    session.close()
    np.testing.assert_allclose(found, run(given, x), rtol=0, atol=1e-5)


def test_the_same_bits_on_one_and_two_threads() -> None:
    graph, x = use_winograd(convolution()).SerializeToString(), maps(9)
    found = []
    for threads in (1, 2):
        session = load(graph, SessionOptions(provider="cpu", threads=threads))
        found.append(session.run({"x": x})["y"])
        session.close()
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(convolution(channels=MIN_CHANNELS - 1), id="few channels"),
        pytest.param(convolution(filters=MIN_CHANNELS - 1), id="few filters"),
        pytest.param(convolution(size=(17, 7)), id="large map"),
        pytest.param(convolution(size=("height", 7)), id="free size"),
        pytest.param(convolution(strides=[2, 2]), id="stride"),
        pytest.param(convolution(dilations=[2, 2], pads=[2] * 4), id="dilation"),
        pytest.param(convolution(pads=[0] * 4), id="no padding"),
        pytest.param(convolution(pads=[1, 1, 1, 0]), id="padding on one side"),
        pytest.param(convolution(channels=2 * MIN_CHANNELS, group=2), id="groups"),
        pytest.param(convolution(kernel=5, pads=[2] * 4), id="kernel"),
    ],
)
def test_other_convolutions_stay(model: onnx.ModelProto) -> None:
    assert use_winograd(model) == model


def test_a_convolution_of_the_input() -> None:
    given = convolution()
    given.graph.node[1].input[0] = "x"
    del given.graph.node[0]
    rewritten = use_winograd(given)
    assert operators(rewritten) == ["WinogradConv", "Relu"]
    x = maps(2)
    np.testing.assert_allclose(run(rewritten, x), run(given, x), rtol=0, atol=1e-5)


def test_float16_stays() -> None:
    model = convolution()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    assert use_winograd(model) == model


def test_padding_that_follows_from_the_size_stays() -> None:
    model = convolution()
    (conv,) = (node for node in model.graph.node if node.op_type == "Conv")
    kept = [attribute for attribute in conv.attribute if attribute.name != "pads"]
    del conv.attribute[:]
    conv.attribute.extend([*kept, helper.make_attribute("auto_pad", "SAME_UPPER")])
    assert use_winograd(model) == model


def test_a_kernel_that_is_computed_stays() -> None:
    model = convolution()
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "w")
    weight.name = "half"
    model.graph.node.insert(0, helper.make_node("Add", ["half", "half"], ["w"]))
    assert use_winograd(model) == model


def test_the_file_is_no_larger_and_the_argument_is_not_changed() -> None:
    given = convolution()
    before = given.SerializeToString()
    rewritten = use_winograd(given)
    assert given.SerializeToString() == before
    transforms = 4 * (2 * 144 * 49 + 36 * 9)
    assert len(rewritten.SerializeToString()) < len(before) + transforms + 10_000
    assert use_winograd(rewritten) == rewritten


@pytest.mark.parametrize("bias", [True, False])
def test_back_to_convolutions(bias: bool) -> None:
    given = convolution(bias=bias)
    plain = plain_convolutions(use_winograd(given))
    assert operators(plain) == ["Relu", "Conv", "Relu"]
    assert not plain.functions
    names = {tensor.name for tensor in plain.graph.initializer}
    assert names == {"w", "b" if bias else f"winograd_no_bias_{MIN_CHANNELS}"}
    x = maps(2)
    np.testing.assert_array_equal(run(plain, x), run(given, x))


def test_int8_quantizes_the_convolutions() -> None:
    given, x = convolution(), maps(4)
    rewritten = use_winograd(given)
    found = [run(quantize_int8(model, [{"x": x}]), x) for model in (given, rewritten)]
    np.testing.assert_array_equal(*found)
    assert not np.array_equal(found[0], run(given, x))


def test_fewer_bits_round_the_kernels() -> None:
    rewritten, x = use_winograd(convolution()), maps(2)
    expected = run(rewritten, x)
    stored = store_float16(rewritten)
    assert len(stored.SerializeToString()) < 0.6 * len(rewritten.SerializeToString())
    for model in (stored, emulate_bfloat16(rewritten)):
        found = run(model, x)
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.05)
        assert not np.array_equal(found, expected)
