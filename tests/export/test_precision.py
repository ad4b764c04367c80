"""Graphs of fewer bits, and the gate that takes or refuses them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed (extra `train`)")

import torch
from onnx import TensorProto, helper, numpy_helper

from vinfer.backends import Session, SessionOptions, load
from vinfer.errors import InputError
from vinfer.export import export_relation_network, factor_relations
from vinfer.export.precision import (
    EMULATED,
    GRAPH,
    RUN_TIME,
    Measurement,
    Variant,
    accepted_graph,
    allowed_precisions,
    gate,
    relation_variants,
)
from vinfer.export.quantization import quantize_int8
from vinfer.export.rounding import emulate_bfloat16, round_to_bfloat16, store_float16
from vinfer.training.relation_network import NetworkConfig, RelationNetwork

CLASSES, PREDICATES = ("a", "b", "c"), ("on", "holds")


def feed(seed: int, num_boxes: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (num_boxes, 2))
    return {
        "images": rng.standard_normal((1, 3, 96, 96)).astype(np.float32),
        "boxes": np.hstack([low, low + rng.uniform(5, 30, low.shape)]).astype(np.float32),
        "box_images": np.zeros(num_boxes, np.int64),
        "labels": rng.integers(0, 3, num_boxes),
        "pairs": np.argwhere(~np.eye(num_boxes, dtype=bool)),
    }


@pytest.fixture(scope="module")
def factored() -> Any:
    torch.manual_seed(0)
    network = RelationNetwork(
        NetworkConfig(3, 2, trunk="slim", filters=6, features=5, embedding_size=4)
    ).eval()
    # So that pairs differ by more than the rounding.
    torch.nn.init.normal_(network.classifier.weight)
    return factor_relations(
        export_relation_network(network, classes=CLASSES, predicates=PREDICATES)
    )


def logits(model: Any, arrays: dict[str, Any], backend: Any = "onnxruntime") -> Any:
    session = load(
        model.SerializeToString(), SessionOptions(provider="cpu", threads=1, backend=backend)
    )
    found = session.run(arrays)["logits"]
    session.close()
    return found


def single_conv(weight: Any) -> Any:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_int8_is_close_and_leaves_pictures_and_geometry_alone(factored: Any) -> None:
    before = factored.SerializeToString()
    quantized = quantize_int8(factored, (feed(seed) for seed in range(4)))
    assert factored.SerializeToString() == before
    onnx.checker.check_model(quantized)
    producers = {name: node for node in quantized.graph.node for name in node.output}
    rounded = [n for n in quantized.graph.node if n.op_type == "Conv"]
    is_int8 = [
        producers[n.input[0]].op_type == "DequantizeLinear"
        for n in rounded
        if n.input[0] in producers
    ]
    first = [n for n in rounded if n.input[0] == "images"]
    assert len(first) == 1
    assert len(is_int8) == len(rounded) - 1 > 5
    assert all(is_int8)
    for node in quantized.graph.node:
        if node.op_type in ("Concat", "Div", "Gemm", "MatMul", "Max", "Min", "Sub", "Where"):
            read = [producers[name].op_type for name in node.input if name in producers]
            assert "DequantizeLinear" not in read, node.name
    (align,) = (n for n in quantized.graph.node if n.op_type == "RoiAlign")
    assert align.input[1] in {
        o for n in quantized.graph.node if n.op_type == "Concat" for o in n.output
    }
    expected, found = logits(factored, feed(9)), logits(quantized, feed(9))
    assert 0 < np.abs(found - expected).max() < 0.1 * np.ptp(expected)


def test_int8_weights_take_seven_bits_a_channel(factored: Any) -> None:
    quantized = quantize_int8(factored, [feed(0)])
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in quantized.graph.initializer
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert len(weights) > 5
    for weight in weights:
        assert np.abs(weight.reshape(len(weight), -1).astype(int)).max(1).max() <= 64


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_variants_run_in_each_backend(factored: Any, backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed (extra `openvino`)")
    expected = logits(factored, feed(3))
    for made in (quantize_int8(factored, [feed(3)]), store_float16(factored)):
        found = logits(made, feed(3), backend)
        assert np.abs(found - expected).max() < 0.1 * np.ptp(expected)


def test_calibration_needs_pictures_and_something_to_quantize(factored: Any) -> None:
    with pytest.raises(InputError, match="feeds: found none"):
        quantize_int8(factored, [])
    alone = single_conv(np.ones((1, 2, 3, 3), np.float32))
    with pytest.raises(InputError, match="no convolution but those that read an input"):
        quantize_int8(alone, [{"x": np.ones((1, 2, 4, 4), np.float32)}])


def test_float16_halves_the_file_and_rounds_the_weights_only(factored: Any) -> None:
    before = factored.SerializeToString()
    stored = store_float16(factored)
    assert factored.SerializeToString() == before
    weights = {t.name: numpy_helper.to_array(t) for t in factored.graph.initializer}
    small = {t.name: numpy_helper.to_array(t) for t in stored.graph.initializer}
    rounded = [name for name in weights if f"{name}.float16" in small]
    assert len(rounded) > 8
    for name in rounded:
        assert np.array_equal(small[f"{name}.float16"], weights[name].astype(np.float16))
    assert sum(a.nbytes for a in small.values()) < 0.6 * sum(a.nbytes for a in weights.values())
    # The same rounding by hand in float32 gives the same bits.
    by_hand = type(factored)()
    by_hand.CopyFrom(factored)
    for tensor in by_hand.graph.initializer:
        if tensor.name in rounded:
            values = weights[tensor.name].astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert np.array_equal(logits(stored, feed(1)), logits(by_hand, feed(1)))


def test_weights_beyond_float16_stay_float32() -> None:
    weight = np.full((1, 2, 3, 3), 7e4, np.float32)
    stored = store_float16(single_conv(weight))
    assert [t.data_type for t in stored.graph.initializer] == [TensorProto.FLOAT]
    empty = single_conv(weight)
    del empty.graph.node[:]
    with pytest.raises(InputError, match="no float32 weights"):
        store_float16(empty)


def test_rounding_to_bfloat16_is_that_of_another_library() -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(100_000) * 10 ** rng.uniform(-30, 30, 100_000)).astype(np.float32)
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 0.0, -0.0, np.inf], np.float32)
    values = np.concatenate([values, ties])
    assert np.array_equal(
        round_to_bfloat16(values), torch.from_numpy(values).bfloat16().float().numpy()
    )


def test_emulated_bfloat16_is_a_convolution_of_rounded_numbers() -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 2, 3, 3)).astype(np.float32)
    x = rng.standard_normal((1, 2, 4, 4)).astype(np.float32)
    session = load(
        emulate_bfloat16(single_conv(weight)).SerializeToString(), SessionOptions(provider="cpu")
    )
    found = session.run({"x": x})["y"]
    low_x, low_weight = (torch.from_numpy(a).bfloat16().double().numpy() for a in (x, weight))
    windows = np.lib.stride_tricks.sliding_window_view(low_x, (3, 3), (2, 3))
    expected = np.einsum("ncyxij,kcij->nkyx", windows, low_weight)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    exact = np.einsum(
        "ncyxij,kcij->nkyx",
        np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), (2, 3)),
        weight.astype(np.float64),
    )
    assert np.abs(found - exact).max() > 1e-3


SAMPLES = [feed(seed) for seed in range(3)]


def measure(session: Session) -> Measurement:
    """How often the first predicate is ranked as by the float32 graph: 1 for that graph."""
    found = np.concatenate([session.run(arrays)["logits"] for arrays in SAMPLES])
    return Measurement({"agreement": agreement(found)}, found)


EXPECTED: dict[str, Any] = {}


def agreement(found: Any) -> float:
    expected = EXPECTED.setdefault("logits", found)
    if not np.isfinite(found).all():
        return math.nan
    return float(np.mean((found > np.median(expected)) == (expected > np.median(expected))))


def judged(graph: bytes, variants: list[Variant], **options: Any) -> dict[str, Any]:
    EXPECTED.clear()
    report = gate(graph, variants, measure, sample=SAMPLES[0], threads=1, rounds=1, **options)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    return report


def noised(model: Any, scale: float) -> bytes:
    damaged = type(model)()
    damaged.CopyFrom(model)
    rng = np.random.default_rng(0)
    for tensor in damaged.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4:
            noise = scale * rng.standard_normal(values.shape) * values.std()
            tensor.CopyFrom(
                numpy_helper.from_array((values + noise).astype(np.float32), tensor.name)
            )
    return bytes(damaged.SerializeToString())


def test_the_same_graph_is_accepted_and_a_damaged_one_refused(factored: Any) -> None:
    graph = factored.SerializeToString()
    variants = [Variant("int8", GRAPH, graph), Variant("float16", GRAPH, noised(factored, 2.0))]
    report = judged(graph, variants)
    same, damaged = report["variants"]
    assert (same["accepted"], same["loss"], same["largest_difference"]) == (True, 0, 0)
    assert same["ms"] > 0
    assert same["time_ratio"] > 0
    assert not damaged["accepted"]
    assert damaged["loss"] > 0.01
    assert "at least -0.01 is allowed" in damaged["reason"]
    assert report["float32"]["metrics"] == {"agreement": 1.0}
    assert report["float32"]["ms"]["onnxruntime"] > 0
    assert accepted_graph(report, variants, "int8") == graph
    with pytest.raises(InputError, match=r"float16 was refused in onnxruntime: agreement -0\."):
        accepted_graph(report, variants, "float16")
    with pytest.raises(InputError, match="found 'int4', expected one with a graph of its own: "):
        accepted_graph(report, variants, "int4")


def test_the_allowed_loss_decides(factored: Any) -> None:
    graph = factored.SerializeToString()
    variants = [Variant("int8", GRAPH, noised(factored, 2.0))]
    (verdict,) = judged(graph, variants, max_loss=1.0)["variants"]
    assert verdict["accepted"]
    with pytest.raises(InputError, match="max_loss: found nan"):
        judged(graph, variants, max_loss=math.nan)


def test_what_fails_or_gives_no_numbers_is_refused_and_says_so(factored: Any) -> None:
    graph = factored.SerializeToString()
    broken = type(factored)()
    broken.CopyFrom(factored)
    for tensor in broken.graph.initializer:
        if len(tensor.dims) == 4:
            values = np.full(tuple(tensor.dims), np.nan, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    variants = [
        Variant("int8", GRAPH, b"no graph"),
        Variant("float16", GRAPH, broken.SerializeToString()),
    ]
    report = judged(graph, variants)
    unreadable, silent = report["variants"]
    assert not unreadable["accepted"]
    assert "expected an ONNX model" in unreadable["reason"]
    assert (silent["accepted"], silent["loss"], silent["metrics"]) == (
        False,
        None,
        {"agreement": None},
    )


def test_a_graph_that_openvino_can_not_run_is_judged_in_onnxruntime(factored: Any) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (extra `openvino`)")
    unread = type(factored)()
    unread.CopyFrom(factored)
    unread.graph.input.add().CopyFrom(
        helper.make_tensor_value_info("unread", TensorProto.FLOAT, ["n", 4])
    )
    graph = unread.SerializeToString()
    EXPECTED.clear()

    def measured(session: Session) -> Measurement:
        found = session.run({**SAMPLES[0], "unread": SAMPLES[0]["boxes"]})["logits"]
        return Measurement({"agreement": agreement(found)}, found)

    variants = [Variant("int8", GRAPH, graph), Variant("int8", GRAPH, graph, "openvino")]
    sample = {**SAMPLES[0], "unread": SAMPLES[0]["boxes"]}
    report = gate(graph, variants, measured, sample=sample, threads=1, rounds=1)
    assert list(report["float32"]["ms"]) == ["onnxruntime"]
    assert [each["accepted"] for each in report["variants"]] == [True, False]
    assert "it lost 'unread'" in report["variants"][1]["reason"]


def test_bfloat16_is_allowed_only_where_it_was_run(factored: Any) -> None:
    graph = factored.SerializeToString()
    emulated = Variant("bfloat16", EMULATED, graph)
    report = judged(graph, [emulated])
    (verdict,) = report["variants"]
    assert not verdict["accepted"]
    assert "emulated: agreement +0.0000" in verdict["reason"]
    assert "ms" not in verdict
    assert allowed_precisions(report) == ("float32",)
    # As on a processor that has it: the same record, run.
    report = judged(graph, [dataclasses.replace(emulated, how=RUN_TIME)])
    assert allowed_precisions(report) == ("float32", "bfloat16")


def test_every_precision_is_measured_on_this_machine(factored: Any) -> None:
    variants = relation_variants(factored, (feed(seed) for seed in range(2)))
    assert {variant.precision for variant in variants} == {"int8", "float16", "bfloat16"}
    report = judged(factored.SerializeToString(), variants)
    for verdict in report["variants"]:
        assert verdict["loss"] is not None, verdict
        assert verdict["reason"]
