"""Calls that take turns: their order, what counts, and when they stop."""

from collections.abc import Callable

import pytest

from vinfer.backends import turns
from vinfer.backends.turns import take_turns


class Clock:
    """Time passes in calls and pauses only."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.done: list[str] = []
        monkeypatch.setattr(turns.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(turns.time, "sleep", self.pause)

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.done.append("pause")

    def call(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds
            self.done.append(name)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_each_has_its_own_time_after_a_pause_and_untimed_calls(clock: Clock) -> None:
    taken = take_turns([clock.call("a", 0.02), clock.call("b", 0.03)], rounds=2)
    assert taken == [pytest.approx([0.02, 0.03])] * 2
    assert clock.done == [
        *("a", "b", "a", "b"),
        *("pause", "a", "a", "pause", "b", "b"),
        *("pause", "b", "b", "pause", "a", "a"),
    ]


def test_short_calls_come_in_bursts(clock: Clock) -> None:
    assert take_turns([clock.call("a", 0.005)], rounds=1) == [pytest.approx([0.005])]
    assert clock.done == ["a", "a", "pause", *["a"] * 8]


def test_a_call_without_any_length_ends(clock: Clock) -> None:
    assert take_turns([clock.call("a", 1e-9)], rounds=1) == [pytest.approx([1e-9])]


def test_a_long_call_is_not_repeated(clock: Clock) -> None:
    take_turns([clock.call("a", 1.0)], rounds=1)
    assert clock.done == ["a", "a", "pause", "a"]


def test_no_round_begins_when_the_time_is_up(clock: Clock) -> None:
    calls = [clock.call("a", 1.0)]
    assert len(take_turns(calls, rounds=9, max_seconds=3.5)) == 3
    assert len(take_turns(calls, rounds=9, min_rounds=5, max_seconds=3.5)) == 5
    assert len(take_turns(calls, rounds=2, max_seconds=99)) == 2
