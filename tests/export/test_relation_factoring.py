"""The factored graph of a relation network: the same logits, less work."""

from __future__ import annotations

import collections
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

import torch

import vinfer
from vinfer.errors import InputError
from vinfer.export import export_relation_network, factor_relations, use_winograd
from vinfer.export.winograd import MIN_CHANNELS, WINOGRAD_CONV
from vinfer.training.relation_network import NetworkConfig, RelationNetwork

CLASSES, PREDICATES = ("a", "b", "c"), ("on", "holds")
SLIM = NetworkConfig(3, 2, trunk="slim", filters=6, features=5, embedding_size=4)
NETWORKS = {
    "all": SLIM,
    "visual": dataclasses.replace(SLIM, coord=False, embedding=False),
    "no visual": dataclasses.replace(SLIM, visual=False),
    "union extent": dataclasses.replace(SLIM, union_extent=96.0),
    "no visual, union extent": dataclasses.replace(SLIM, visual=False, union_extent=64.0),
    "wide": dataclasses.replace(SLIM, filters=MIN_CHANNELS),
    "bilinear": dataclasses.replace(SLIM, embedding_form="bilinear", head="softmax_bg"),
}
PUBLISHED = {
    "resnet18": dataclasses.replace(SLIM, trunk="resnet18"),
    "efficientnet_lite0": dataclasses.replace(SLIM, trunk="efficientnet_lite0"),
}
ALL = [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED)]


def network_of(name: str) -> RelationNetwork:
    torch.manual_seed(0)
    network = RelationNetwork((NETWORKS | PUBLISHED)[name]).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return network


@pytest.fixture(scope="module", params=ALL)
def graphs(request: pytest.FixtureRequest) -> tuple[RelationNetwork, Any, Any]:
    network = network_of(request.param)
    straight = export_relation_network(network, classes=CLASSES, predicates=PREDICATES)
    return network, straight, factor_relations(straight)


@pytest.fixture(scope="module")
def all_graphs() -> tuple[Any, Any]:
    straight = export_relation_network(network_of("wide"), classes=CLASSES, predicates=PREDICATES)
    return straight, factor_relations(straight)


def feed(num_boxes: int, seed: int = 0, height: int = 96, width: int = 128) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.7, (num_boxes, 2)) * (width, height)
    boxes = np.hstack([low, low + rng.uniform(3, 40, (num_boxes, 2))]).astype(np.float32)
    if num_boxes > 3:
        boxes[1] = [10, 20, 10, 20]  # a point,
        boxes[2] = boxes[1]  # and again: their union has no extent
        boxes[3] = [0, 0, width, height]  # contains all others
    pairs = [(i, j) for i in range(num_boxes) for j in range(num_boxes) if i != j]
    return {
        "images": rng.standard_normal((1, 3, height, width)).astype(np.float32),
        "boxes": boxes,
        "box_images": np.zeros(num_boxes, np.int64),
        "labels": rng.integers(0, 3, num_boxes),
        "pairs": np.array(pairs, np.int64).reshape(-1, 2),
    }


def run(model: Any, inputs: dict[str, Any], *, library: bool) -> Any:
    options = onnxruntime.SessionOptions()
    if library:
        options.register_custom_ops_library(str(vinfer.ort_library_path()))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {i.name: inputs[i.name] for i in session.get_inputs()})[0]


@pytest.mark.parametrize("num_boxes", [1, 2, 6])
def test_all_ways_of_running_give_the_same_logits(
    graphs: tuple[RelationNetwork, Any, Any], num_boxes: int
) -> None:
    network, straight, factored = graphs
    inputs = feed(num_boxes)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(array) for array in inputs.values())).numpy()
    for model in (straight, factored, use_winograd(factored)):
        onnx.checker.check_model(model)
        for library in (False, True):
            logits = run(model, inputs, library=library)
            assert logits.shape == expected.shape
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("all", 0),
        ("wide", 1),
        pytest.param("resnet18", 6, marks=pytest.mark.slow),
        pytest.param("efficientnet_lite0", 3, marks=pytest.mark.slow),
    ],
)
def test_convolutions_of_rois_and_pairs_are_taken(name: str, number: int) -> None:
    """The second of pairs, the first for objects and unions, three of ResNet-18's RoI stage."""
    config = (NETWORKS | PUBLISHED)[name]
    if name in PUBLISHED:
        config = dataclasses.replace(config, filters=MIN_CHANNELS)
    straight = export_relation_network(
        RelationNetwork(config), classes=CLASSES, predicates=PREDICATES
    )
    rewritten = use_winograd(factor_relations(straight))
    assert [node.op_type for node in rewritten.graph.node].count(WINOGRAD_CONV) == number


def test_any_size_of_picture_and_several_pictures(
    graphs: tuple[RelationNetwork, Any, Any],
) -> None:
    _, straight, factored = graphs
    one, two = feed(3, 1, 64, 80), feed(4, 2, 64, 80)
    inputs = {
        "images": np.concatenate([one["images"], two["images"]]),
        "boxes": np.concatenate([one["boxes"], two["boxes"]]),
        "box_images": np.repeat([0, 1], [3, 4]),
        "labels": np.concatenate([one["labels"], two["labels"]]),
        "pairs": np.concatenate([one["pairs"], two["pairs"] + 3]),
    }
    expected = run(straight, inputs, library=True)
    np.testing.assert_allclose(run(factored, inputs, library=True), expected, rtol=0, atol=1e-5)
    alone = run(factored, two, library=True)
    np.testing.assert_allclose(expected[len(one["pairs"]) :], alone, rtol=0, atol=1e-5)


def test_rois_are_computed_once(all_graphs: tuple[Any, Any]) -> None:
    inputs = feed(5)
    rois = {}
    for name, model in zip(("straight", "factored"), all_graphs, strict=True):
        nodes = [n for n in model.graph.node if n.op_type == "RoiAlign"]
        tapped = onnx.ModelProto()
        tapped.CopyFrom(model)
        del tapped.graph.output[:]
        for node in nodes:
            tapped.graph.output.append(
                onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)
            )
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(str(vinfer.ort_library_path()))
        session = onnxruntime.InferenceSession(
            tapped.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [i.name for i in session.get_inputs()]
        rois[name] = sum(len(v) for v in session.run(None, {n: inputs[n] for n in names}))
    assert rois == {"straight": 3 * 20, "factored": 5 + 10}


def test_the_graph_says_what_it_is(graphs: tuple[RelationNetwork, Any, Any]) -> None:
    for model in graphs[1:]:
        said = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(said["vinfer.classes"]) == list(CLASSES)
        assert json.loads(said["vinfer.predicates"]) == list(PREDICATES)


def test_nothing_of_the_straight_graph_is_left_over(all_graphs: tuple[Any, Any]) -> None:
    _, factored = all_graphs
    count = collections.Counter(node.op_type for node in factored.graph.node)
    assert count["BatchNormalization"] == 0
    assert count["PositionalMaps"] == 0
    assert count["RoiAlign"] == 1
    assert [function.name for function in factored.functions] == ["RoiAlign"]
    read = {name for node in factored.graph.node for name in node.input}
    assert {tensor.name for tensor in factored.graph.initializer} <= read


def test_other_graphs_are_refused() -> None:
    relu = onnx.helper.make_node("Relu", ["x"], ["y"])
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    graph = onnx.helper.make_graph([relu], "graph", info[:1], info[1:])
    model = onnx.helper.make_model(
        graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18)]
    )
    with pytest.raises(InputError, match="found no convolution over the RoI features"):
        factor_relations(model)


def test_labels_must_be_those_of_the_network() -> None:
    with pytest.raises(InputError, match="found 2 classes and 2 predicates, expected 3 and 2"):
        export_relation_network(network_of("all"), classes=CLASSES[:2], predicates=PREDICATES)


def test_the_same_logits_on_photographs(all_graphs: tuple[Any, Any], shared_data: Path) -> None:
    from vinfer.training.coco_relations import load_coco_relations
    from vinfer.training.picture_tensors import (
        IMAGENET_MEAN,
        IMAGENET_STD,
        normalised,
        resized_boxes,
        resized_size,
    )

    folder = shared_data / "coco_open"
    data = load_coco_relations(
        folder / "annotations.json", folder / "relations.json", images=folder / "images"
    )
    assert data.read is not None
    network, (straight, factored) = network_of("wide"), all_graphs
    some = sorted(data.pictures, key=lambda picture: len(picture.labels))[20:50:10]
    for picture in some:
        assert picture.size is not None
        size = resized_size(*picture.size, short_side=160, long_side=320)
        n = len(picture.labels)
        inputs = {
            "images": normalised(data.read(picture), size, IMAGENET_MEAN, IMAGENET_STD)[None],
            "boxes": resized_boxes(picture.boxes, picture.size, size),
            "box_images": np.zeros(n, np.int64),
            "labels": picture.labels % 3,
            "pairs": np.argwhere(~np.eye(n, dtype=bool)),
        }
        with torch.inference_mode():
            expected = network(*(torch.from_numpy(array) for array in inputs.values())).numpy()
        for model in (straight, factored, use_winograd(factored)):
            for library in (False, True):
                logits = run(model, inputs, library=library)
                np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
