"""How sure a measured figure is: intervals, bounds of rates, spread over runs."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from vinfer.errors import InputError
from vinfer.types import Int64Array


def wilson_interval(right: int, found: int, *, z: float = 1.96) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927); 95 % for ``z`` 1.96. (0, 1) for none found."""
    if found == 0:
        return 0.0, 1.0
    share = right / found
    centre = share + z * z / (2 * found)
    half = z * math.sqrt(share * (1 - share) / found + z * z / (4 * found * found))
    scale = 1 + z * z / found
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def bootstrap_interval(
    groups: Int64Array,
    statistic: Callable[[Int64Array], float | None],
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % percentile interval of a figure over samples that come in groups, such as pictures.

    Args:
        groups: int64 ``[m]``, the group of each sample; groups are drawn whole, with replacement.
        statistic: takes sample indices (with repeats); None where it is undefined.
        repeats: number of draws.
        seed: of the draws.

    Returns:
        Lower and upper bound over the draws where it is defined; None if it never is.
    """
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(repeats):
        drawn = generator.integers(len(members), size=len(members))
        value = statistic(np.concatenate([members[k] for k in drawn]))
        if value is not None:
            values.append(value)
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def poisson_upper_bound(count: int, *, confidence: float = 0.95) -> float:
    """Largest mean that ``count`` events still agree with (exact, one-sided; Garwood 1936).

    For none seen it is -ln(1 - confidence), about 3 at 95 %: the rule of three.

    Args:
        count: events seen, 0 or more.
        confidence: in (0, 1).

    Raises:
        InputError: an argument is out of range.
    """
    if count < 0:
        raise InputError(f"count: found {count}, expected 0 or more")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: found {confidence}, expected a number in (0, 1)")
    k = np.arange(count + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    low, high = 0.0, count + 20 * math.sqrt(count + 1) + 20 - math.log1p(-confidence)
    for _ in range(60):  # to the last bit of a double
        mean = (low + high) / 2
        # P(at most `count` events), by terms in logarithms: a mean of thousands would underflow.
        terms = np.exp(k * math.log(mean) - mean - log_factorial)
        if float(terms.sum()) > 1 - confidence:
            low = mean
        else:
            high = mean
    return high


@dataclasses.dataclass(frozen=True, slots=True)
class RunMean:
    """A figure over several runs.

    Attributes:
        mean: over the runs where it is defined; None if there is none.
        std: their sample standard deviation (ddof 1); None with fewer than two.
        runs: how many there are.
    """

    mean: float | None
    std: float | None
    runs: int


def mean_over_runs(values: Sequence[float | None]) -> RunMean:
    """Mean and sample standard deviation of a figure that was measured once a run.

    Args:
        values: one a run; None where the figure was not defined.

    Raises:
        InputError: a value is NaN.
    """
    defined = sorted(value for value in values if value is not None)
    if any(math.isnan(value) for value in defined):
        raise InputError("values: found NaN, expected numbers, or None for an undefined figure")
    return RunMean(
        mean=statistics.fmean(defined) if defined else None,
        std=statistics.stdev(defined) if len(defined) > 1 else None,
        runs=len(defined),
    )
