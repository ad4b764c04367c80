"""Small graphs for ONNX Runtime: its own nodes, and ours from `vinfer.ort_library_path()`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.ops import peers
from benchmarks.ops.contest import Absent
from vinfer.errors import VinferError
from vinfer.ort_library import ort_library_path

# Written for the oldest runtime that our nodes support.
IR_VERSION, OPSET = 9, 17


def model(
    nodes: Sequence[Any], inputs: Mapping[str, tuple[str, int]], initializers: Sequence[Any] = ()
) -> bytes:
    """Serialised graph with the output "Y"; inputs are name -> (dtype, rank), sizes free."""
    try:
        from onnx import TensorProto, helper
    except ImportError as exc:
        raise Absent("onnx, which writes the graph, is not installed") from exc

    def value(name: str, dtype: str, rank: int) -> Any:
        sizes = [f"{name}_{axis}" for axis in range(rank)]
        return helper.make_tensor_value_info(name, getattr(TensorProto, dtype.upper()), sizes)

    described = [value(name, dtype, rank) for name, (dtype, rank) in inputs.items()]
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "benchmark", described, [output], list(initializers))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("vinfer", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(made.SerializeToString())


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    """A node; "vinfer::Name" is ours."""
    from onnx import helper

    domain, _, name = op.rpartition("::")
    return helper.make_node(name, inputs, outputs, domain=domain, **attributes)


def matmul() -> bytes:
    return model([node("MatMul", ["A", "B"], ["Y"])], {"A": ("float", 2), "B": ("float", 2)})


def session(content: bytes, threads: int, library: str = "") -> Any:
    """A session as ONNX Runtime's own tuning guide has it: threads set, the arena on."""
    onnxruntime = peers.load("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if library:
        options.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@functools.cache
def our_library() -> str:
    try:
        return str(ort_library_path())
    except VinferError as exc:
        raise Absent(str(exc)) from exc


def our_session(content: bytes, threads: int) -> Any:
    try:
        return session(content, threads, our_library())
    except Absent:
        raise
    except Exception as exc:  # onnxruntime's errors have no common base
        raise Absent(f"ONNX Runtime refuses our node: {str(exc).splitlines()[0]}") from exc


def variants(
    made: Any, feed: dict[str, Any], shape: tuple[int, ...]
) -> dict[str, Callable[[], Any]]:
    """`run` with a new output, and bound to memory that is there already."""
    out = np.empty(shape, np.float32)
    binding = made.io_binding()
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    binding.bind_output("Y", "cpu", 0, np.float32, shape, out.ctypes.data)

    def bound() -> Any:
        made.run_with_iobinding(binding)
        return out

    return {"run": lambda: made.run(None, feed)[0], "io binding": bound}
