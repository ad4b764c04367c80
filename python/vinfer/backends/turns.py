"""The time of calls that take turns, each as if the others were not there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

PAUSE_SECONDS = 0.02
"""Worker threads of ONNX Runtime, OpenMP and OpenVINO spin for some milliseconds after a call, on
the cores that the next one needs."""

BURST_SECONDS = 0.02
"""A turn of short calls: so long untimed, until threads are awake and data and code in the caches
again, then as many calls timed. One call after a pause took up to four times as long as one of
many."""

SHORT_SECONDS = 0.2
"""A call longer than this is timed without an untimed one: it hardly notices, and twice is much."""

MOST_CALLS = 100


def take_turns(
    calls: Sequence[Callable[[], object]],
    *,
    rounds: int,
    min_rounds: int = 1,
    max_seconds: float = math.inf,
) -> list[list[float]]:
    """Call each once untimed, which makes threads and memory; then all in turn.

    Args:
        calls: what is timed.
        rounds: at most; a round's order is the reverse of the last one's.
        min_rounds: take place whatever they take.
        max_seconds: no further round begins after so long.

    Returns:
        By round, the seconds of each: a call's, or the mean of a turn's calls.
    """
    for call in calls:
        call()
    began = time.perf_counter()
    expected = [_seconds(call, 1) for call in calls]
    taken: list[list[float]] = []
    for number in range(rounds):
        if number >= min_rounds and time.perf_counter() - began > max_seconds:
            break
        seconds = [0.0] * len(calls)
        for k in range(len(calls))[:: -1 if number % 2 else 1]:
            time.sleep(PAUSE_SECONDS)
            count = burst(expected[k])
            if expected[k] <= SHORT_SECONDS:
                _seconds(calls[k], count)
            seconds[k] = _seconds(calls[k], count)
        taken.append(seconds)
    return taken


def burst(seconds: float) -> int:
    """How many calls of such a length, > 0 s, make a turn: one at least."""
    return max(1, min(MOST_CALLS, round(BURST_SECONDS / max(seconds, 1e-9))))


def _seconds(call: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count
