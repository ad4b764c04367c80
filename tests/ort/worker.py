"""Runs ONNX models on request, one JSON line for each; knows numpy and onnxruntime, not vinfer.

Started by conftest.py in the environment of one ONNX Runtime. Tensors pass as .npz files.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

sessions: list[Any] = []


def load(
    model: str,
    library: str | None = None,
    threads: int = 1,
    profile: str | None = None,
    optimized: str | None = None,
) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if library is not None:
        options.register_custom_ops_library(library)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    if optimized is not None:
        options.optimized_model_filepath = optimized
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    sessions.append(session)
    outputs = [[node.name, node.type, node.shape] for node in session.get_outputs()]
    return {"session": len(sessions) - 1, "outputs": outputs}


def run(session: int, inputs: str, outputs: str) -> dict[str, Any]:
    with np.load(inputs) as arrays:
        found = sessions[session].run(None, dict(arrays))
    np.savez(outputs, *found)
    return {}


def run_at_once(session: int, inputs: list[str], callers: int, repeats: int) -> dict[str, Any]:
    """Whether `callers` threads that share a session always get what one alone gets."""
    feeds = []
    for path in inputs:
        with np.load(path) as arrays:
            feeds.append(dict(arrays))
    alone = [[array.tobytes() for array in sessions[session].run(None, feed)] for feed in feeds]

    def call(number: int) -> bool:
        found = sessions[session].run(None, feeds[number % len(feeds)])
        return [array.tobytes() for array in found] == alone[number % len(feeds)]

    with ThreadPoolExecutor(callers) as pool:
        return {"same": all(pool.map(call, range(callers * repeats)))}


def executed(session: int) -> dict[str, Any]:
    """Ops and providers of the nodes that ran, from the session's own profile."""
    profile = Path(sessions[session].end_profiling())
    events = json.loads(profile.read_text())
    profile.unlink()
    kernels = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
    return {"nodes": [[args["op_name"], args["provider"]] for args in kernels]}


def resident_bytes() -> dict[str, Any]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"bytes": pages * 4096}


ACTIONS = {f.__name__: f for f in (load, run, run_at_once, executed, resident_bytes)}

print(json.dumps({"version": onnxruntime.__version__}), flush=True)  # noqa: T201
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = ACTIONS[request.pop("action")](**request)
    except Exception as exc:  # onnxruntime's errors have no common class below Exception
        answer = {"error": str(exc), "class": type(exc).__name__}
    print(json.dumps(answer), flush=True)  # noqa: T201
