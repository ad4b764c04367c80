"""Random numbers that are a function of integers: the same on every platform and in any order.

No library's generator is involved, so that a picture, a batch or a frame depends only on its own
key, never on what was drawn before it. SplitMix64 is the finaliser of Steele, Lea and Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MASK = 2**64 - 1
INCREMENT = 0x9E3779B97F4A7C15
FIRST_FACTOR = 0xBF58476D1CE4E5B9
SECOND_FACTOR = 0x94D049BB133111EB

UInt64Array = npt.NDArray[np.uint64]
Key = int | npt.NDArray[np.integer]


def splitmix64(x: int) -> int:
    """One step of SplitMix64.

    Args:
        x: taken modulo 2**64; a negative one in two's complement.

    Returns:
        In [0, 2**64).
    """
    x = (x + INCREMENT) & MASK
    x = ((x ^ (x >> 30)) * FIRST_FACTOR) & MASK
    x = ((x ^ (x >> 27)) * SECOND_FACTOR) & MASK
    return x ^ (x >> 31)


def key64(*values: int) -> int:
    """Fold integers into one key: ``h = splitmix64(h ^ value)`` from ``h = 0``.

    Args:
        values: any integers, taken modulo 2**64; their order matters.

    Returns:
        In [0, 2**64); 0 for no values.
    """
    h = 0
    for value in values:
        h = splitmix64(h ^ (value & MASK))
    return h


def splitmix64_array(x: npt.NDArray[np.integer]) -> UInt64Array:
    """`splitmix64` of each element.

    Args:
        x: any integer dtype and shape; negative elements in two's complement.

    Returns:
        uint64, of the same shape.
    """
    # Products and sums of uint64 arrays wrap around without a warning, as is meant here.
    z = np.atleast_1d(x).astype(np.uint64) + np.uint64(INCREMENT)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST_FACTOR)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(SECOND_FACTOR)
    return (z ^ (z >> np.uint64(31))).reshape(np.shape(x))


def key64_array(*values: Key) -> UInt64Array:
    """`key64` element by element.

    Args:
        values: integers and integer arrays that broadcast together.

    Returns:
        uint64, of the broadcast shape.
    """
    h = np.zeros((), np.uint64)
    for value in values:
        element = (
            np.array(value & MASK, np.uint64) if isinstance(value, int) else value.astype(np.uint64)
        )
        h = splitmix64_array(np.asarray(h ^ element))
    return h
