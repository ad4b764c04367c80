"""Apply a function to an iterator's items in several threads; results keep the items' order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from vinfer.closing import Closing

Item = TypeVar("Item")
Result = TypeVar("Result")


class OrderedMap(Closing, Generic[Item, Result]):
    """Iterates over ``function(item)`` for each item, in the items' order.

    Items are taken one at a time, by whichever worker is free, so the iterator needs no lock of its
    own; the function runs on several items at once. Work that releases the GIL (decoding, resizing,
    inference) fills the cores without the barriers that threads inside one inference need.

    An exception of the iterator or the function is raised in the place of its item, after all
    results before it; nothing is taken after it.

    Args:
        function: called in the workers' threads, for several items at the same time.
        items: where items come from. A generator is closed at the end.
        workers: threads, >= 1.
        ahead: results to hold at most beyond those being made, >= 1.

    Raises:
        ValueError: ``workers`` or ``ahead`` is below 1.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        workers: int,
        ahead: int = 2,
    ) -> None:
        for name, value in (("workers", workers), ("ahead", ahead)):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more")
        self._function = function
        self._iterator = iter(items)
        self._limit = workers + ahead
        self._taking = threading.Lock()
        self._changed = threading.Condition()
        self._results: dict[int, Result] = {}
        self._errors: dict[int, BaseException] = {}
        self._num_taken = 0
        self._num_given = 0
        self._end: int | None = None
        self._closed = False
        # Daemons, so that a source that never answers can't keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work, name=f"vinfer-worker-{i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            number, item = taken
            try:
                result = self._function(item)
            # Whatever it is, it is raised where the results are used.
            except BaseException as exc:
                self._fail(number, exc)
                return
            with self._changed:
                self._results[number] = result
                self._changed.notify_all()

    def _take(self) -> tuple[int, Item] | None:
        """The next item with its number; None when there is none for this worker any more."""
        with self._taking:
            with self._changed:
                self._changed.wait_for(self._may_take_or_must_stop)
                if self._closed or self._end is not None:
                    return None
                number = self._num_taken
            try:
                item = next(self._iterator)
            except StopIteration:
                with self._changed:
                    self._end_at(number)
                return None
            except BaseException as exc:
                self._fail(number, exc)
                return None
            with self._changed:
                self._num_taken += 1
            return number, item

    def _may_take_or_must_stop(self) -> bool:
        return (
            self._closed or self._end is not None or self._num_taken - self._num_given < self._limit
        )

    def _fail(self, number: int, error: BaseException) -> None:
        with self._changed:
            self._errors[number] = error
            self._end_at(number)

    def _end_at(self, number: int) -> None:
        # An earlier item may have failed while this one was being taken or worked on.
        self._end = number if self._end is None else min(self._end, number)
        self._changed.notify_all()

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        """The next result; waits for it.

        Raises:
            StopIteration: the items ended, or `close` was called.
        """
        with self._changed:
            number = self._num_given
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or number in self._results
                    or (self._end is not None and number >= self._end)
                )
            )
            if self._closed:
                raise StopIteration
            if number in self._results:
                self._num_given += 1
                self._changed.notify_all()
                return self._results.pop(number)
            error = self._errors.pop(number, None)
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """Stop, wait for the workers and close the iterator; idempotent.

        Results made ahead are discarded. It waits for the items that are being worked on. Where
        taking one may last long (a network stream), stop the iterator itself first
        (`Source.close`).
        """
        with self._changed:
            self._closed = True
            self._results.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()
