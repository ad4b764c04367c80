"""ONNX's own semantics of RoiAlign-16 in average mode, in both coordinate modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vinfer import ops

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra `export`)")

ALIGNED = {"half_pixel": True, "output_half_pixel": False}


def pool(node: Any, features: Any, boxes: Any, images: Any) -> Any:
    """What `vinfer.ops` makes of a RoiAlign node's inputs and attributes."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    assert attributes.get("mode", b"avg") == b"avg"
    return ops.roi_align(
        features,
        boxes,
        images,
        (attributes["output_height"], attributes["output_width"]),
        attributes["spatial_scale"],
        attributes["sampling_ratio"],
        ALIGNED[attributes["coordinate_transformation_mode"].decode()],
    )


@pytest.mark.parametrize("name", ["test_roialign_aligned_true", "test_roialign_aligned_false"])
def test_published_values(name: str) -> None:
    """The data of the standard's node tests: features and results printed there to four digits."""
    node_cases = pytest.importorskip("onnx.backend.test.case.node")
    pytest.importorskip("onnx.backend.test.case.node.roialign")  # adds its cases to the list
    (case,) = (case for case in node_cases._NodeTestCases if case.name == name)
    ((inputs, (expected,)),) = case.data_sets
    pooled = pool(case.model.graph.node[0], *inputs)
    assert pooled.shape == expected.shape
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-4)


def boxes_over_every_edge(rng: np.random.Generator, count: int, height: int, width: int) -> Any:
    """On a grid of quarter pixels, so that samples lie on pixels, between, and on the borders."""
    corners = rng.integers(-8, (4 * width + 8, 4 * height + 8), (count, 2, 2)) / 4
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    boxes[0] = [-1, -1, width, height]
    boxes[1] = [width, height, width + 5, height + 5]
    boxes[2, 2:] = boxes[2, :2]  # without area
    boxes[3] = boxes[3, [2, 3, 0, 1]]  # inverted
    return boxes.astype(np.float32)


@pytest.mark.parametrize("mode", ALIGNED)
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 7)])
def test_agrees_with_the_reference_evaluator(
    size: tuple[int, int], sampling_ratio: int, mode: str
) -> None:
    """The standard's Python evaluator, which computes positions in float32, as runtimes do.

    It has no rule for coordinates that are not finite (it fails) and no limit for boxes far outside
    the map (it takes for ever), so neither is asked of it.
    """
    reference = pytest.importorskip("onnx.reference")
    node = onnx.helper.make_node(
        "RoiAlign",
        ["features", "boxes", "images"],
        ["pooled"],
        output_height=size[0],
        output_width=size[1],
        sampling_ratio=sampling_ratio,
        spatial_scale=0.5,
        coordinate_transformation_mode=mode,
    )
    rng = np.random.default_rng(28)
    features = rng.standard_normal((2, 2, 6, 9)).astype(np.float32)
    boxes = boxes_over_every_edge(rng, 40, 12, 18)
    images = rng.integers(0, 2, 40)
    evaluator = reference.ReferenceEvaluator(node)
    (expected,) = evaluator.run(None, {"features": features, "boxes": boxes, "images": images})
    pooled = pool(node, features, boxes, images)
    assert np.abs(pooled - expected).max() <= 1e-5 * np.abs(features).max()
    assert (expected == 0).any() or sampling_ratio > 0
