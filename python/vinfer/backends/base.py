"""What every backend offers: load a graph, run it, say what really runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from vinfer.errors import BackendError, ConfigError, DTypeError, ModelOutputError, ShapeError

Array = npt.NDArray[Any]
Provider = Literal["auto", "cpu", "cuda"]
Backend = Literal["onnxruntime", "openvino", "auto"]
Precision = Literal["float32", "bfloat16"]


@dataclasses.dataclass(frozen=True, slots=True)
class SessionOptions:
    """How to run a graph.

    Attributes:
        provider: ``cpu``, ``cuda`` (an error where it can't be had) or ``auto``: CUDA where it can
            be had, else the CPU, and `SessionInfo.notes` says why.
        threads: threads for one run on the CPU; 0 is all cores that this process may use.
        backend: ``onnxruntime``, ``openvino`` (CPU only; an error where it can't be had) or
            ``auto``: the faster one of those installed, measured once on this machine and kept
            (docs/backends.md).
        precision: of the arithmetic; ``bfloat16`` is OpenVINO's, on processors that have it.
        concurrent_runs: runs at the same time that are to have threads of their own. OpenVINO has
            to know when it loads a graph; ONNX Runtime does not.

    Raises:
        ConfigError: an unknown name, or a number that is out of range.
    """

    provider: Provider = "auto"
    threads: int = 0
    backend: Backend = "onnxruntime"
    precision: Precision = "float32"
    concurrent_runs: int = 1

    def __post_init__(self) -> None:
        for name, found, choices in (
            ("provider", self.provider, get_args(Provider)),
            ("backend", self.backend, get_args(Backend)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if found not in choices:
                raise ConfigError(f"{name}: found {found!r}, expected one of {', '.join(choices)}")
        if self.threads < 0:
            raise ConfigError(
                f"threads: found {self.threads}, expected 0 (all cores) or the number of threads"
            )
        if self.concurrent_runs < 1:
            raise ConfigError(f"concurrent_runs: found {self.concurrent_runs}, expected 1 or more")


@dataclasses.dataclass(frozen=True, slots=True)
class TensorSpec:
    """A graph input or output.

    Attributes:
        name: its name in the graph.
        dtype: name of the numpy dtype, ``float32`` for example.
        shape: numbers, names of free dimensions, and ``?`` for a free one without a name; empty for
            a scalar and where the graph does not state the rank.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SessionInfo:
    """What really runs.

    Attributes:
        backend: name of the library.
        version: its version.
        providers: execution providers of this session in order of preference, as the library
            reports them after loading.
        threads: CPU threads for one run.
        precision: of the arithmetic.
        notes: what the user should know, such as why ``auto`` did not take the GPU.
    """

    backend: str
    version: str
    providers: tuple[str, ...]
    threads: int
    precision: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready record."""
        return {**dataclasses.asdict(self), "providers": list(self.providers)} | {
            "notes": list(self.notes)
        }


class Session(Protocol):
    """One loaded graph. `run` may be called from several threads at once."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs."""
        ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once.

        Args:
            inputs: an array for every input, by name, of the dtype and shape in `inputs`.

        Returns:
            Every output by name; the arrays are the caller's.

        Raises:
            DTypeError, ShapeError: an array is not what the graph takes.
            BackendError: an input is missing or unknown, the session is closed, or the run failed.
        """
        ...

    def describe(self) -> SessionInfo:
        """What really runs."""
        ...

    def close(self) -> None:
        """Free the graph's memory, once runs in other threads have ended; may be called again."""
        ...


def check_inputs(specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array]) -> None:
    """Check arrays against a graph's inputs, so that errors are ours and say what to change.

    A free dimension may have any size, but the same one wherever its name occurs.

    Raises:
        DTypeError, ShapeError: an array is not what the graph takes.
        BackendError: an input is missing or unknown.
    """
    wanted = [spec.name for spec in specs]
    missing = [name for name in wanted if name not in inputs]
    unknown = [name for name in inputs if name not in wanted]
    if missing or unknown:
        raise BackendError(
            f"inputs: found {_listed(list(inputs))}, expected {_listed(wanted)}; "
            + "; ".join(
                [f"add {_listed(missing)}"] * bool(missing)
                + [f"remove {_listed(unknown)}"] * bool(unknown)
            )
        )
    sizes: dict[str, tuple[int, str]] = {}
    for spec in specs:
        array = inputs[spec.name]
        if not isinstance(array, np.ndarray):
            raise DTypeError(
                f"input {spec.name!r}: found {type(array).__name__}, expected a numpy array of "
                f"{spec.dtype}"
            )
        if array.dtype != np.dtype(spec.dtype):
            raise DTypeError(
                f"input {spec.name!r}: found {array.dtype}, expected {spec.dtype}; "
                f"convert with .astype(np.{spec.dtype})"
            )
        _check_shape(spec, array.shape, sizes)


def check_outputs(
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    given: Mapping[str, Array],
    found: Mapping[str, Array],
) -> None:
    """Check arrays against what the graph states of its outputs, where it states a rank.

    Args:
        inputs, outputs: of the graph.
        given: the inputs, checked already.
        found: the outputs.

    Raises:
        ModelOutputError: another rank or size; a free dimension of an input's name has its size.
    """
    sizes: dict[int | str, int] = {}
    for spec in inputs:
        if spec.shape:
            named = zip(spec.shape, given[spec.name].shape, strict=True)
            sizes |= {dim: size for dim, size in named if isinstance(dim, str) and dim != "?"}
    for spec in outputs:
        shape, stated = found[spec.name].shape, spec.shape
        fits = len(shape) == len(stated) and all(
            size == (dim if isinstance(dim, int) else sizes.get(dim, size))
            for size, dim in zip(shape, stated, strict=True)
        )
        if stated and not fits:
            known = "".join(f", {dim} = {sizes[dim]}" for dim in stated if dim in sizes)
            raise ModelOutputError(
                f"output {spec.name!r}: found shape {list(shape)}, the graph states "
                f"[{', '.join(map(str, stated))}]{known}; use another backend for it"
            )


def _check_shape(
    spec: TensorSpec, shape: tuple[int, ...], sizes: dict[str, tuple[int, str]]
) -> None:
    expected = f"[{', '.join(map(str, spec.shape))}]"
    if not spec.shape:
        return  # a scalar or any rank, ONNX Runtime tells them apart when it runs, not before
    if len(shape) != len(spec.shape):
        raise ShapeError(f"input {spec.name!r}: found shape {list(shape)}, expected {expected}")
    for size, dim in zip(shape, spec.shape, strict=True):
        if isinstance(dim, int):
            if size != dim:
                raise ShapeError(
                    f"input {spec.name!r}: found shape {list(shape)}, expected {expected}"
                )
        elif dim != "?":
            known, where = sizes.setdefault(dim, (size, spec.name))
            if size != known:
                raise ShapeError(
                    f"input {spec.name!r}: found shape {list(shape)}, expected {expected} with "
                    f"{dim} = {known} as in {where!r}"
                )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
