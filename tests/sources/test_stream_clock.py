from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vinfer.sources.clock import StreamClock


def test_the_first_frame_is_at_zero_whatever_the_stream_states() -> None:
    clock = StreamClock(Fraction(1, 25))
    assert clock.time(Fraction(7, 5)) == 0
    assert clock.time(Fraction(7, 5) + Fraction(1, 3)) == Fraction(1, 3)


def test_negative_timestamps_are_as_good_as_others() -> None:
    clock = StreamClock(Fraction(1, 25))
    assert clock.time(Fraction(-1, 2)) == 0
    assert clock.time(Fraction(0)) == Fraction(1, 2)


def test_frames_without_timestamps_follow_at_the_nominal_rate() -> None:
    clock = StreamClock(Fraction(1, 10))
    assert [clock.time(None) for _ in range(3)] == [0, Fraction(1, 10), Fraction(1, 5)]


def test_a_missing_timestamp_in_the_middle_is_bridged() -> None:
    clock = StreamClock(Fraction(1, 10))
    times = [clock.time(t) for t in (Fraction(0), Fraction(1, 10), None, Fraction(3, 10))]
    assert times == [0, Fraction(1, 10), Fraction(1, 5), Fraction(3, 10)]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(Fraction(1, 10), Fraction(1, 10)), (Fraction(4, 5), Fraction(4, 5)), (100, Fraction(1, 25))],
)
def test_a_clock_that_is_first_read_at_the_second_frame(
    stated: Fraction | int, expected: Fraction
) -> None:
    clock = StreamClock(Fraction(1, 25))
    times = [clock.time(t) for t in (None, Fraction(stated), Fraction(stated) + Fraction(1, 3))]
    assert times == [0, expected, expected + Fraction(1, 3)]


def test_equal_and_smaller_timestamps_are_refused_and_do_not_move_the_clock() -> None:
    clock = StreamClock(Fraction(1, 25))
    times = [clock.time(Fraction(t, 25)) for t in (0, 2, 2, 1, 3)]
    assert times == [0, Fraction(2, 25), None, None, Fraction(3, 25)]


def test_a_restarted_stream_clock_goes_on_from_the_frame_before() -> None:
    clock = StreamClock(Fraction(1, 25))
    times = [clock.time(Fraction(t)) for t in (100, 101, 5, 6)]
    assert times == [0, 1, 1 + Fraction(1, 25), 2 + Fraction(1, 25)]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.none() | st.fractions(-1000, 1000, max_denominator=90000), max_size=40))
def test_times_always_increase(stated: list[Fraction | None]) -> None:
    clock = StreamClock(Fraction(1, 30))
    times = [time for time in map(clock.time, stated) if time is not None]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert times[:1] in ([], [0])
