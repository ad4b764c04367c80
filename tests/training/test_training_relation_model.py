"""Geometry of a pair, and the network against its ONNX graph."""

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed (extra train)", allow_module_level=True)

import torch

from vinfer.backends import SessionOptions, load
from vinfer.training.relation_graph import relation_graph
from vinfer.training.relation_model import NUM_FEATURES, RelationPrior, pair_geometry

CLASSES, PREDICATES = 7, 5


def random_boxes(generator: np.random.Generator, n: int) -> np.ndarray:
    corner = generator.uniform(0, 1000, (n, 2))
    return np.concatenate([corner, corner + generator.uniform(0.5, 400, (n, 2))], 1).astype(
        np.float32
    )


def geometry(subject: object, object_: object) -> np.ndarray:
    boxes = [torch.tensor(np.atleast_2d(b), dtype=torch.float32) for b in (subject, object_)]
    return pair_geometry(*boxes).numpy()


def test_geometry_known() -> None:
    (found,) = geometry([0, 0, 10, 20], [5, 10, 25, 30])
    # Union 0, 0, 25, 30; overlap 5 x 10 of areas 200 and 400.
    np.testing.assert_allclose(
        found,
        [
            *(-1, -1, 2 * 10 / 25, 2 * 20 / 30),
            *(2 * 5 / 25 - 1, 2 * 10 / 30 - 1, 2 * 20 / 25, 2 * 20 / 30),
            *(50 / 550, 50 / 200, 50 / 400),
            *(-5 / 20, -10 / 20, 5 / 20, 10 / 20),
            *(5 / 10, 10 / 20, 25 / 10, 30 / 20),
            *np.log([10 / 20, 20 / 20, 10 / 20, 20 / 20, 25 / 30]),
        ],
        atol=1e-6,
    )
    assert found.shape == (NUM_FEATURES,)


def test_geometry_does_not_change_with_place_and_scale() -> None:
    generator = np.random.default_rng(0)
    a, b = random_boxes(generator, 200), random_boxes(generator, 200)
    plain = geometry(a, b)
    # Powers of two: scaling alone is exact.
    np.testing.assert_array_equal(geometry(a * 0.25, b * 0.25), plain)
    np.testing.assert_allclose(geometry(a * 2 + 64, b * 2 + 64), plain, atol=2e-3)


@pytest.mark.parametrize(
    ("subject", "object_"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([5, 5, 5, 50], [0, 0, 10, 10]),
        ([0, 0, 1e5, 1e-3], [9e4, 0, 9e4, 1e5]),
        ([-50, -50, -20, -10], [1e4, 1e4, 1.1e4, 1.1e4]),
    ],
)
def test_geometry_of_degenerate_boxes_is_finite(subject: list[float], object_: list[float]) -> None:
    assert np.isfinite(geometry(subject, object_)).all()
    assert np.isfinite(geometry(object_, subject)).all()


def trained_like() -> RelationPrior:
    torch.manual_seed(0)
    network = RelationPrior(CLASSES, PREDICATES).eval()
    generator = np.random.default_rng(1)
    network.fit_geometry(
        torch.from_numpy(random_boxes(generator, 500)),
        torch.from_numpy(random_boxes(generator, 500)),
    )
    with torch.no_grad():
        network.calibration_scale.copy_(torch.rand(PREDICATES) + 0.5)
        network.calibration_offset.copy_(torch.randn(PREDICATES))
        network.last.bias.normal_()  # the initial -4 would hide differences
    return network


@pytest.mark.parametrize("num_pairs", [0, 1, 300])
def test_graph_gives_the_scores_of_the_module(num_pairs: int) -> None:
    network = trained_like()
    generator = np.random.default_rng(num_pairs)
    labels = generator.integers(0, CLASSES, (2, num_pairs))
    boxes = [random_boxes(generator, num_pairs) for _ in range(2)]
    if num_pairs > 1:
        boxes[0][:3] = boxes[1][:3]
        boxes[0][3] = [7, 7, 7, 7]
    with torch.no_grad():
        expected = network.scores(
            network(
                torch.from_numpy(labels[0]),
                torch.from_numpy(labels[1]),
                torch.from_numpy(boxes[0]),
                torch.from_numpy(boxes[1]),
            )
        ).numpy()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    graph = relation_graph(weights, {"scores": [0, 2], "rest": [4, 1, 3]})
    found = load(graph, SessionOptions(provider="cpu", threads=1)).run(
        {
            "subject_labels": labels[0],
            "object_labels": labels[1],
            "subject_boxes": boxes[0],
            "object_boxes": boxes[1],
        }
    )
    np.testing.assert_allclose(found["scores"], expected[:, [0, 2]], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["rest"], expected[:, [4, 1, 3]], rtol=0, atol=1e-5)


def test_graph_is_opset_17_ir_9_and_the_same_bytes_each_time() -> None:
    import onnx

    network = trained_like()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    graph = relation_graph(weights, {"scores": range(PREDICATES)})
    assert graph == relation_graph(weights, {"scores": range(PREDICATES)})
    model = onnx.load_from_string(graph)
    assert model.ir_version == 9
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert {
        dim.dim_param
        for value in model.graph.input
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    } == {"m"}
