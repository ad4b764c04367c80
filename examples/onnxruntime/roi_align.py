"""Runs a model with vinfer's nodes in ONNX Runtime; needs numpy and onnxruntime, not vinfer.

python roi_align.py MODEL [LIBRARY] [--cuda]

Without LIBRARY, the path of libvinfer_ort.so, the bodies in the model run instead of the kernels.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

STRIDE = 16


def make_inputs() -> dict[str, np.ndarray]:
    """Numbers that main.cpp makes too: a feature map of two pictures, and five boxes in them."""
    shape = (2, 32, 24, 40)
    features = np.arange(np.prod(shape)) * 7919 % 1000 / np.float32(1000)
    boxes = [
        [0, 0, 640, 384],
        [100, 50, 220.5, 333.25],
        [10, 20, 30, 40],
        [600, 300, 700, 400],  # partly outside
        [320, 100, 480, 260],
    ]
    return {
        "features": features.astype(np.float32).reshape(shape),
        "boxes": np.array(boxes, np.float32),
        "batch_indices": np.array([0, 0, 0, 1, 1], np.int64),
    }


def open_session(model: Path, library: Path | None, cuda: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if library is not None:
        # Absolute: a bare file name is looked for where the system's libraries are.
        options.register_custom_ops_library(str(library.resolve()))
    if not cuda:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if hasattr(onnxruntime, "preload_dlls"):  # 1.21 and later: CUDA and cuDNN of pip packages
        onnxruntime.preload_dlls()
    # Without this the session runs on the CPU in silence where CUDA can't be used.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CUDAExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a model with vinfer's nodes.")
    parser.add_argument("model", type=Path)
    parser.add_argument("library", type=Path, nargs="?", help="libvinfer_ort.so")
    parser.add_argument("--cuda", action="store_true", help="on an NVIDIA GPU, or fail")
    arguments = parser.parse_args()
    session = open_session(arguments.model, arguments.library, arguments.cuda)
    names = [output.name for output in session.get_outputs()]
    for name, array in zip(names, session.run(names, make_inputs()), strict=True):
        checksum = zlib.adler32(array.tobytes())
        print(f"{name} {list(array.shape)} mean {array.mean(dtype=float):.6f} {checksum:08x}")


if __name__ == "__main__":
    main()
