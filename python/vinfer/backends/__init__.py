"""Backends: how one graph is run. They know arrays and graphs, not models."""

from collections.abc import Mapping, Sequence

from vinfer.backends.base import (
    Array,
    Backend,
    Precision,
    Provider,
    Session,
    SessionInfo,
    SessionOptions,
    TensorSpec,
)

__all__ = [
    "Backend",
    "Precision",
    "Provider",
    "Session",
    "SessionInfo",
    "SessionOptions",
    "TensorSpec",
    "load",
]


def load(
    graph: bytes,
    options: SessionOptions | None = None,
    *,
    sample: Mapping[str, Array] | None = None,
    allowed_precisions: Sequence[Precision] = ("float32",),
) -> Session:
    """Load an ONNX graph.

    Args:
        graph: the bytes of the ONNX file.
        options: how to run it; None takes the defaults.
        sample: inputs that backend ``auto`` compares and measures with, the same each time; None
            for made-up ones, with free dimensions of 1.
        allowed_precisions: precisions that backend ``auto`` may take: those with which the model's
            own metric, on its own task, was measured to be good enough.

    Raises:
        BackendError: not a graph that the backend can run.
        ProviderUnavailableError: the provider or precision that was asked for can't be had; says
            how to get it.
        MissingDependencyError: the backend is not installed.
    """
    options = options or SessionOptions()
    # Here, so that a library is imported when the first graph is loaded in it, not before.
    if options.backend == "auto":
        from vinfer.backends import choice

        return choice.load(graph, options, sample=sample, allowed_precisions=allowed_precisions)
    if options.backend == "openvino":
        from vinfer.backends import openvino

        return openvino.load(graph, options)
    from vinfer.backends import onnxruntime

    return onnxruntime.load(graph, options)
