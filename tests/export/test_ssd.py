"""The converter, on a small network of random weights with the shape of SSD-MobileNetV2's heads."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from graphdefs import constant, convolution, node

from vinfer.backends import SessionOptions, load
from vinfer.errors import BundleError, MissingDependencyError
from vinfer.export.ssd import convert_ssd
from vinfer.export.ssd_anchors import GRIDS, decode_boxes, make_anchors
from vinfer.export.tensorflow_graph import read_graph

Array = npt.NDArray[np.float64]
CATEGORY_IDS = (1, 3, 90)


@dataclasses.dataclass
class Network:
    """The encoded graph, built beside a float64 evaluation of the same operations."""

    data: bytes
    values: dict[str, Array]


def same_convolution(x: Array, weights: Array, stride: int, *, depthwise: bool) -> Array:
    """TensorFlow's SAME convolution, NHWC, in plain loops over the kernel."""
    n, height, width, _ = x.shape
    kernel = weights.shape[0]
    out_h, out_w = -(-height // stride), -(-width // stride)
    pad = [
        max((out - 1) * stride + kernel - size, 0)
        for out, size in ((out_h, height), (out_w, width))
    ]
    x = np.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pad), (0, 0)))
    total: Array = np.zeros((n, out_h, out_w, weights.shape[2 if depthwise else 3]))
    for i in range(kernel):
        for j in range(kernel):
            patch = x[:, i : i + out_h * stride : stride, j : j + out_w * stride : stride][
                :, :out_h, :out_w
            ]
            total += patch * weights[i, j, :, 0] if depthwise else patch @ weights[i, j]
    return total


@pytest.fixture(scope="module")
def network() -> Network:
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 255, (2, 300, 300, 3)).round()
    data = node("Preprocessor/sub", "Placeholder")
    values: dict[str, Array] = {"picture": picture, "Preprocessor/sub": picture / 127.5 - 1}

    def weights(name: str, shape: tuple[int, ...], spread: float) -> str:
        nonlocal data
        values[name] = rng.normal(0, spread, shape).astype(np.float32).astype(np.float64)
        data += constant(name, values[name].astype(np.float32))
        return name

    def conv(
        name: str, source: str, channels: int, stride: int, kernel: int, op: str = "Conv2D"
    ) -> str:
        nonlocal data
        depthwise = op != "Conv2D"
        in_channels = values[source].shape[3]
        shape = (kernel, kernel, in_channels, 1 if depthwise else channels)
        kernel_name = weights(
            f"{name}/w", shape, 1 / kernel / (1 if depthwise else in_channels**0.5)
        )
        data += convolution(name, op, source, kernel_name, stride)
        values[name] = same_convolution(
            values[source], values[kernel_name], stride, depthwise=depthwise
        )
        return name

    def normalised(name: str, source: str) -> str:
        """Batch normalisation as TensorFlow freezes it, then ReLU6."""
        nonlocal data
        channels = values[source].shape[3]
        scale = weights(f"{name}/scale", (channels,), 1.0)
        shift = weights(f"{name}/shift", (channels,), 1.0)
        data += node(f"{name}/mul", "Mul", [source, scale])
        data += node(f"{name}/add", "Add", [f"{name}/mul", shift])
        data += node(name, "Relu6", [f"{name}/add"])
        values[name] = np.clip(values[source] * values[scale] + values[shift], 0, 6)
        return name

    layer = "Preprocessor/sub"
    for i, channels in enumerate((4, 4, 6, 6)):  # 300, 150, 75, 38, 19
        op = "DepthwiseConv2dNative" if i in (1, 3) else "Conv2D"
        layer = normalised(f"trunk{i}", conv(f"trunk{i}/conv", layer, channels, 2, 3, op))
    data += node("copy", "Identity", [layer])
    values["copy"] = values[layer]
    branch = conv("branch", "copy", 6, 1, 1)
    data += node("residual", "Add", [layer, branch])
    values["residual"] = values[layer] + values[branch]
    source = "residual"
    for i, grid in enumerate(GRIDS):
        if i:
            source = normalised(f"map{i}", conv(f"map{i}/conv", source, 6, 2, 3))
        assert values[source].shape[1] == grid
        for predictor, columns in (("BoxEncodingPredictor", 4), ("ClassPredictor", 91)):
            name = f"BoxPredictor_{i}/{predictor}"
            out = conv(f"{name}/Conv2D", source, (3 if i == 0 else 6) * columns, 1, 1)
            bias = weights(f"{name}/biases", (values[out].shape[3],), 0.3)
            data += node(f"{name}/BiasAdd", "BiasAdd", [out, bias])
            values[f"{name}/BiasAdd"] = values[out] + values[bias]
    return Network(data, values)


def head(network: Network, predictor: str, columns: int) -> Array:
    parts = [
        network.values[f"BoxPredictor_{i}/{predictor}/BiasAdd"].reshape(2, -1, columns)
        for i in range(len(GRIDS))
    ]
    return np.concatenate(parts, 1)


def test_graph_computes_what_tensorflow_would(network: Network) -> None:
    session = load(
        convert_ssd(read_graph(network.data), CATEGORY_IDS, raw=True),
        SessionOptions(provider="cpu", threads=1),
    )
    pictures = network.values["picture"].transpose(0, 3, 1, 2).astype(np.float32)
    found = session.run({"images": np.ascontiguousarray(pictures)})
    codes, logits = head(network, "BoxEncodingPredictor", 4), head(network, "ClassPredictor", 91)
    np.testing.assert_allclose(found["codes"], codes, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-4)
    used = 1 / (1 + np.exp(-logits[:, :, list(CATEGORY_IDS)]))
    np.testing.assert_allclose(found["scores"], used, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["boxes"], decode_boxes(found["codes"]), rtol=1e-4, atol=1e-5)
    alone = session.run({"images": np.ascontiguousarray(pictures[1:])})
    for name, array in alone.items():
        np.testing.assert_allclose(array[0], found[name][1], rtol=1e-5, atol=1e-6)


def test_model_states_its_interface(network: Network) -> None:
    model = onnx.load_from_string(convert_ssd(read_graph(network.data), CATEGORY_IDS))
    assert model.ir_version == 9
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]

    def shape(value: onnx.ValueInfoProto) -> list[int | str]:
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    assert {v.name: shape(v) for v in model.graph.input} == {"images": ["N", 3, 300, 300]}
    assert {v.name: shape(v) for v in model.graph.output} == {
        "boxes": ["N", 1917, 4],
        "scores": ["N", 1917, len(CATEGORY_IDS)],
    }


def test_conversion_is_deterministic(network: Network) -> None:
    graph = read_graph(network.data)
    assert convert_ssd(graph, CATEGORY_IDS) == convert_ssd(graph, CATEGORY_IDS)


def test_other_networks_are_refused(network: Network) -> None:
    graph = read_graph(network.data)
    without = {
        name: n for name, n in graph.items() if name != "BoxPredictor_5/ClassPredictor/BiasAdd"
    }
    with pytest.raises(BundleError, match='"BoxPredictor_5/ClassPredictor/BiasAdd" is missing'):
        convert_ssd(without, CATEGORY_IDS)
    softmax = dict(graph) | {"trunk0": dataclasses.replace(graph["trunk0"], op="Softmax")}
    with pytest.raises(BundleError, match='trunk0: found operation "Softmax"'):
        convert_ssd(softmax, CATEGORY_IDS)
    swapped = dict(graph)
    name = "BoxPredictor_0/ClassPredictor/BiasAdd"
    swapped[name] = graph["BoxPredictor_1/ClassPredictor/BiasAdd"]
    with pytest.raises(
        BundleError, match="found 546 channels on 10x10 cells, expected 273 on 19x19"
    ):
        convert_ssd(swapped, CATEGORY_IDS)
    valid = dict(graph)
    valid["branch"] = dataclasses.replace(graph["branch"], attributes={})
    with pytest.raises(BundleError, match="branch: expected constant weights, SAME padding"):
        convert_ssd(valid, CATEGORY_IDS)


def test_anchors() -> None:
    anchors = make_anchors()
    assert anchors.shape == (1917, 4)
    # First cell of the finest map: 1/19 wide, three shapes; areas are the squares of the scales.
    np.testing.assert_allclose(anchors[:3, :2], 0.5 / 19)
    np.testing.assert_allclose(anchors[:3, 2] * anchors[:3, 3], [0.01, 0.04, 0.04])
    np.testing.assert_allclose(anchors[:3, 3] / anchors[:3, 2], [1, 2, 0.5])
    # The last map is one cell: the middle of the picture.
    np.testing.assert_allclose(anchors[-6:, :2], 0.5)
    np.testing.assert_allclose(anchors[-6, 2:], 0.95)
    np.testing.assert_allclose(anchors[-1, 2:], (0.95 * 1.0) ** 0.5)


def test_zero_codes_give_the_anchors() -> None:
    boxes = decode_boxes(np.zeros((1, 1917, 4)))[0]
    y, x, height, width = make_anchors().T
    expected = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    np.testing.assert_allclose(boxes, expected, atol=1e-12)


def test_codes_move_and_scale_the_anchor() -> None:
    codes = np.zeros((1, 1917, 4))
    codes[0, -6] = [1, -2, 5 * np.log(0.5), 0]  # down by a tenth of .95, left by two, half as high
    x1, y1, x2, y2 = decode_boxes(codes)[0, -6]
    np.testing.assert_allclose([(x1 + x2) / 2, (y1 + y2) / 2], [0.5 - 0.19, 0.5 + 0.095])
    np.testing.assert_allclose([x2 - x1, y2 - y1], [0.95, 0.475])


def test_missing_onnx_names_the_extra(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"vinfer\[export\]"):
        convert_ssd(read_graph(network.data), CATEGORY_IDS)
