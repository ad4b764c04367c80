"""Times on the GPU, cold caches: events around each call, the L2 cache flushed before it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.ops.contest import in_turn

ROUNDS, CALLS = 7, 5
COPY_BYTES = 2**30


def new_event() -> Any:
    event: Any = torch.cuda.Event
    return event(enable_timing=True)


class Timer:
    """Takes turns among contestants; times are milliseconds."""

    def __init__(self) -> None:
        # Longer to write than it takes to enqueue a call from Python, so that the GPU never waits
        # for the host between the two events; and many times the L2 cache.
        self._flush = torch.empty(2**30, dtype=torch.uint8, device="cuda")

    def race(self, contestants: Mapping[str, Callable[[], Any]]) -> dict[str, list[list[float]]]:
        """Rounds of everybody in turn."""
        samples: dict[str, list[list[float]]] = {name: [] for name in contestants}
        for number in range(ROUNDS):
            for name in in_turn(list(contestants), number):
                samples[name].append(self._timed(contestants[name]))
        return samples

    def _timed(self, call: Callable[[], Any]) -> list[float]:
        pairs = []
        for _ in range(CALLS):
            began = new_event()
            ended = new_event()
            self._flush.zero_()
            began.record()
            call()
            ended.record()
            pairs.append((began, ended))
        torch.cuda.synchronize()
        return [began.elapsed_time(ended) for began, ended in pairs]

    def host_microseconds(self, call: Callable[[], Any]) -> float:
        """What a call costs the calling thread: it returns before the GPU is done."""
        torch.cuda.synchronize()
        taken = []
        for _ in range(50):
            began = time.perf_counter()
            call()
            taken.append((time.perf_counter() - began) * 1e6)
        torch.cuda.synchronize()
        return statistics.median(taken)

    def copy_bandwidth(self) -> float:
        """Bytes a second of a device-to-device copy, reads and writes added up."""
        source = torch.ones(COPY_BYTES // 4, device="cuda")
        target = torch.empty_like(source)
        times = self.race({"copy": lambda: target.copy_(source)})["copy"]
        return 2 * COPY_BYTES / (min(t for one in times for t in one) * 1e-3)


def summary(rounds: list[list[float]]) -> dict[str, float]:
    taken = sorted(t for one in rounds for t in one)
    return {
        "median": statistics.median(taken),
        "p95": taken[min(len(taken) - 1, int(0.95 * len(taken)))],
        "min": taken[0],
    }
