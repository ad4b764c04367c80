"""One case of a benchmark: who takes part, whether they agree, and how long each takes."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vinfer.backends.turns import PAUSE_SECONDS, SHORT_SECONDS, burst

ROUND_SECONDS = 0.004
MIN_ROUNDS, MAX_ROUNDS = 3, 15
# A peer this many times slower than the fastest one can't be the fastest: it gets a single round.
HOPELESS = 2.5


class Absent(Exception):
    """A contestant can't take part in any case, or in this one; the text says why."""


@dataclasses.dataclass
class Contestant:
    """Something that computes the case.

    Attributes:
        variants: ways of doing the same; the fastest is raced. Each writes and gives its result.
        tolerance: largest accepted |difference| from `vinfer.ops`.
        note: what a reader of the table has to know.
    """

    variants: Mapping[str, Callable[[], Any]]
    tolerance: float = 0.0
    note: str = ""


@dataclasses.dataclass
class Case:
    """One line of the table.

    Attributes:
        moved_bytes: least traffic with memory: what is read once plus the result.
        flops: additions and multiplications of the cheapest known algorithm.
        make: name -> a function that sets the contestant up for this case. "vinfer" is first.
    """

    op: str
    name: str
    parameters: dict[str, Any]
    moved_bytes: int
    flops: int
    make: Mapping[str, Callable[[], Contestant]]


# Contestants that are ours: they are compared with each other and with peers, but are no peers.
OURS = ("vinfer", "vinfer, new output", "vinfer in ONNX Runtime")


def run_case(case: Case, seconds: float) -> dict[str, Any]:
    """Agreement first, then the race: the JSON-ready line of a case."""
    contestants: dict[str, Contestant] = {}
    absent: dict[str, str] = {}
    for name, make in case.make.items():
        try:
            contestants[name] = make()
        except Absent as exc:
            absent[name] = str(exc)
    difference: dict[str, float] = {}
    ours = np.array(_only(contestants["vinfer"])(), dtype=np.float32)
    for name, contestant in list(contestants.items()):
        for variant, call in contestant.variants.items():
            result = np.asarray(call())
            if result.shape != ours.shape:
                worst = math.inf
            else:
                worst = float(np.max(np.abs(result - ours), initial=0.0))
            difference[name] = max(difference.get(name, 0.0), worst)
            if not worst <= contestant.tolerance:
                absent[name] = (
                    f"disagrees ({variant}): {worst:.3g}, accepted {contestant.tolerance:.3g}"
                )
                contestants.pop(name, None)
    if "vinfer" not in contestants:
        raise SystemExit(f"{case.op} {case.name}: vinfer does not agree with itself")
    raced, slow = _choose(contestants)
    samples = _race(raced, seconds)
    times = {name: _summary(rounds) for name, rounds in samples.items()}
    times |= {name: _summary([taken]) for name, taken in slow.items()}
    peers = [name for name in times if name not in OURS]
    line: dict[str, Any] = {
        "op": case.op,
        "case": case.name,
        "parameters": case.parameters,
        "moved_bytes": case.moved_bytes,
        "flops": case.flops,
        "times_ms": times,
        "difference": difference,
        "tolerance": {name: c.tolerance for name, c in contestants.items()},
        "notes": {name: c.note for name, c in contestants.items() if c.note},
        "absent": absent,
    }
    if peers:
        fastest = min(peers, key=lambda name: float(times[name]["median"]))
        line["fastest_peer"] = fastest
        line["ratio"] = {
            name: statistics.median(
                statistics.median(theirs) / statistics.median(mine)
                for theirs, mine in zip(samples[fastest], samples[name], strict=True)
            )
            for name in OURS
            if name in samples
        }
    return line


def _only(contestant: Contestant) -> Callable[[], Any]:
    return next(iter(contestant.variants.values()))


def _timed(call: Callable[[], Any], calls: int) -> list[float]:
    taken = []
    for _ in range(calls):
        began = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - began) * 1e-9)
    return taken


def _choose(
    contestants: Mapping[str, Contestant],
) -> tuple[dict[str, tuple[Callable[[], Any], float]], dict[str, list[float]]]:
    """The fastest variant of each with an estimate, and the times of those not worth racing."""
    best: dict[str, tuple[Callable[[], Any], float, list[float]]] = {}
    for name, contestant in contestants.items():
        for call in contestant.variants.values():
            time.sleep(PAUSE_SECONDS)
            taken = _timed(call, 1)
            if taken[0] < SHORT_SECONDS:  # a longer call varies little and is dear to repeat
                taken = _timed(call, 4)
            if name not in best or min(taken) < best[name][1]:
                best[name] = (call, min(taken), taken)
    fastest = min((b[1] for name, b in best.items() if name not in OURS), default=math.inf)
    raced, slow = {}, {}
    for name, (call, estimate, taken) in best.items():
        if name in OURS or estimate <= HOPELESS * fastest:
            raced[name] = (call, estimate)
        else:
            slow[name] = taken
    return raced, slow


def _race(
    raced: Mapping[str, tuple[Callable[[], Any], float]], seconds: float
) -> dict[str, list[list[float]]]:
    """Rounds of everybody in turn: what disturbs the machine for a while disturbs all alike."""
    calls = {name: max(1, math.ceil(ROUND_SECONDS / taken)) for name, (_, taken) in raced.items()}
    calls = {name: min(count, 200) for name, count in calls.items()}
    round_seconds = sum(
        (calls[name] + burst(taken)) * taken + PAUSE_SECONDS for name, (_, taken) in raced.items()
    )
    rounds = min(MAX_ROUNDS, max(MIN_ROUNDS, int(seconds / round_seconds)))
    samples: dict[str, list[list[float]]] = {name: [] for name in raced}
    for number in range(rounds):
        for name in in_turn(list(raced), number):
            call, taken = raced[name]
            time.sleep(PAUSE_SECONDS)
            if taken <= SHORT_SECONDS:
                _timed(call, burst(taken))
            samples[name].append(_timed(call, calls[name]))
    return samples


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """The order of a round: rows of a Williams design.

    Over as many rounds as there are names, or twice as many where their number is odd, each has
    each place and follows each other one equally often: a large working set slows down the next.
    """
    count = len(names)
    steps = [(k + 1) // 2 if k % 2 else -(k // 2) for k in range(count)]
    order = [names[(number + step) % count] for step in steps]
    return order[::-1] if count % 2 and number // count % 2 else order


def _summary(rounds: list[list[float]]) -> dict[str, float | int]:
    taken = sorted(seconds * 1e3 for one in rounds for seconds in one)
    return {
        "median": statistics.median(taken),
        "p95": taken[min(len(taken) - 1, math.ceil(0.95 * len(taken)) - 1)],
        "min": taken[0],
        "calls": len(taken),
        "rounds": len(rounds),
    }
