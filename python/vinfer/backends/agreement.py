"""Whether two backends compute the same of a graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vinfer.backends.base import Array, Precision, TensorSpec

# Of an output's largest value. bfloat16 keeps 8 bits; whether a model stands that, only its own
# metric tells, so that this is there to find a backend that computes something else.
TOLERANCE: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 0.1}


def sample_inputs(specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """Inputs that a graph takes: floats from 0 to 1, the same each time, other types zero.

    Zero is an index that every table has. Free dimensions are 1.
    """
    random = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    for spec in specs:
        shape = tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape)
        if np.issubdtype(np.dtype(spec.dtype), np.floating):
            arrays[spec.name] = np.asarray(random.random(shape)).astype(spec.dtype)
        else:
            arrays[spec.name] = np.zeros(shape, spec.dtype)
    return arrays


def difference(
    expected: Mapping[str, Array], found: Mapping[str, Array], tolerance: float
) -> str | None:
    """What differs; None where all outputs agree.

    Args:
        expected, found: outputs by name. Integers and truth values have to be equal.
        tolerance: largest difference of a float, relative to the output's largest expected value.
    """
    if set(expected) != set(found):
        return f"outputs {sorted(found)} in place of {sorted(expected)}"
    for name, wanted in expected.items():
        array = found[name]
        if array.shape != wanted.shape or array.dtype != wanted.dtype:
            return (
                f"output {name!r} is {array.dtype} {list(array.shape)} in place of "
                f"{wanted.dtype} {list(wanted.shape)}"
            )
        if not np.issubdtype(wanted.dtype, np.floating):
            if not np.array_equal(wanted, array):
                return f"output {name!r} has other integers or truth values"
            continue
        finite = np.isfinite(wanted)
        # NaN where NaN is expected, infinity of the same sign where infinity is.
        if not np.array_equal(array[~finite], wanted[~finite], equal_nan=True):
            return f"output {name!r} is not finite elsewhere"
        scale = float(np.abs(wanted[finite]).max(initial=0.0))
        gap = float(np.abs(array[finite].astype(np.float64) - wanted[finite]).max(initial=0.0))
        if not gap <= tolerance * scale + 1e-6:  # so that NaN is a difference
            return (
                f"output {name!r} differs by {gap:.2g} where values reach {scale:.2g} and "
                f"{tolerance:g} of that is allowed"
            )
    return None
