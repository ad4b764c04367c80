"""Order, bounds, errors and the end of work that runs in several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vinfer.scheduler import OrderedMap


def same(number: int) -> int:
    return number


def threads_left() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("vinfer-worker")]


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("ahead", [1, 5])
def test_results_keep_the_order_of_the_items(workers: int, ahead: int) -> None:
    def uneven(number: int) -> int:
        time.sleep(0.002 * (number * 7 % 3))
        return number * number

    with OrderedMap(uneven, range(60), workers=workers, ahead=ahead) as results:
        assert list(results) == [number * number for number in range(60)]
        assert list(results) == []


def test_items_are_worked_on_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=5)
    with OrderedMap(lambda _: meeting.wait(), range(3), workers=3) as results:
        assert sorted(results) == [0, 1, 2]


def test_items_are_taken_by_one_thread_at_a_time() -> None:
    busy = threading.Lock()

    def items() -> Iterator[int]:
        for number in range(200):
            assert busy.acquire(blocking=False)
            time.sleep(0.0001)
            busy.release()
            yield number

    with OrderedMap(same, items(), workers=4) as results:
        assert list(results) == list(range(200))


def test_no_more_is_taken_than_workers_and_ahead_allow() -> None:
    taken: list[int] = []
    full = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            if number == 5:
                full.set()
            yield number

    with OrderedMap(same, items(), workers=2, ahead=3) as results:
        assert next(results) == 0
        assert full.wait(5)
        assert not threading.Event().wait(0.05)
        assert taken == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_iterator_comes_after_all_results(workers: int) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("broke off")

    seen: list[int] = []
    with OrderedMap(same, items(), workers=workers) as results:
        with pytest.raises(ValueError, match="broke off"):
            seen.extend(results)
        assert list(results) == []
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_function_comes_in_its_place(workers: int) -> None:
    def third_fails(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    seen: list[int] = []
    with OrderedMap(third_fails, range(50), workers=workers) as results:
        with pytest.raises(ValueError, match="three"):
            seen.extend(results)
        assert list(results) == []
    assert seen == [0, 1, 2]


def test_of_two_errors_the_earlier_item_is_told() -> None:
    second_failed = threading.Event()

    def both_fail(number: int) -> int:
        if number == 0:
            assert second_failed.wait(5)
            raise ValueError("first")
        second_failed.set()
        raise ValueError("second")

    with (
        OrderedMap(both_fail, range(2), workers=2) as results,
        pytest.raises(ValueError, match="first"),
    ):
        next(results)


def test_an_error_is_told_when_the_items_end_after_it() -> None:
    asked_for_more, failed = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield from range(2)
        asked_for_more.set()
        assert failed.wait(5)

    def second_fails(number: int) -> int:
        if number == 1:
            assert asked_for_more.wait(5)
            # Set a moment after this worker has given up.
            threading.Timer(0.1, failed.set).start()
            raise ValueError("second")
        return number

    results = OrderedMap(second_fails, items(), workers=2)
    assert next(results) == 0
    for thread in threading.enumerate():
        if thread.name.startswith("vinfer-worker"):
            thread.join(5)
    told: list[str] = []

    def consume() -> None:
        try:
            next(results)
        except ValueError as exc:
            told.append(str(exc))

    consumer = threading.Thread(target=consume)
    consumer.start()
    consumer.join(5)
    results.close()
    consumer.join(5)
    assert told == ["second"]


def test_close_discards_joins_and_closes_the_generator() -> None:
    closed: list[bool] = []

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(True)

    results = OrderedMap(same, items(), workers=3)
    assert [next(results), next(results)] == [0, 1]
    results.close()
    assert closed == [True]
    assert threads_left() == []
    assert list(results) == []
    results.close()


def test_close_wakes_a_consumer_that_waits() -> None:
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        release.wait(10)

    results = OrderedMap(same, items(), workers=2)
    assert next(results) == 0
    got: list[list[int]] = []
    consumer = threading.Thread(target=lambda: got.append(list(results)))
    consumer.start()
    closer = threading.Thread(target=results.close)
    closer.start()
    consumer.join(5)
    assert got == [[]]
    release.set()
    closer.join(5)
    assert not closer.is_alive()


def test_nothing_to_do() -> None:
    with OrderedMap(same, [], workers=2) as results:
        assert list(results) == []


@pytest.mark.parametrize(("workers", "ahead"), [(0, 1), (1, 0)])
def test_numbers_below_one_are_refused(workers: int, ahead: int) -> None:
    with pytest.raises(ValueError, match="is 0, expected 1 or more"):
        OrderedMap(same, [1], workers=workers, ahead=ahead)
