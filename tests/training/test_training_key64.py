"""SplitMix64 and its folding: published values, and the array form against the plain one."""

import numpy as np
import pytest

from vinfer.training.key64 import key64, key64_array, splitmix64, splitmix64_array

# From an independent implementation on Python integers; 0 is also Java's SplittableRandom(0).
KNOWN = {
    (0,): 16294208416658607535,
    (1,): 10451216379200822465,
    (1, 2, 3): 15020427595393229491,
    (7,): 7191089600892374487,
    (1, 0, 0, 5, 0, 2): 9846412708452352224,
}


@pytest.mark.parametrize(("values", "expected"), KNOWN.items())
def test_known_values(values: tuple[int, ...], expected: int) -> None:
    assert key64(*values) == expected
    assert key64_array(*values).item() == expected
    assert key64_array(*(np.array([v]) for v in values)).tolist() == [expected]
    if len(values) == 1:
        assert splitmix64(*values) == expected
        assert splitmix64_array(np.array(values)).tolist() == [expected]


def test_arrays_give_what_integers_give() -> None:
    first = np.array([-(2**63), -1, 0, 1, 2**63 - 1])
    second = np.arange(3, dtype=np.uint8)[:, None]
    keys = key64_array(-5, first, second, 2**64 - 1)
    assert keys.shape == (3, 5)
    assert keys.dtype == np.uint64
    expected = [[key64(-5, a, b, 2**64 - 1) for a in first.tolist()] for b in range(3)]
    assert keys.tolist() == expected


def test_integers_are_taken_modulo_two_to_the_64() -> None:
    assert splitmix64(-1) == splitmix64(2**64 - 1)
    assert key64(2**64 + 3) == key64(3)
    assert key64() == 0
    assert key64(1, 2) != key64(2, 1)


def test_shapes_are_kept_and_empty_arrays_are_allowed() -> None:
    assert splitmix64_array(np.zeros((2, 0), np.int32)).shape == (2, 0)
    assert splitmix64_array(np.array(0)).shape == ()
    assert key64_array(1, np.zeros(0, np.int64)).shape == (0,)
