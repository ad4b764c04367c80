"""One file, two ways to run it: by the kernels with vinfer's library, by the bodies without."""

from __future__ import annotations

from pathlib import Path

import nodes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from runtimes import Runtime, RuntimeFailed

from vinfer.export import attach_functions, use_winograd
from vinfer.export.winograd import MIN_CHANNELS


@pytest.mark.parametrize("name", nodes.CASES)
def test_kernel_with_the_library_and_body_without(
    runtime: Runtime, library: Path, name: str, tmp_path: Path
) -> None:
    case = nodes.CASES[name]
    model = attach_functions(case.model)
    found = {}
    for way, used in (("kernel", library), ("body", None)):
        optimized = tmp_path / f"{way}.onnx"
        session, _ = runtime.load(
            model, used, profile=str(tmp_path / way), optimized=str(optimized)
        )
        found[way] = runtime.run(session, case.inputs)[0]
        case.check(found[way])
        executed = runtime.executed(session)
        # What ran has no domain in the profile, and ONNX has a RoiAlign too; the graph tells.
        domains = {node.domain for node in onnx.load(optimized).graph.node}
        if way == "kernel":
            assert executed == [(case.op, "CPUExecutionProvider")]
            assert domains == {"vinfer"}
        else:
            assert executed
            assert "vinfer" not in domains
    # Each is within the tolerance of float64, so they are within twice it of each other.
    scale = max(1.0, float(np.abs(case.expected).max(initial=0.0)))
    tolerance = 2 * case.tolerance * scale
    np.testing.assert_allclose(found["kernel"], found["body"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("with_library", [True, False])
def test_a_node_without_a_kernel_runs_by_its_body(
    runtime: Runtime, library: Path, with_library: bool
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((MIN_CHANNELS, MIN_CHANNELS, 3, 3)).astype(np.float32) / 48
    shape: list[int | str] = ["n", MIN_CHANNELS, 7, 7]
    made = [
        helper.make_node("Relu", ["x"], ["positive"]),
        helper.make_node("Conv", ["positive", "w"], ["Y"], pads=[1] * 4),
    ]
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", nodes.OPSET)]
    given = helper.make_model(graph, ir_version=nodes.IR_VERSION, opset_imports=opsets)
    rewritten = use_winograd(given)
    assert [node.op_type for node in rewritten.graph.node] == ["Relu", "WinogradConv"]
    inputs = {"x": rng.standard_normal((3, MIN_CHANNELS, 7, 7)).astype(np.float32)}
    expected, found = (
        runtime.run(runtime.load(model, library if with_library else None)[0], inputs)[0]
        for model in (given, rewritten)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_saved_optimized_model_has_lost_the_bodies(
    runtime: Runtime, library: Path, tmp_path: Path
) -> None:
    """So such a file, made with the library, needs it; attaching gives it its bodies back."""
    case = nodes.CASES["weldon_pool"]
    optimized = tmp_path / "optimized.onnx"
    runtime.load(attach_functions(case.model), library, optimized=str(optimized))
    saved = onnx.load(optimized)
    assert [node.domain for node in saved.graph.node] == ["vinfer"]
    assert not saved.functions
    with pytest.raises(RuntimeFailed, match="WeldonPool"):
        runtime.load(saved, None)
    session, _ = runtime.load(attach_functions(saved), None)
    case.check(runtime.run(session, case.inputs)[0])


def test_a_type_without_a_kernel_does_not_fall_back_to_the_body(
    runtime: Runtime, library: Path
) -> None:
    features = np.random.default_rng(5).standard_normal((1, 2, 4, 4))
    model = attach_functions(
        nodes.node_model("WeldonPool", {"X": ("float64", None)}, ("float64", None))
    )
    session, _ = runtime.load(model, None)
    assert runtime.run(session, {"X": features})[0].dtype == np.float64
    with pytest.raises(RuntimeFailed, match=r"Type Error|NOT_IMPLEMENTED|type"):
        runtime.load(model, library)
