"""What `vinfer.export.to_onnx` makes of a PyTorch module, in every supported release."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from runtimes import Runtime

from vinfer import ops
from vinfer.export import to_onnx

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed (extra train)", allow_module_level=True)
if importlib.util.find_spec("onnxscript") is None:
    pytest.skip("onnxscript is not installed (extra train)", allow_module_level=True)

import torch
from torch import Tensor

import vinfer.training.torch_ops  # noqa: F401 (registers the ops)


class RelationHead(torch.nn.Module):
    def forward(self, x: Tensor, boxes: Tensor, batch_indices: Tensor, reference: Tensor) -> Tensor:
        pooled = torch.ops.vinfer.roi_align(x, boxes, batch_indices, [5, 7], 0.25, 2)
        maps = torch.ops.vinfer.positional_maps(boxes, reference, [5, 7])
        scores: Tensor = torch.ops.vinfer.weldon_pool(torch.cat([pooled, maps], 1), 4, 3, 0.7)
        return scores


def inputs_of(height: int, width: int, num_boxes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(num_boxes)
    low = rng.uniform(0, 30, (num_boxes, 2))
    boxes = np.hstack([low, low + rng.uniform(2, 30, (num_boxes, 2))]).astype(np.float32)
    return {
        "x": rng.standard_normal((2, 3, height, width)).astype(np.float32),
        "boxes": boxes,
        "batch_indices": rng.integers(0, 2, num_boxes),
        "reference": boxes + np.float32([-3, -2, 5, 9]),
    }


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    inputs = inputs_of(9, 11, 5)
    free, num_boxes = torch.export.Dim.DYNAMIC, torch.export.Dim("num_boxes")
    return to_onnx(
        RelationHead().eval(),
        tuple(torch.from_numpy(array) for array in inputs.values()),
        input_names=list(inputs),
        output_names=["scores"],
        dynamic_shapes=({2: free, 3: free}, {0: num_boxes}, {0: num_boxes}, {0: num_boxes}),
    )


@pytest.mark.parametrize("kernels", [False, True])
def test_agrees_with_the_kernels_of_vinfer_ops(
    runtime: Runtime, library: Path, model: onnx.ModelProto, kernels: bool
) -> None:
    session, _ = runtime.load(model, library if kernels else None)
    for height, width, num_boxes in ((9, 11, 5), (20, 6, 17), (1, 1, 1), (9, 11, 0)):
        inputs = inputs_of(height, width, num_boxes)
        x, boxes, batch_indices, reference = inputs.values()
        pooled = ops.roi_align(x, boxes, batch_indices, (5, 7), 0.25, 2)
        maps = ops.positional_maps(boxes, reference, (5, 7))
        expected = ops.weldon_pool(np.concatenate([pooled, maps], axis=1), 4, 3, 0.7)
        found = runtime.run(session, inputs)[0]
        assert found.shape == (num_boxes, 5)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
