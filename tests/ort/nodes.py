"""Models of one vinfer node, with inputs and what float64 loops make of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import references
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper

IR_VERSION, OPSET = 9, 17  # what ONNX Runtime 1.17 reads

TYPES: dict[str, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
}
Shape = list[int | str | None] | None


def node_model(
    op: str,
    inputs: dict[str, tuple[str, Shape]],
    output: tuple[str, Shape],
    **attributes: Any,
) -> onnx.ModelProto:
    """`inputs` and `output` are of (dtype, shape); None is a shape that the file doesn't tell."""
    attributes = {"plugin_namespace": "vinfer", "plugin_version": "1", **attributes}
    graph = helper.make_graph(
        [
            helper.make_node(
                op, list(inputs), ["Y"], name=f"the_{op}", domain="vinfer", **attributes
            )
        ],
        "graph",
        [
            helper.make_tensor_value_info(name, TYPES[dtype], shape)
            for name, (dtype, shape) in inputs.items()
        ],
        [helper.make_tensor_value_info("Y", TYPES[output[0]], output[1])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("vinfer", 1)]
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets)


def roi_align_model(
    dtype: str = "float32",
    features: Shape = ("N", "C", "H", "W"),  # type: ignore[assignment]
    boxes: Shape = ("R", 4),  # type: ignore[assignment]
    batch_indices: Shape = ("R",),  # type: ignore[assignment]
    output: Shape = None,
    **attributes: Any,
) -> onnx.ModelProto:
    inputs = {
        "X": (dtype, features),
        "boxes": ("float32", boxes),
        "batch_indices": ("int64", batch_indices),
    }
    return node_model("RoiAlign", inputs, (dtype, output), **attributes)


def positional_maps_model(**attributes: Any) -> onnx.ModelProto:
    inputs: dict[str, tuple[str, Shape]] = {
        "boxes": ("float32", ["R", 4]),
        "reference": ("float32", ["R", 4]),
    }
    return node_model("PositionalMaps", inputs, ("float32", None), **attributes)


def weldon_pool_model(dtype: str = "float32", **attributes: Any) -> onnx.ModelProto:
    return node_model(
        "WeldonPool", {"X": (dtype, ["N", "C", "H", "W"])}, (dtype, None), **attributes
    )


def letterbox_model(**attributes: Any) -> onnx.ModelProto:
    return node_model(
        "Letterbox", {"image": ("uint8", ["H", "W", 3])}, ("float32", None), **attributes
    )


@dataclass
class Case:
    """One model, what goes in and what must come out."""

    model: onnx.ModelProto
    inputs: dict[str, NDArray[Any]]
    expected: NDArray[np.float64]
    tolerance: float
    output_shape: list[int | str]
    dtype: str = "float32"
    op: str = field(init=False)

    def __post_init__(self) -> None:
        self.op = self.model.graph.node[0].op_type

    def check(self, found: NDArray[Any]) -> None:
        assert found.dtype == self.dtype
        assert found.shape == self.expected.shape
        scale = max(1.0, float(np.abs(self.expected).max(initial=0.0)))
        np.testing.assert_allclose(found, self.expected, rtol=0, atol=self.tolerance * scale)


def roi_inputs(
    dtype: DTypeLike = np.float32,
    shape: tuple[int, int, int, int] = (3, 5, 9, 11),
    num_boxes: int = 7,
    seed: int = 0,
) -> dict[str, NDArray[Any]]:
    """Boxes inside, across the border, outside, and without area, on a picture of stride 4."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, 50, (num_boxes, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 40, (num_boxes, 2))], axis=1)
    if num_boxes:
        boxes[-1, 2:] = boxes[-1, :2]
    return {
        "X": rng.standard_normal(shape).astype(dtype),
        "boxes": boxes.astype(np.float32),
        "batch_indices": rng.integers(0, shape[0], num_boxes),
    }


def roi_align_case(dtype: str = "float32", num_boxes: int = 7, **attributes: Any) -> Case:
    inputs = roi_inputs(dtype, num_boxes=num_boxes)
    size = attributes.get("output_height", 1), attributes.get("output_width", 1)
    expected = references.roi_align(
        inputs["X"],
        inputs["boxes"],
        inputs["batch_indices"],
        size,
        attributes.get("spatial_scale", 1.0),
        attributes.get("sampling_ratio", 0),
        attributes.get("coordinate_transformation_mode", "half_pixel") == "half_pixel",
    )
    model = roi_align_model(dtype, **attributes)
    tolerance = 1e-5 if dtype == "float32" else 2e-3
    return Case(model, inputs, expected, tolerance, ["R", "C", *size], dtype)


def positional_maps_case(num_boxes: int = 6, **attributes: Any) -> Case:
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 50, (num_boxes, 2))
    reference = np.concatenate([low, low + rng.uniform(20, 60, (num_boxes, 2))], axis=1)
    inside = np.sort(rng.uniform(0, 1, (num_boxes, 2, 2)), axis=1)
    extent = (reference[:, 2:] - reference[:, :2])[:, None]
    boxes = (reference[:, None, :2] + inside * extent).reshape(num_boxes, 4)
    inputs = {"boxes": boxes.astype(np.float32), "reference": reference.astype(np.float32)}
    size = attributes.get("height", 7), attributes.get("width", 7)
    expected = references.positional_maps(inputs["boxes"], inputs["reference"], size)
    return Case(positional_maps_model(**attributes), inputs, expected, 2e-6, ["R", 2, *size])


def weldon_pool_case(
    dtype: str = "float32", shape: tuple[int, int, int, int] = (2, 5, 6, 7), **attributes: Any
) -> Case:
    features = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    k_max, k_min = attributes.get("k_max", 16), attributes.get("k_min", 16)
    alpha = float(np.float32(attributes.get("alpha", 1.0)))
    maps = features.reshape(-1, shape[2] * shape[3])
    pooled = [references.weldon_pool(values.tolist(), k_max, k_min, alpha)[0] for values in maps]
    expected = np.array(pooled, np.float64).reshape(shape[:2])
    model = weldon_pool_model(dtype, **attributes)
    tolerance = 1e-6 if dtype == "float32" else 2e-3
    return Case(model, {"X": features}, expected, tolerance, ["N", "C"], dtype)


def letterbox_case(source: tuple[int, int] = (33, 47), **attributes: Any) -> Case:
    image = np.random.default_rng(3).integers(0, 256, (*source, 3), dtype=np.uint8)
    height, width = attributes["height"], attributes["width"]
    inner = [height, width]
    if attributes.get("mode", "pad") == "pad":
        scale = min(Fraction(height, source[0]), Fraction(width, source[1]))
        half = Fraction(attributes.get("rounding", "nearest") == "nearest", 2)
        inner = [max(1, math.floor(side * scale + half)) for side in source]
    centred = attributes.get("align", "center") == "center"
    top = (height - inner[0]) // 2 if centred else 0
    left = (width - inner[1]) // 2 if centred else 0
    canvas = np.full((height, width, 3), attributes.get("pad_value", 114.0))
    resized = references.resize(image, *inner)
    if attributes.get("swap_channels", 0):
        resized = resized[..., ::-1]
    canvas[top : top + inner[0], left : left + inner[1]] = resized
    mean = np.float32(attributes.get("mean", [0.0] * 3)).astype(np.float64)
    std = np.float32(attributes.get("std", [1.0] * 3)).astype(np.float64)
    expected = (canvas - mean) / std
    shape: list[int | str] = [height, width, 3]
    if attributes.get("layout", "chw") == "chw":
        expected, shape = expected.transpose(2, 0, 1), [3, height, width]
    return Case(letterbox_model(**attributes), {"image": image}, expected, 1e-4, shape)


IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}

CASES = {
    "roi_align": roi_align_case(),
    "roi_align adaptive": roi_align_case(output_height=3, output_width=2, spatial_scale=0.25),
    "roi_align fixed": roi_align_case(
        output_height=4, output_width=4, sampling_ratio=2, spatial_scale=0.25
    ),
    "roi_align not aligned": roi_align_case(
        output_height=2,
        output_width=3,
        spatial_scale=0.25,
        coordinate_transformation_mode="output_half_pixel",
    ),
    "roi_align float16": roi_align_case(
        "float16", output_height=3, output_width=3, sampling_ratio=2, spatial_scale=0.25
    ),
    "roi_align no boxes": roi_align_case(num_boxes=0, output_height=7, output_width=7),
    "positional_maps": positional_maps_case(),
    "positional_maps oblong": positional_maps_case(height=3, width=14),
    "positional_maps no boxes": positional_maps_case(num_boxes=0),
    "weldon_pool": weldon_pool_case(),
    "weldon_pool weighted": weldon_pool_case(k_max=3, k_min=5, alpha=0.7),
    "weldon_pool highest only": weldon_pool_case(k_max=4, k_min=0),
    "weldon_pool more than there are": weldon_pool_case(k_max=1000, k_min=1000),
    "weldon_pool float16": weldon_pool_case("float16", k_max=5, k_min=3),
    "weldon_pool no images": weldon_pool_case(shape=(0, 4, 3, 3)),
    "letterbox": letterbox_case(height=24, width=24),
    "letterbox normalised": letterbox_case(height=20, width=40, **IMAGENET),
    "letterbox stretched": letterbox_case(height=21, width=13, mode="stretch", layout="hwc"),
    "letterbox top left": letterbox_case(
        height=31, width=17, align="top_left", rounding="floor", pad_value=0.0, swap_channels=1
    ),
}
