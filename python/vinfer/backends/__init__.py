"""Backends: how one graph is run. They know arrays and graphs, not models."""

from vinfer.backends.base import Provider, Session, SessionInfo, SessionOptions, TensorSpec

__all__ = [
    "Provider",
    "Session",
    "SessionInfo",
    "SessionOptions",
    "TensorSpec",
    "load",
]


def load(graph: bytes, options: SessionOptions | None = None) -> Session:
    """Load an ONNX graph.

    Args:
        graph: the bytes of the ONNX file.
        options: how to run it; None takes the defaults.

    Raises:
        BackendError: not a graph that the backend can run.
        ProviderUnavailableError: the provider that was asked for can't be had; says how to get it.
        MissingDependencyError: the backend is not installed.
    """
    # Here, so that onnxruntime is imported when the first graph is loaded, not before.
    from vinfer.backends import onnxruntime

    return onnxruntime.load(graph, options or SessionOptions())
