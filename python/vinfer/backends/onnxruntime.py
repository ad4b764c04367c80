"""ONNX Runtime, on the CPU or on CUDA."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vinfer.backends.base import Array, SessionInfo, SessionOptions, TensorSpec, check_inputs
from vinfer.errors import BackendError, MissingDependencyError, ProviderUnavailableError
from vinfer.ort_library import ort_library_path
from vinfer.threads import usable_threads

_logger = logging.getLogger(__name__)

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"

_GET_CUDA = (
    "CUDA needs an NVIDIA driver and the GPU build: pip uninstall onnxruntime && "
    "pip install 'onnxruntime-gpu[cuda,cudnn]'; `vinfer doctor` shows what is there"
)

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_LOCATION = re.compile(r"/\S+\.(?:cc|h):\d+ .{1,300}?\) ")

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


def load(graph: bytes, options: SessionOptions) -> OnnxRuntimeSession:
    """Load a graph on the provider that the options ask for.

    Raises:
        BackendError: not a graph that this ONNX Runtime can run.
        ProviderUnavailableError: ``cuda`` was asked for and can't be had, or another precision than
            the graph's own.
        MissingDependencyError: onnxruntime is not installed.
    """
    if options.precision != "float32":
        raise ProviderUnavailableError(
            f"precision {options.precision}: backend onnxruntime computes as the graph is written; "
            "use backend openvino, or precision float32"
        )
    onnxruntime = _import()
    threads = options.threads or usable_threads()
    if options.provider == "cpu":
        return OnnxRuntimeSession(onnxruntime, _cpu(onnxruntime, graph, threads), threads, ())
    try:
        return OnnxRuntimeSession(onnxruntime, _cuda(onnxruntime, graph, threads), threads, ())
    except ProviderUnavailableError as exc:
        if options.provider == "cuda":
            raise
        session = _cpu(onnxruntime, graph, threads)
        note = f"provider auto: runs on the CPU because {exc}"
        # With a driver there, the user most likely has a GPU and believes that it is in use.
        has_driver = Path("/proc/driver/nvidia/version").exists()
        _logger.log(logging.WARNING if has_driver else logging.INFO, note)
        return OnnxRuntimeSession(onnxruntime, session, threads, (note,))


def has_cuda() -> bool:
    """Whether this build has CUDA; a driver and CUDA's libraries may be missing all the same.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    return _CUDA in _import().get_available_providers()


def version() -> str:
    """The version that is installed.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    return str(_import().__version__)


class OnnxRuntimeSession:
    """A graph in ONNX Runtime; a `vinfer.backends.base.Session`."""

    def __init__(
        self, onnxruntime: ModuleType, session: Any, threads: int, notes: tuple[str, ...]
    ) -> None:
        self._session: Any | None = session
        self._lock = threading.Lock()
        self._inputs = tuple(_spec(node) for node in session.get_inputs())
        self._outputs = tuple(_spec(node) for node in session.get_outputs())
        self._output_names = [spec.name for spec in self._outputs]
        providers = tuple(session.get_providers())
        self._info = SessionInfo(
            backend="onnxruntime",
            version=onnxruntime.__version__,
            providers=providers,
            threads=threads,
            precision="as in the graph" + (", TF32 off" if providers[0] == _CUDA else ""),
            notes=notes,
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
            session = self._session
        if session is None:
            raise BackendError("the session is closed; load the graph again to run it")
        check_inputs(self._inputs, inputs)
        feeds = {name: np.asarray(array, order="C") for name, array in inputs.items()}
        try:
            arrays = session.run(self._output_names, feeds)
        except Exception as exc:  # onnxruntime's errors have no common class below Exception
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
            raise BackendError(f"the graph failed on {shapes}: {_cause(exc)}") from exc
        return dict(zip(self._output_names, arrays, strict=True))

    def describe(self) -> SessionInfo:
        """What really runs."""
        return self._info

    def close(self) -> None:
        """Free the graph's memory, once runs in other threads have ended; may be called again."""
        with self._lock:
            self._session = None


def _import() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as exc:
        raise MissingDependencyError(
            f"onnxruntime can't be imported ({exc}); install it with: pip install onnxruntime"
        ) from exc
    module: ModuleType = onnxruntime
    return module


def _cpu(onnxruntime: ModuleType, graph: bytes, threads: int) -> Any:
    try:
        return _create(onnxruntime, graph, threads, [_CPU])
    except Exception as exc:
        raise BackendError(
            f"onnxruntime {onnxruntime.__version__} can't load the graph: {_cause(exc)}; "
            "expected an ONNX model that it supports (IR 9, opset 17 run everywhere)"
        ) from exc


def _cuda(onnxruntime: ModuleType, graph: bytes, threads: int) -> Any:
    if _CUDA not in onnxruntime.get_available_providers():
        raise ProviderUnavailableError(
            f"CUDA is not in this build of onnxruntime {onnxruntime.__version__}; {_GET_CUDA}"
        )
    complaints = _preload_cuda(onnxruntime)
    # cuDNN's search by timing may pick another algorithm, so other last bits, at each start; TF32
    # would keep 10 bits of mantissa where the CPU keeps 23.
    cuda_options = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    try:
        session = _create(onnxruntime, graph, threads, [(_CUDA, cuda_options), _CPU])
    except Exception as exc:
        _cpu(onnxruntime, graph, threads)  # a graph that no provider can load is not CUDA's fault
        raise ProviderUnavailableError(f"CUDA failed to start: {_cause(exc)}; {_GET_CUDA}") from exc
    # Where CUDA's libraries are missing, onnxruntime gives a CPU session without an error.
    if session.get_providers()[0] != _CUDA:
        raise ProviderUnavailableError(
            f"CUDA was asked for, onnxruntime runs {session.get_providers()[0]}: "
            f"{complaints or 'its CUDA libraries or the driver can not be loaded'}; {_GET_CUDA}"
        )
    return session


def _preload_cuda(onnxruntime: ModuleType) -> str:
    """Load CUDA's libraries from the nvidia wheels; what onnxruntime says of those it misses."""
    if not hasattr(onnxruntime, "preload_dlls"):  # before 1.21
        return ""
    # It prints its complaints, and stdout may be our caller's JSON.
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        onnxruntime.preload_dlls()
    return "; ".join(printed.getvalue().split("\n")[:3]).strip("; ")


def _create(onnxruntime: ModuleType, graph: bytes, threads: int, providers: list[Any]) -> Any:
    options = onnxruntime.SessionOptions()
    # Fatal only: warnings are about the graph's making, errors also come as exceptions.
    options.log_severity_level = 4
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    # Workers spin for the next operator while a run lasts and sleep when it ends. Measured with
    # YOLOX-nano on 2 cores: never spinning makes a run 1.25 times slower (11.1 against 8.8 ms);
    # spinning on after it takes the cores from the next stage: a detector and a second session in
    # turn take 30.7 ms a frame, 17.3 ms so.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # A graph may name files for its weights. Nobody checked their hashes, and they would be looked
    # for in the current folder: here there can be none.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", "/dev/null"
    )
    # For vinfer's own nodes, faster than the function bodies that a graph may have for them.
    options.register_custom_ops_library(str(ort_library_path()))
    # enable_fallback=0: an error instead of text on stdout and a CPU session.
    return onnxruntime.InferenceSession(
        graph, sess_options=options, providers=providers, enable_fallback=0
    )


def _spec(node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        raise BackendError(
            f"{node.name!r} of the graph is a {node.type}, expected one of {', '.join(_DTYPES)}; "
            "export the graph with plain tensors as inputs and outputs"
        )
    # A free dimension is a name, None or, from a missing shape inference, a negative number.
    shape = tuple(
        dim if (isinstance(dim, int) and dim >= 0) or (isinstance(dim, str) and dim) else "?"
        for dim in node.shape
    )
    return TensorSpec(node.name, _DTYPES[node.type], shape)


def _cause(error: Exception, limit: int = 300) -> str:
    """The first line of a third-party error, without its code and C++ location."""
    text = str(error).strip() or type(error).__name__
    line = _LOCATION.sub("", _CODE.sub("", text.splitlines()[0]))
    return line if len(line) <= limit else line[: limit - 3] + "..."
