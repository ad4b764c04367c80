from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from vinfer.scheduler import Prefetch


def counted(limit: int, made: list[int], closed: list[bool] | None = None) -> Iterator[int]:
    try:
        for number in range(limit):
            made.append(number)
            yield number
    finally:
        if closed is not None:
            closed.append(True)


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_all_items_arrive_in_order(depth: int) -> None:
    with Prefetch(range(500), depth=depth) as ahead:
        assert list(ahead) == list(range(500))
        assert list(ahead) == []


def test_it_runs_ahead_by_its_depth_and_no_further() -> None:
    made: list[int] = []
    full = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 4:
                full.set()
            yield number

    with Prefetch(items(), depth=3) as ahead:
        assert next(ahead) == 0
        # 0 is taken, 1 to 3 are held, 4 is made and waits.
        assert full.wait(5)
        assert not threading.Event().wait(0.05)
        assert made == [0, 1, 2, 3, 4]


def test_items_are_made_in_another_thread() -> None:
    with Prefetch(threading.get_ident() for _ in range(3)) as ahead:
        idents = set(ahead)
    assert len(idents) == 1
    assert threading.get_ident() not in idents


def test_an_exception_comes_after_the_last_item_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("broke off")

    seen: list[int] = []
    with Prefetch(items(), depth=10) as ahead:
        with pytest.raises(ValueError, match="broke off"):
            seen.extend(iter(lambda: next(ahead), None))
        assert list(ahead) == []  # raised once
    assert seen == [0, 1, 2, 3, 4]


def test_an_iterable_that_can_not_start_raises_at_the_first_item() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise OSError("no start")

    with Prefetch(Broken()) as ahead, pytest.raises(OSError, match="no start"):
        next(ahead)


def test_close_stops_a_full_queue_and_closes_the_generator_in_its_thread() -> None:
    made: list[int] = []
    closed: list[bool] = []
    ahead = Prefetch(counted(10**9, made, closed), depth=2)
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert closed == [True]
    assert len(made) <= 5
    assert list(ahead) == []
    ahead.close()


def test_close_wakes_a_consumer_that_waits() -> None:
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        release.wait(10)

    ahead = Prefetch(items())
    assert next(ahead) == 0
    got: list[list[int]] = []
    consumer = threading.Thread(target=lambda: got.append(list(ahead)))
    consumer.start()
    closer = threading.Thread(target=ahead.close)
    closer.start()
    consumer.join(5)
    assert got == [[]]
    release.set()
    closer.join(5)
    assert not closer.is_alive()


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    for _ in range(5):
        with Prefetch(range(1000), depth=2) as ahead:
            next(ahead)
        list(Prefetch(range(10)))
    # Threads whose items ran out end by themselves.
    for thread in threading.enumerate():
        if thread.name == "vinfer-prefetch":
            thread.join(5)
    assert threading.active_count() == before


def test_nothing_to_do() -> None:
    with Prefetch([]) as ahead:
        assert list(ahead) == []


def test_a_depth_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is 0, expected 1 or more"):
        Prefetch([1], depth=0)
