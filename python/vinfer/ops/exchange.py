"""Arrays of other libraries, in and out without a copy (DLPack, Python array API standard)."""

from __future__ import annotations

import functools
import sys
from typing import Any, Protocol, TypeVar

import numpy as np

from vinfer import _native
from vinfer.errors import DTypeError, InputError
from vinfer.ops.arguments import integer
from vinfer.threads import usable_threads

_CPU = 1
_CUDA = 2
_LEGACY_DEFAULT_STREAM = 1
_MAX_THREADS = 1024


class SupportsDLPack(Protocol):
    """An array of numpy, PyTorch, CuPy, JAX or another library of the array API standard."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __dlpack__(self, *, stream: Any = ...) -> Any: ...
    def __dlpack_device__(self) -> tuple[Any, Any]: ...


Array = TypeVar("Array", bound=SupportsDLPack)


# typed: True is no number of threads, though it equals 1.
@functools.lru_cache(maxsize=256, typed=True)
def call_options(num_threads: int | None, stream: int | None) -> _native.CallOptions:
    """How the native side runs a call; see `vinfer.ops` for the arguments.

    Raises:
        InputError: ``num_threads`` is not 1 to 1024, or ``stream`` not a stream's address.
    """
    if num_threads is None:
        # Asked once: it reads the files of the control group.
        num_threads = min(usable_threads(), _MAX_THREADS)
    threads = integer("num_threads", num_threads)
    if not 1 <= threads <= _MAX_THREADS:
        raise InputError(f"num_threads: found {threads}, expected 1 to {_MAX_THREADS}")
    if stream is not None and (not isinstance(stream, int) or stream < 0):
        raise InputError(f"stream: found {stream!r}, expected the address of a CUDA stream")
    return _native.CallOptions(threads, "", stream or _LEGACY_DEFAULT_STREAM)


def to_native(name: str, array: Any, stream: int | None) -> Any:
    """What the native side takes: a numpy array, or the capsule of an array on a GPU.

    Raises:
        DTypeError: it is no array, or of a type that numpy does not know, such as bfloat16.
        InputError: its library does not give it away, or it is on another kind of device.
    """
    if isinstance(array, np.ndarray) or array is None:
        return array
    if not hasattr(array, "__dlpack__") or not hasattr(array, "__dlpack_device__"):
        return array  # the native side says what was expected
    device, _ = array.__dlpack_device__()
    try:
        if device == _CPU:
            return np.from_dlpack(array)
        if device == _CUDA:
            return array.__dlpack__(stream=stream or _LEGACY_DEFAULT_STREAM)
    except (BufferError, RuntimeError, TypeError, ValueError) as exc:
        if "dtype" in str(exc) or "type" in str(exc):
            raise DTypeError(f"{name}: its library could not give it as a tensor: {exc}") from exc
        raise InputError(f"{name}: its library could not give it as a tensor: {exc}") from exc
    raise InputError(
        f"{name}: found an array on DLPack device {int(device)}, expected the CPU or an NVIDIA GPU"
    )


def like(array: Any, result: Any) -> Any:
    """A native result as an array of the library that ``array`` is of."""
    if isinstance(array, np.ndarray):
        return result
    namespace = getattr(array, "__array_namespace__", None)
    module = namespace() if namespace else sys.modules[type(array).__module__.partition(".")[0]]
    return module.from_dlpack(result)
