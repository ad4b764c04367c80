from __future__ import annotations

from typing import Any

import golden
import numpy as np
import numpy.typing as npt
import pytest
import references
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer import ops
from vinfer.errors import DTypeError, InputError, ShapeError

GOLDEN = golden.load("weldon_pool")
CASES = {case["name"]: case for case in GOLDEN["weldon"]}


def one_map(values: Any) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


@pytest.mark.parametrize("name", CASES)
def test_known_values(name: str) -> None:
    case = CASES[name]
    x = one_map([float(v) for v in case["x"]])
    k_max, k_min, alpha = case["k_max"], case["k_min"], case["alpha"]
    pooled, top, low = ops.weldon_pool(x, k_max, k_min, alpha, return_indices=True)
    np.testing.assert_allclose(pooled.item(), float(case["y"]), rtol=1e-6)
    assert top.ravel().tolist() == case["top"]
    assert low.ravel().tolist() == case["low"]
    np.testing.assert_array_equal(ops.weldon_pool(x, k_max, k_min, alpha), pooled)


def test_known_batch() -> None:
    case = GOLDEN["weldon_nchw"]
    x = np.array(case["x"], np.float32)
    pooled = ops.weldon_pool(x, case["k_max"], case["k_min"], case["alpha"])
    np.testing.assert_allclose(pooled, case["y"], rtol=1e-6)


def test_known_float16() -> None:
    """Sums are not kept in float16, where they would stop growing or overflow."""
    case = GOLDEN["weldon_fp16"]
    i = np.arange(4096)
    x = (1 + (i % 8) / 64).astype(np.float16).reshape(1, 1, 64, 64)
    assert x.sum(dtype=np.float64) == case["sum_exact"]
    pooled = ops.weldon_pool(x, 4096, 0)
    assert pooled.dtype == np.float16
    assert pooled.item() == case["y"] != case["fp16_running_y"]
    large = (1000 + 0.5 * (i[:2048] % 8)).astype(np.float16).reshape(1, 1, 32, 64)
    # The halves need a bit more than float16 has up there: 2003.5 lies between 2003 and 2004.
    twice = ops.weldon_pool(large, 2048, 2048, 1.0).item()
    assert twice == np.float16(case["large"]["y"])
    assert ops.weldon_pool(large.astype(np.float32), 2048, 2048, 1.0).item() == case["large"]["y"]


@pytest.mark.parametrize(("k_max", "k_min"), [(1, 1), (16, 16), (3, 40), (169, 0), (400, 400)])
@pytest.mark.parametrize("ties", [False, True])
def test_random_maps_against_float64(k_max: int, k_min: int, ties: bool) -> None:
    rng = np.random.default_rng(40)
    x = rng.standard_normal((2, 5, 13, 13)).astype(np.float32)
    if ties:
        x = np.round(x)
    pooled, top, low = ops.weldon_pool(x, k_max, k_min, 0.7, return_indices=True)
    assert top.dtype == low.dtype == np.int64
    for n, c in np.ndindex(2, 5):
        expected = references.weldon_pool(x[n, c].ravel().tolist(), k_max, k_min, 0.7)
        assert abs(pooled[n, c] - expected[0]) <= 1e-5 * np.abs(x[n, c]).mean()
        assert top[n, c].tolist() == expected[1]
        assert low[n, c].tolist() == expected[2]


def long_maps(size: int) -> npt.NDArray[np.float32]:
    """Maps that a search among groups of values finds easy, hard and impossible."""
    rng = np.random.default_rng(41)
    values = rng.standard_normal(size).astype(np.float32)
    spikes = np.zeros(size, np.float32)
    spikes[rng.integers(0, size, 40)] = rng.standard_normal(40)
    one_group = -np.abs(values)
    one_group[:: 128 if size > 2560 else 32] *= -1
    return np.stack(
        [
            values,
            np.sort(values),
            np.sort(values)[::-1],
            np.round(values),
            np.exp(8 * values),
            spikes,
            one_group,
            np.full(size, 0.1, np.float32),
            np.where(np.arange(size) < size - 5, -0.0, 1.0).astype(np.float32),
        ]
    )[None, :, None]


@pytest.mark.parametrize("size", [257, 405, 1000, 1620, 2049, 6427])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_long_maps_are_pooled_as_the_definition_says(size: int, dtype: Any) -> None:
    """With indices the op selects by another algorithm; the sums are defined to the bit."""
    x = np.clip(long_maps(size), -6e4, 6e4).astype(dtype)
    for k_max, k_min in [(1, 1), (2, 1), (16, 16), (17, 0), (64, 3), (65, 64), (300, 1)]:
        expected = ops.weldon_pool(x, k_max, k_min, 0.75, return_indices=True)[0]
        np.testing.assert_array_equal(ops.weldon_pool(x, k_max, k_min, 0.75), expected)


@pytest.mark.parametrize("place", [0, 31, 700, 1599, 1600, 1619])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", [1, 16, 64])
def test_values_that_are_not_finite_are_seen_anywhere(place: int, value: float, k: int) -> None:
    x = np.random.default_rng(42).standard_normal((1, 2, 1, 1620)).astype(np.float32)
    x[0, 1, 0, place] = value
    expected = ops.weldon_pool(x, k, k, 0.75, return_indices=True)[0]
    assert np.isfinite(expected).tolist() == [[True, False]]
    np.testing.assert_array_equal(ops.weldon_pool(x, k, k, 0.75), expected)


def test_a_long_sum_does_not_drift() -> None:
    x = np.full((1, 1, 1000, 1000), 0.1, np.float32)
    pooled = ops.weldon_pool(x, 1_000_000, 0)
    np.testing.assert_array_equal(pooled, np.float32(0.1))


values = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(values=values, k_max=st.integers(1, 50), k_min=st.integers(1, 50))
def test_terms_are_bounded_by_the_map(values: list[float], k_max: int, k_min: int) -> None:
    x = one_map(values)
    high = ops.weldon_pool(x, k_max, 0).item()
    low = ops.weldon_pool(x, k_max, k_min).item() - high
    slack = 1e-3  # of the subtraction above
    assert np.float32(np.mean(values)) - slack <= high <= x.max()
    assert x.min() - slack <= low <= np.mean(values) + slack


@settings(derandomize=True, deadline=None, max_examples=60)
@given(values=values, data=st.data())
def test_order_of_positions_does_not_matter(values: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(values))
    pooled = ops.weldon_pool(one_map(values), 5, 3, 0.5).item()
    scale = np.abs(values).max()
    assert abs(ops.weldon_pool(one_map(shuffled), 5, 3, 0.5).item() - pooled) <= 1e-6 * scale


@settings(derandomize=True, deadline=None, max_examples=60)
@given(values=values, shift=st.integers(-100, 100), scale=st.sampled_from([0.25, 2.0, 8.0]))
def test_shift_and_scale_carry_over(values: list[float], shift: int, scale: float) -> None:
    pooled = ops.weldon_pool(one_map(values), 4, 2, 0.5).item()
    scaled = ops.weldon_pool(one_map(values) * np.float32(scale), 4, 2, 0.5).item()
    assert scaled == pytest.approx(scale * pooled, rel=1e-6, abs=1e-30)
    shifted = ops.weldon_pool(one_map(values) + np.float32(shift), 4, 2, 0.5).item()
    assert shifted == pytest.approx(pooled + 1.5 * shift, abs=1e-3)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(values=values, k_max=st.integers(1, 50), k_min=st.integers(1, 50))
def test_the_lowest_are_the_highest_of_the_negated_map(
    values: list[float], k_max: int, k_min: int
) -> None:
    x = one_map(values)
    pooled, top, low = ops.weldon_pool(x, k_max, k_min, return_indices=True)
    negated, negated_top, negated_low = ops.weldon_pool(-x, k_min, k_max, return_indices=True)
    np.testing.assert_array_equal(negated, -pooled)
    np.testing.assert_array_equal(negated_top, low)
    np.testing.assert_array_equal(negated_low, top)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(values=values, k=st.integers(1, 50), alpha=st.floats(-2, 2, width=32))
def test_positions_hold_what_was_pooled(values: list[float], k: int, alpha: float) -> None:
    x = one_map(values)
    pooled, top, low = ops.weldon_pool(x, k, k, alpha, return_indices=True)
    exact = x.ravel().astype(np.float64)
    expected = exact[top].mean() + (alpha * exact[low].mean() if alpha else 0.0)
    scale = (1 + abs(alpha)) * np.abs(exact).max()
    assert abs(pooled.item() - expected) <= 1e-6 * scale
    assert len(set(top.ravel().tolist())) == len(set(low.ravel().tolist())) == min(k, len(values))


def test_a_nan_stays_in_its_map() -> None:
    x = np.ones((2, 2, 3, 3), np.float32)
    x[1, 0, 2, 1] = np.nan
    pooled, top, low = ops.weldon_pool(x, 2, 1, return_indices=True)
    np.testing.assert_array_equal(pooled, [[2, 2], [np.nan, 2]])
    assert top[1, 0].tolist() == [-1, -1]
    assert low[1, 0].tolist() == [-1]
    assert top[1, 1].tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 0, 2, 2)])
def test_no_maps_give_an_empty_result(shape: tuple[int, ...]) -> None:
    pooled, top, low = ops.weldon_pool(np.zeros(shape, np.float32), 2, 9, return_indices=True)
    assert pooled.shape == shape[:2]
    assert top.shape == (*shape[:2], 2)
    assert low.shape == (*shape[:2], 4)


def test_memory_layout_does_not_matter() -> None:
    x = np.random.default_rng(41).standard_normal((2, 6, 5, 4)).astype(np.float32)
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(ops.weldon_pool(channels_last, 3, 2), ops.weldon_pool(x, 3, 2))


X = np.ones((1, 2, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"x": X.astype(np.int16)}, DTypeError, "x: found dtype int16, expected float32"),
        ({"x": None}, DTypeError, "x: found NoneType"),
        ({"x": X[0]}, ShapeError, r"x: found shape \[2, 3, 3\], expected \[N, C, H, W\]"),
        ({"x": X[:, :, :0]}, ShapeError, r"x has shape \[1, 2, 0, 3\]"),
        ({"k_max": 0}, InputError, "k_max is 0, expected at least 1"),
        ({"k_min": -1}, InputError, "k_min is -1, expected at least 1, or 0"),
        ({"k_max": 2.5}, InputError, "k_max: found 2.5, expected an integer"),
        ({"k_max": 2**40}, InputError, "k_max: found 1099511627776, expected at most"),
        ({"alpha": float("inf")}, InputError, "alpha is inf"),
        ({"alpha": None}, InputError, "alpha: found None, expected a number"),
    ],
)
def test_refusals(changed: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {"x": X, "k_max": 2, "k_min": 2}
    with pytest.raises(error, match=text):
        ops.weldon_pool(**{**arguments, **changed})
