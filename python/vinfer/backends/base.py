"""What every backend offers: load a graph, run it, say what really runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from vinfer.errors import BackendError, ConfigError, DTypeError, ShapeError

Array = npt.NDArray[Any]
Provider = Literal["auto", "cpu", "cuda"]


@dataclasses.dataclass(frozen=True, slots=True)
class SessionOptions:
    """How to run a graph.

    Attributes:
        provider: ``cpu``, ``cuda`` (an error where it can't be had) or ``auto``: CUDA where it can
            be had, else the CPU, and `SessionInfo.notes` says why.
        threads: threads for one run on the CPU; 0 is all cores that this process may use.

    Raises:
        ConfigError: an unknown provider or a negative number of threads.
    """

    provider: Provider = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        if self.provider not in get_args(Provider):
            known = ", ".join(get_args(Provider))
            raise ConfigError(f"provider: found {self.provider!r}, expected one of {known}")
        if self.threads < 0:
            raise ConfigError(
                f"threads: found {self.threads}, expected 0 (all cores) or the number of threads"
            )


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
