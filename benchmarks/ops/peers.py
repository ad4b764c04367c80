"""The other libraries: imported where there, otherwise named absent with the reason."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from typing import Any

from benchmarks.ops.contest import Absent

PACKAGES = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "onnx": "onnx",
    "openvino": "openvino",
    "torch": "torch",
    "torchvision": "torchvision",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
}


@functools.cache
def load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise Absent(f"{module} is not installed") from exc
    except (OSError, RuntimeError) as exc:
        raise Absent(f"{module} does not load: {str(exc).splitlines()[0]}") from exc


def set_threads(threads: int) -> None:
    """For the libraries whose number of threads is the process's; numpy and Pillow have one."""
    for module, name in (("torch", "set_num_threads"), ("cv2", "setNumThreads")):
        try:
            getattr(load(module), name)(threads)
        except Absent:
            continue


def versions() -> dict[str, str]:
    """Version of each library, or why it is absent."""
    found = {}
    for module, package in PACKAGES.items():
        try:
            loaded = load(module)
            found[package] = str(getattr(loaded, "__version__", "")) or importlib.metadata.version(
                package
            )
        except Absent as exc:
            found[package] = f"absent: {exc}"
    return found


@functools.cache
def openvino_core() -> Any:
    return load("openvino").Core()


def openvino_call(model: Any, inputs: list[Any], threads: int) -> Any:
    """A compiled model on fixed inputs; the call leaves the result in OpenVINO's own memory."""
    openvino = load("openvino")
    compiled = openvino_core().compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    tensors = [openvino.Tensor(array, shared_memory=True) for array in inputs]
    for index, tensor in enumerate(tensors):
        request.set_input_tensor(index, tensor)

    def call() -> Any:
        request.infer()
        return request.get_output_tensor(0).data

    call.inputs = inputs  # type: ignore[attr-defined]  # OpenVINO does not keep them alive

    return call
