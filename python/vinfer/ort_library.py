"""Where the ONNX Runtime custom-op library lies."""

from __future__ import annotations

from pathlib import Path

from vinfer import _native
from vinfer.errors import ProviderUnavailableError


def ort_library_path() -> Path:
    """The library that runs vinfer's ONNX nodes in ONNX Runtime 1.17 and later, in any language.

    It needs neither Python nor vinfer beside it, so it may be copied to another machine of the
    same architecture. docs/onnxruntime.md has the nodes and how to register it.

    Returns:
        The absolute path of ``libvinfer_ort.so``.

    Raises:
        ProviderUnavailableError: this installation has no such file.

    Example:
        >>> options = onnxruntime.SessionOptions()
        >>> options.register_custom_ops_library(str(vinfer.ort_library_path()))
        >>> session = onnxruntime.InferenceSession("model.onnx", options)
    """
    # Beside the native module, which lies elsewhere than this file in an editable installation.
    path = Path(_native.__file__).resolve().parent / "lib" / "libvinfer_ort.so"
    if not path.is_file():
        raise ProviderUnavailableError(
            f"{path} is missing, expected it beside vinfer's native module; install vinfer again "
            "with: pip install --force-reinstall --no-deps vinfer"
        )
    return path
