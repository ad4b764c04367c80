"""OpenVINO, on the CPU."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from vinfer.backends.base import (
    Array,
    Precision,
    SessionInfo,
    SessionOptions,
    TensorSpec,
    check_inputs,
    check_outputs,
)
from vinfer.backends.openvino_graph import PreparedGraph, prepare
from vinfer.backends.processor import Processor, this_processor
from vinfer.errors import BackendError, MissingDependencyError, ProviderUnavailableError
from vinfer.threads import usable_threads

_logger = logging.getLogger(__name__)

_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}
_importing = threading.Lock()
_INT32 = np.iinfo(np.int32)
# Lines of a message that tell where in openvino it was made, or head others.
_LOCATION = re.compile(
    r"^(Caught exception: )?Exception from|^Check '|failed at src/|^While validating|^FrontEnd API"
    r"|^Model wasn't|^--|^Summary:"
)


def load(graph: bytes, options: SessionOptions) -> OpenVinoSession:
    """Load a graph on the CPU.

    Raises:
        BackendError: not a graph that this OpenVINO can run.
        ProviderUnavailableError: ``cuda`` or a precision was asked for that can't be had.
        MissingDependencyError: openvino or onnx is not installed.
    """
    if options.provider == "cuda":
        raise ProviderUnavailableError(
            "provider cuda: backend openvino runs on the CPU only; use backend onnxruntime, "
            "or provider cpu"
        )
    if options.precision not in precisions():
        raise ProviderUnavailableError(
            f"precision {options.precision}: this processor has neither avx512_bf16 nor amx_bf16, "
            "which it needs; use precision float32"
        )
    openvino = _import()
    prepared = prepare(graph)
    threads = options.threads or usable_threads()
    compiled = _compile(openvino, prepared, options, threads)
    session = OpenVinoSession(openvino, compiled, prepared, options, threads)
    for note in session.describe().notes:
        _logger.info(note)
    return session


def precisions(processor: Processor | None = None) -> tuple[Precision, ...]:
    """What a processor computes in hardware; None is this one."""
    found = processor or this_processor()
    return ("float32", "bfloat16") if found.has_bfloat16 else ("float32",)


def version() -> str | None:
    """The version that is installed, without importing it, which takes a second; None without."""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return None


class OpenVinoSession:
    """A graph in OpenVINO; a `vinfer.backends.base.Session`.

    Checks two things besides: an output of another rank or size than the graph states is a
    ModelOutputError; int64 inputs beyond int32 are a BackendError, since OpenVINO computes them in
    32 bits.
    """

    def __init__(
        self,
        openvino: ModuleType,
        compiled: Any,
        prepared: PreparedGraph,
        options: SessionOptions,
        threads: int,
    ) -> None:
        self._lock = threading.Lock()
        self._idle: list[Any] = []  # one request runs once at a time; as many as ran at once
        self._compiled: Any | None = compiled
        self._inputs = prepared.inputs
        self._outputs = prepared.outputs
        # OpenVINO keeps neither the order nor, for tensors with several names, the first of them.
        self._input_ports = _ports(compiled.inputs, self._inputs)
        self._output_ports = _ports(compiled.outputs, self._outputs)
        streams = compiled.get_property("NUM_STREAMS")
        per_run = max(1, compiled.get_property("INFERENCE_NUM_THREADS") // max(1, streams))
        notes = []
        if options.provider == "auto":
            notes.append("provider auto: runs on the CPU because backend openvino has no CUDA")
        if per_run < threads:
            notes.append(f"threads: {threads} were asked for, openvino takes {per_run} here")
        self._info = SessionInfo(
            backend="openvino",
            version=_release(openvino),
            providers=tuple(compiled.get_property("EXECUTION_DEVICES")),
            threads=per_run,
            precision=_precision(compiled),
            notes=tuple(notes),
        )

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs."""
        return self._outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; see `vinfer.backends.base.Session.run`."""
        with self._lock:
            compiled = self._compiled
        if compiled is None:
            raise BackendError("the session is closed; load the graph again to run it")
        check_inputs(self._inputs, inputs)
        _check_range(self._inputs, inputs)
        feeds = {
            port: np.asarray(inputs[spec.name], order="C")
            for port, spec in zip(self._input_ports, self._inputs, strict=True)
        }
        with self._lock:
            request = self._idle.pop() if self._idle else None
        try:
            request = request or compiled.create_infer_request()
            # Not `infer`: on one thread it loses the error of a shape that can't be, and gives the
            # outputs of the run before (2026.4).
            request.start_async(feeds)
            request.wait()
            outputs = {
                spec.name: request.get_output_tensor(port).data.copy()
                for port, spec in zip(self._output_ports, self._outputs, strict=True)
            }
        except Exception as exc:  # openvino raises RuntimeError and whatever pybind11 makes of C++
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
            raise BackendError(f"the graph failed on {shapes}: {_cause(exc)}") from exc
        with self._lock:
            if self._compiled is not None:
                self._idle.append(request)
        check_outputs(self._inputs, self._outputs, inputs, outputs)
        return outputs

    def describe(self) -> SessionInfo:
        """What really runs."""
        return self._info

    def close(self) -> None:
        """Free the graph's memory, once runs in other threads have ended; may be called again."""
        with self._lock:
            self._idle.clear()
            self._compiled = None


def _import() -> ModuleType:
    with _importing, _no_telemetry():
        try:
            import openvino
        except ImportError as exc:
            raise MissingDependencyError.of("openvino", "openvino", exc) from exc
    module: ModuleType = openvino
    return module


@contextlib.contextmanager
def _no_telemetry() -> Iterator[None]:
    """Have openvino take its own stub for the package that reports to Google Analytics.

    Importing openvino sends an event, and makes a folder in the user's home, unless that package
    can't be imported. Nobody who starts vinfer asked for that.
    """
    name = "openvino_telemetry"
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    if "openvino" in modules or name in modules:  # the program's own import was first
        yield
        return
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]


@functools.cache
def _core(openvino: ModuleType) -> Any:
    """One for the process and kept: with two of them 2026.4 brings it down when a thread ends."""
    return openvino.Core()


def _compile(
    openvino: ModuleType, prepared: PreparedGraph, options: SessionOptions, threads: int
) -> Any:
    runs = options.concurrent_runs
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        # Runs beyond the number of streams wait for each other, each stream has its own threads.
        "NUM_STREAMS": runs,
        "INFERENCE_NUM_THREADS": runs * threads,
        "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
        # Would bind the threads of every session to the same first cores, also in a container whose
        # neighbours do so.
        "ENABLE_CPU_PINNING": False,
        # Quantizes activations where weights are integers; off, as nobody measured what it costs.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    try:
        core = _core(openvino)
        compiled = core.compile_model(core.read_model(prepared.data), "CPU", settings)
    except Exception as exc:
        raise BackendError(
            f"openvino {_release(openvino)} can't load the graph: {_cause(exc)}; use backend "
            "onnxruntime for it"
        ) from exc
    # Where a processor lacks a precision, openvino takes another one without a word.
    if _precision(compiled) != options.precision:
        raise ProviderUnavailableError(
            f"precision {options.precision}: openvino {_release(openvino)} computes in "
            f"{_precision(compiled)} on this processor; use precision float32"
        )
    return compiled


def _precision(compiled: Any) -> str:
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return {text: name for name, text in _HINTS.items()}.get(hint, str(hint))


def _ports(ports: list[Any], specs: tuple[TensorSpec, ...]) -> tuple[int, ...]:
    """The index of each tensor among openvino's."""
    found = []
    for spec in specs:
        index = next((i for i, port in enumerate(ports) if spec.name in port.get_names()), None)
        if index is None:
            raise BackendError(
                f"openvino can't load the graph: it lost {spec.name!r} on the way; use backend "
                "onnxruntime for it"
            )
        found.append(index)
    return tuple(found)


def _check_range(specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array]) -> None:
    for spec in specs:
        array = inputs[spec.name]
        if spec.dtype != "int64" or not array.size:
            continue
        low, high = int(array.min()), int(array.max())
        if low < _INT32.min or high > _INT32.max:
            raise BackendError(
                f"input {spec.name!r}: found values from {low} to {high}, expected int32's range: "
                "openvino computes int64 in 32 bits; use backend onnxruntime for it"
            )


def _release(openvino: ModuleType) -> str:
    return str(openvino.__version__).partition("-")[0]


def _cause(error: Exception, limit: int = 300) -> str:
    """What a message of openvino says, without its C++ locations and headings."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    missing = [line.removeprefix("-- ") for line in lines if line.startswith("-- No conversion")]
    telling = missing or [line for line in lines if not _LOCATION.search(line)] or lines[:1]
    text = "; ".join(telling) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
