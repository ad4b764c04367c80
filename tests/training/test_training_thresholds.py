"""Choosing the scores that open events."""

import numpy as np
import pytest

from vinfer.training.thresholds import LEAST_FOUND, choose_thresholds, event_thresholds

PREDICATES = ("on", "ride")


def pairs(rows: list[tuple[float, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``on``: score, right, wrong. ``ride`` never scores."""
    scores = np.concatenate([np.full(right + wrong, score) for score, right, wrong in rows])
    right = np.concatenate([np.arange(r + w) < r for _, r, w in rows])
    zero = np.zeros(len(scores))
    return (
        np.stack([scores, zero], 1).astype(np.float32),
        np.stack([right, zero > 0], 1),
    )


def test_the_lowest_precise_threshold_is_taken() -> None:
    chosen = choose_thresholds(*pairs([(0.55, 10, 30), (0.62, 20, 20), (0.9, 50, 5)]), PREDICATES)
    assert set(chosen) == {"on"}  # ride has nothing to choose from
    measured = chosen["on"]
    # From 0.55: 80 of 135. From 0.60: 70 of 95.
    assert (measured.threshold, measured.right, measured.found) == (0.6, 70, 95)
    assert measured.described == 80
    assert measured.precision == pytest.approx(70 / 95)
    thresholds = event_thresholds(chosen)["on"]
    assert (thresholds.on, thresholds.off) == (0.6, 0.4)


def test_precise_on_too_few_is_not_enough() -> None:
    few = LEAST_FOUND - 1
    assert choose_thresholds(*pairs([(0.55, 10, 90), (0.9, few, 0)]), PREDICATES) == {}
    chosen = choose_thresholds(*pairs([(0.55, 10, 90), (0.9, few + 1, 0)]), PREDICATES)
    assert chosen["on"].threshold == 0.6


def test_no_event_that_is_less_likely_than_not() -> None:
    chosen = choose_thresholds(*pairs([(0.2, 100, 0)]), PREDICATES)
    assert chosen == {}


def test_a_score_on_the_threshold_counts() -> None:
    chosen = choose_thresholds(*pairs([(np.float32(0.7), 40, 0), (0.55, 0, 100)]), PREDICATES)
    assert chosen["on"].threshold == 0.6
    assert chosen["on"].found == 40
