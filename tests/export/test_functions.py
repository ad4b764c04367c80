"""The bodies of nodes against the kernels, and how they get into a model."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vinfer import ops
from vinfer.errors import InputError
from vinfer.export import attach_functions

Arrays = dict[str, NDArray[Any]]
TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.bool_): TensorProto.BOOL,
}
OPSETS = [16, 17, 18, 19, 20, 21]
RANKS = {"Letterbox": 3, "PositionalMaps": 4, "RoiAlign": 4, "WeldonPool": 2}
RNG = np.random.default_rng(0)


def model_of(
    nodes: list[onnx.NodeProto], inputs: Arrays, output_dtype: Any = np.float32, opset: int = 18
) -> onnx.ModelProto:
    """All sizes are left open, so that one model takes all. The first node tells the rank."""
    rank = RANKS.get(nodes[0].op_type, 2)
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(name, TYPES[array.dtype], [None] * array.ndim)
            for name, array in inputs.items()
        ],
        [helper.make_tensor_value_info("Y", TYPES[np.dtype(output_dtype)], [None] * rank)],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("vinfer", 1)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets)


def node(op: str, inputs: list[str], output: str = "Y", **attributes: Any) -> onnx.NodeProto:
    name = f"my_{op}" if output == "Y" else f"my_{op}_{output}"
    return helper.make_node(op, inputs, [output], name=name, domain="vinfer", **attributes)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(op: str, inputs: Arrays, opset: int = 18, **attributes: Any) -> NDArray[Any]:
    """The body, by a plain ONNX Runtime."""
    dtype = inputs["X"].dtype if "X" in inputs else np.float32
    model = model_of([node(op, list(inputs), **attributes)], inputs, dtype, opset)
    found: NDArray[Any] = session_of(attach_functions(model)).run(None, inputs)[0]
    return found


# ---- values ----


def roi_inputs(dtype: Any = np.float32, num_boxes: int = 40) -> Arrays:
    corners = RNG.uniform(-10, 50, (num_boxes, 2))
    boxes = np.concatenate([corners, corners + RNG.uniform(0, 40, (num_boxes, 2))], axis=1)
    boxes[::5, 2:] = boxes[::5, :2]  # without area
    return {
        "X": RNG.standard_normal((3, 4, 13, 11)).astype(dtype),
        "boxes": boxes.astype(np.float32),
        "batch_indices": RNG.integers(0, 3, num_boxes),
    }


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align(opset: int, dtype: Any, aligned: bool, sampling_ratio: int) -> None:
    inputs = roi_inputs(dtype)
    expected = ops.roi_align(*inputs.values(), (3, 2), 0.25, sampling_ratio, aligned)
    found = run(
        "RoiAlign",
        inputs,
        opset,
        output_height=3,
        output_width=2,
        sampling_ratio=sampling_ratio,
        spatial_scale=0.25,
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
    )
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == np.float32 else 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(inputs["X"]).max())


def boxes_at_the_edges() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    boxes = RNG.uniform(-100, 100, (60, 4)).astype(np.float32)
    reference = np.concatenate([boxes[:, :2] - 3, boxes[:, :2] + RNG.uniform(0, 200, (60, 2))], 1)
    reference = reference.astype(np.float32)
    odd = [np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, 1e-6, 1e-7, 1e-45]
    for row, (value, column) in enumerate(itertools.product(odd, range(4))):
        (boxes if row % 2 else reference)[row, column] = value
    reference[40] = [1, 1, 1, 1 + 1e-6]
    reference[41] = [0, 0, 1e-6, np.nextafter(np.float32(1e-6), np.float32(0))]
    boxes[42] = [5, 5, 5, 5]
    return boxes, reference


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("size", [(7, 7), (3, 14), (1, 1)])
def test_positional_maps_are_the_same_bits(opset: int, size: tuple[int, int]) -> None:
    boxes, reference = boxes_at_the_edges()
    inputs: Arrays = {"boxes": boxes, "reference": reference}
    found = run("PositionalMaps", inputs, opset, height=size[0], width=size[1])
    expected = ops.positional_maps(boxes, reference, size)
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("k_max", "k_min", "alpha"),
    [(16, 16, 1.0), (5, 3, 0.7), (1000, 1000, -2.0), (4, 0, 1.0), (4, 7, 0.0)],
)
def test_weldon_pool(opset: int, dtype: Any, k_max: int, k_min: int, alpha: float) -> None:
    x = RNG.standard_normal((3, 5, 6, 7)).astype(dtype)
    expected = ops.weldon_pool(x, k_max, k_min, float(np.float32(alpha)))
    found = run("WeldonPool", {"X": x}, opset, k_max=k_max, k_min=k_min, alpha=alpha)
    assert found.dtype == dtype
    # Of the mean magnitude: the two terms may cancel.
    tolerance = 1e-6 if dtype == np.float32 else 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * (1 + abs(alpha)))


def test_weldon_pool_at_the_edges() -> None:
    x = np.zeros((1, 6, 2, 3), np.float32)
    x[0, 1, 0, 1] = np.nan
    x[0, 2, 1, 2] = np.inf
    x[0, 3, 0, 0] = -np.inf
    x[0, 4, 0] = [np.inf, -np.inf, 1]
    for alpha in (1.0, 0.0):
        expected = ops.weldon_pool(x, 2, 2, alpha)
        found = run("WeldonPool", {"X": x}, k_max=2, k_min=2, alpha=alpha)
        np.testing.assert_array_equal(found, expected, strict=True)


SOURCES = [(37, 53), (53, 37), (1, 1), (1, 90), (64, 1), (48, 31), (24, 15), (480, 640)]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("mode", ["pad", "stretch"])
@pytest.mark.parametrize("align", ["center", "top_left"])
@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("rounding", ["nearest", "floor"])
def test_letterbox_is_the_same_bits(
    opset: int, mode: Any, align: Any, layout: Any, rounding: Any
) -> None:
    colors = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "pad_value": 7.3}
    texts = {"mode": mode, "align": align, "layout": layout, "rounding": rounding}
    model = attach_functions(
        model_of(
            [node("Letterbox", ["X"], height=48, width=31, swap_channels=1, **texts, **colors)],
            {"X": np.zeros((1, 1, 3), np.uint8)},
            opset=opset,
        )
    )
    session = session_of(model)
    # Attributes are float32.
    rounded = {name: np.float32(value).tolist() for name, value in colors.items()}
    for height, width in SOURCES:
        image = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected, _ = ops.letterbox(image, (48, 31), swap_channels=True, **texts, **rounded)
        found = session.run(None, {"X": image})[0]
        np.testing.assert_array_equal(found, expected, strict=True)


def test_letterbox_sizes_are_exact_integers() -> None:
    """Sizes where a float scale would be one pixel off, and a picture that rounds to nothing."""
    session = session_of(
        attach_functions(model_of([node("Letterbox", ["X"])], {"X": np.zeros((1, 1, 3), np.uint8)}))
    )
    for height, width in [(1, 2000), (3000, 1), (427, 640), (333, 1999), (111, 999)]:
        image = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected, _ = ops.letterbox(image, 640)
        np.testing.assert_array_equal(session.run(None, {"X": image})[0], expected, strict=True)


@pytest.mark.parametrize(
    ("op", "inputs", "shape"),
    [
        ("RoiAlign", roi_inputs(num_boxes=0), (0, 4, 1, 1)),
        (
            "PositionalMaps",
            dict.fromkeys(["boxes", "reference"], np.zeros((0, 4), np.float32)),
            (0, 2, 7, 7),
        ),
        ("WeldonPool", {"X": np.zeros((0, 3, 2, 2), np.float32)}, (0, 3)),
        ("WeldonPool", {"X": np.zeros((2, 0, 2, 2), np.float32)}, (2, 0)),
    ],
)
def test_nothing_gives_nothing(op: str, inputs: Arrays, shape: tuple[int, ...]) -> None:
    assert run(op, inputs).shape == shape


# ---- attaching ----

X: Arrays = {"X": np.zeros((1, 2, 3, 3), np.float32)}


def weldon_model(opset: int = 18, **attributes: Any) -> onnx.ModelProto:
    return model_of([node("WeldonPool", ["X"], **attributes)], X, opset=opset)


def test_twice_is_once() -> None:
    given = weldon_model(k_max=3)
    before = given.SerializeToString()
    once = attach_functions(given)
    assert attach_functions(once) == once
    assert given.SerializeToString() == before, "the argument was changed"


def test_what_is_added() -> None:
    given = weldon_model(k_max=3)
    del given.opset_import[1]
    attached = attach_functions(given)
    assert attached.ir_version == 9
    assert {entry.domain: entry.version for entry in attached.opset_import} == {"": 18, "vinfer": 1}
    (function,) = attached.functions
    assert (function.domain, function.name) == ("vinfer", "WeldonPool")
    attributes = {a.name: helper.get_attribute_value(a) for a in attached.graph.node[0].attribute}
    assert attributes == {"k_max": 3, "plugin_namespace": b"vinfer", "plugin_version": b"1"}


def test_model_without_our_nodes_stays() -> None:
    relu = helper.make_node("Relu", ["X"], ["Y"])
    given = model_of([relu], X)
    given.ir_version = 9
    assert attach_functions(given) == given


def test_newer_opset_keeps_its_ir_version() -> None:
    assert attach_functions(weldon_model(21)).ir_version == 10


def test_old_body_is_replaced() -> None:
    given = attach_functions(weldon_model())
    del given.functions[0].node[3:]
    assert attach_functions(given) == attach_functions(weldon_model())


def test_nodes_of_one_op_may_differ() -> None:
    image = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    model = model_of(
        [
            node("Letterbox", ["X"], "padded", height=16, width=16),
            node("Letterbox", ["X"], "filled", height=16, width=16, mode="stretch"),
            helper.make_node("Concat", ["padded", "filled"], ["Y"], axis=0),
        ],
        {"X": image},
    )
    found = session_of(attach_functions(model)).run(None, {"X": image})[0]
    expected = [ops.letterbox(image, 16, mode)[0] for mode in ("pad", "stretch")]  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, np.concatenate(expected))


def test_nodes_in_subgraphs_and_functions() -> None:
    def branch(k_max: int) -> onnx.GraphProto:
        inner = node("WeldonPool", ["X"], "inner", k_max=k_max, k_min=0)
        info = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [None, None])
        return helper.make_graph([inner], "branch", [], [info])

    choose = helper.make_node(
        "If", ["choice"], ["chosen"], then_branch=branch(1), else_branch=branch(4)
    )
    called = helper.make_node("Twice", ["chosen"], ["Y"], domain="other")
    pool = node("WeldonPool", ["four"], "pooled", k_max=1, k_min=1)
    twice = helper.make_function(
        "other",
        "Twice",
        ["x"],
        ["y"],
        [
            helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]),
            helper.make_node("Unsqueeze", ["x", "axes"], ["four"]),
            pool,
            helper.make_node("Identity", ["pooled"], ["y"]),
        ],
        [helper.make_opsetid("", 18), helper.make_opsetid("vinfer", 1)],
    )
    x = RNG.standard_normal((1, 2, 3, 3)).astype(np.float32)
    inputs: Arrays = {"X": x, "choice": np.array(True)}
    model = model_of([choose, called], inputs)
    model.opset_import.append(helper.make_opsetid("other", 1))
    model.functions.append(twice)
    session = session_of(attach_functions(model))
    for choice, k_max in [(True, 1), (False, 4)]:
        found = session.run(None, {"X": x, "choice": np.array(choice)})[0]
        np.testing.assert_allclose(found, 2 * ops.weldon_pool(x, k_max, 0), rtol=1e-6)


def refused(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attach_functions(model)


def test_refusals() -> None:
    refused(weldon_model(15), "found opset 15, expected 16 or later")
    old = weldon_model()
    old.ir_version = 7
    refused(old, "found IR version 7, expected 8 or later")
    refused(model_of([node("MaxPool", ["X"])], X), "vinfer::MaxPool, expected one of Letterbox")
    refused(weldon_model(kmax=3), "kmax is no attribute; expected some of k_max, k_min, alpha")
    refused(weldon_model(k_max=0), 'WeldonPool "my_WeldonPool": k_max: found 0, expected at least')
    refused(weldon_model(alpha=1), "alpha: found type INT, expected FLOAT")
    image: Arrays = {"X": np.zeros((1, 1, 3), np.uint8)}
    unknown = model_of([node("Letterbox", ["X"], mode="crop")], image)
    refused(unknown, 'mode: found "crop", expected "pad" or "stretch"')
    two = model_of([node("Letterbox", ["X"], mean=[1.0, 2.0])], image)
    refused(two, "mean: found 2 numbers, expected three")
    newest = model_of([node("RoiAlign", list(roi_inputs()))], roi_inputs(), opset=22)
    refused(newest, "opset 22, expected at most 21")
