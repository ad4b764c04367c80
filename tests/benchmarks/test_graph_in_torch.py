"""The benchmark's PyTorch form of a factored graph gives that graph's numbers."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("PyTorch is not installed (extra `train`)", allow_module_level=True)

import torch

from benchmarks.graph_in_torch import GraphInTorch
from benchmarks.relations import TOLERANCE, feed, make_network
from vinfer.backends import SessionOptions, load


@pytest.mark.parametrize(
    "trunk",
    [
        "slim",
        *(pytest.param(t, marks=pytest.mark.slow) for t in ("resnet18", "efficientnet_lite0")),
    ],
)
def test_it_gives_the_logits_of_the_graph(trunk: str) -> None:
    network, graphs = make_network(trunk)
    session = load(graphs["factored"].SerializeToString(), SessionOptions(provider="cpu"))
    module = GraphInTorch(graphs["factored"]).eval()
    for objects in (2, 4):
        inputs = feed(objects, (96, 128))
        tensors = [torch.from_numpy(array) for array in inputs.values()]
        expected = session.run(inputs)["logits"]
        with torch.inference_mode():
            for found in (module(*tensors), network(*tensors)):
                np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=TOLERANCE)
    session.close()


def test_an_operator_that_it_does_not_know_is_named() -> None:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Tan", ["x"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    with pytest.raises(SystemExit, match=r"Tan: benchmarks/graph_in_torch\.py does not know it"):
        GraphInTorch(helper.make_model(graph))
