"""Intervals, bounds and spreads against published values."""

import math

import numpy as np
import pytest

from vinfer.errors import InputError
from vinfer.evaluation.uncertainty import (
    RunMean,
    bootstrap_interval,
    mean_over_runs,
    poisson_upper_bound,
    wilson_interval,
)


def test_wilson_interval_known() -> None:
    # Wilson 1927; the usual textbook values for 9 of 10 and for none of 10.
    assert wilson_interval(9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_bootstrap_draws_whole_groups() -> None:
    groups = np.array([0, 0, 0, 1], np.int64)
    values = np.array([1.0, 1.0, 1.0, 0.0])
    low, high = bootstrap_interval(groups, lambda drawn: float(values[drawn].mean())) or (0, 0)
    # Both groups, one of them twice, or the other twice: 3/4, 1 or 0.
    assert (low, high) == (0.0, 1.0)
    assert bootstrap_interval(groups, lambda drawn: None) is None


@pytest.mark.parametrize(
    ("count", "bound"),
    # Half the 95 % points of chi-square with 2 (count + 1) degrees of freedom, from printed tables.
    [(0, 5.9915 / 2), (1, 9.4877 / 2), (2, 12.5916 / 2), (4, 18.3070 / 2), (14, 43.7730 / 2)],
)
def test_poisson_bound_known(count: int, bound: float) -> None:
    assert poisson_upper_bound(count) == pytest.approx(bound, abs=5e-5)


def test_poisson_bound_of_many_and_of_none() -> None:
    assert poisson_upper_bound(0, confidence=0.99) == pytest.approx(-math.log(0.01))
    # Normal approximation, 1.645 standard deviations; its own error is below 2 here.
    assert poisson_upper_bound(10_000) == pytest.approx(10_000 + 1.645 * 100, abs=2)
    with pytest.raises(InputError, match="count: found -1"):
        poisson_upper_bound(-1)
    with pytest.raises(InputError, match="confidence: found 1"):
        poisson_upper_bound(0, confidence=1)


def test_mean_over_runs_known() -> None:
    # 2, 4, 4, 4, 5, 5, 7, 9: mean 5, sum of squares 32, divided by 7 for a sample.
    found = mean_over_runs([2, 4, None, 4, 4, 5, 5, 7, 9])
    assert found == RunMean(5, pytest.approx(math.sqrt(32 / 7)), 8)
    assert mean_over_runs([9, 7, 5, 5, 4, 4, 4, None, 2]) == found


def test_mean_over_few_runs() -> None:
    assert mean_over_runs([0.5]) == RunMean(0.5, None, 1)
    assert mean_over_runs([None]) == mean_over_runs([]) == RunMean(None, None, 0)
    with pytest.raises(InputError, match="NaN"):
        mean_over_runs([0.5, math.nan])
