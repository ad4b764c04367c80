"""The nodes against float64, in every supported release of ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nodes
import numpy as np
import pytest
from runtimes import Runtime

from vinfer import ops


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("name", nodes.CASES)
def test_against_float64(runtime: Runtime, library: Path, name: str, threads: int) -> None:
    case = nodes.CASES[name]
    session, outputs = runtime.load(case.model, library, threads=threads)
    tensor_type = {"float32": "tensor(float)", "float16": "tensor(float16)"}[case.dtype]
    assert outputs == [["Y", tensor_type, case.output_shape]]
    first = runtime.run(session, case.inputs)[0]
    case.check(first)
    for _ in range(3):
        assert runtime.run(session, case.inputs)[0].tobytes() == first.tobytes()


@pytest.mark.parametrize("name", nodes.CASES)
def test_our_kernel_is_what_runs(
    runtime: Runtime, library: Path, name: str, tmp_path: Path
) -> None:
    case = nodes.CASES[name]
    session, _ = runtime.load(case.model, library, profile=str(tmp_path / "profile"))
    runtime.run(session, case.inputs)
    assert runtime.executed(session) == [(case.op, "CPUExecutionProvider")]


@pytest.mark.parametrize("threads", [1, 4])
def test_one_session_takes_every_size(runtime: Runtime, library: Path, threads: int) -> None:
    model = nodes.roi_align_model(output_height=7, output_width=7, spatial_scale=0.25)
    session, _ = runtime.load(model, library, threads=threads)
    for shape, num_boxes in [((1, 1, 1, 1), 1), ((2, 64, 40, 30), 90), ((3, 5, 9, 11), 0)]:
        inputs = nodes.roi_inputs(shape=shape, num_boxes=num_boxes)
        expected = ops.roi_align(*inputs.values(), (7, 7), 0.25)
        found = runtime.run(session, inputs)[0]
        assert found.shape == (num_boxes, shape[1], 7, 7)
        assert found.tobytes() == expected.tobytes()


def large_case(op: str) -> tuple[Any, dict[str, Any], Any]:
    """Model, inputs and what `vinfer.ops` makes of them: large enough to be split into tasks."""
    rng = np.random.default_rng(4)
    if op == "RoiAlign":
        inputs = nodes.roi_inputs(shape=(2, 96, 50, 60), num_boxes=60)
        model = nodes.roi_align_model(output_height=7, output_width=7, spatial_scale=0.25)
        return model, inputs, ops.roi_align(*inputs.values(), (7, 7), 0.25)
    if op == "WeldonPool":
        inputs = {"X": rng.standard_normal((4, 64, 40, 40), np.float32)}
        return nodes.weldon_pool_model(), inputs, ops.weldon_pool(inputs["X"], 16, 16)
    if op == "PositionalMaps":
        boxes = rng.uniform(0, 50, (300, 4)).astype(np.float32)
        inputs = {"boxes": boxes, "reference": boxes + np.float32([-3, -3, 90, 90])}
        return nodes.positional_maps_model(), inputs, ops.positional_maps(*inputs.values(), (7, 7))
    inputs = {"image": rng.integers(0, 256, (480, 640, 3), dtype=np.uint8)}
    return nodes.letterbox_model(), inputs, ops.letterbox(inputs["image"], (640, 640))[0]


OPS = ["RoiAlign", "WeldonPool", "PositionalMaps", "Letterbox"]


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("op", OPS)
def test_same_bits_as_in_python(runtime: Runtime, library: Path, op: str, threads: int) -> None:
    model, inputs, expected = large_case(op)
    if isinstance(expected, tuple):
        expected = expected[0]
    session, _ = runtime.load(model, library, threads=threads)
    for _ in range(3):
        assert runtime.run(session, inputs)[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("threads", [1, 4])
def test_one_session_run_in_four_threads_at_once(
    runtime: Runtime, library: Path, threads: int
) -> None:
    model = nodes.roi_align_model(output_height=7, output_width=7, spatial_scale=0.25)
    session, _ = runtime.load(model, library, threads=threads)
    feeds = [
        nodes.roi_inputs(shape=(2, 16 * (n + 1), 30, 40), num_boxes=20 + 9 * n, seed=n)
        for n in range(4)
    ]
    assert runtime.same_when_run_at_once(session, feeds, callers=4, repeats=25)


def test_memory_does_not_grow(runtime: Runtime, library: Path) -> None:
    model = nodes.roi_align_model(output_height=7, output_width=7, spatial_scale=0.25)
    session, _ = runtime.load(model, library, threads=2)
    inputs = [nodes.roi_inputs(shape=(2, 256, 64, 64), num_boxes=60)]
    assert runtime.same_when_run_at_once(session, inputs, callers=1, repeats=20)
    before = runtime.resident_bytes()
    assert runtime.same_when_run_at_once(session, inputs, callers=1, repeats=200)
    assert runtime.resident_bytes() - before < 16e6  # one output is 3 MB
