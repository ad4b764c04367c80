"""Run an iterator ahead of its consumer, in one thread, a bounded number of items."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class Prefetch(Generic[Item]):
    """Iterates over the same items in the same order, with up to ``depth`` made ahead.

    The items are made in a thread of its own, so work that releases the GIL (decoding, resizing)
    overlaps with what the consumer does. An exception of the iterator is raised after the last item
    before it. The thread ends when the iterator ends, or at `close`.

    Args:
        items: what to run ahead; only that thread touches it. A generator is closed there too.
        depth: items to hold at most, >= 1. One more is being made.

    Raises:
        ValueError: ``depth`` is below 1.
    """

    def __init__(self, items: Iterable[Item], *, depth: int = 2) -> None:
        if depth < 1:
            raise ValueError(f"depth is {depth}, expected 1 or more")
        self._items = items
        self._depth = depth
        self._ready: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._ended = False
        self._error: BaseException | None = None
        # A daemon, so that a source that never answers can't keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="vinfer-prefetch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            iterator = iter(self._items)
            try:
                for item in iterator:
                    if not self._put(item):
                        break
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
        # Whatever it is, it is raised where the items are used.
        except BaseException as exc:
            error = exc
        with self._changed:
            self._error = error
            self._ended = True
            self._changed.notify_all()

    def _put(self, item: Item) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._ready) < self._depth)
            if self._closed:
                return False
            self._ready.append(item)
            self._changed.notify_all()
            return True

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        """The next item; waits for it.

        Raises:
            StopIteration: the iterator ended, or `close` was called.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended or self._closed)
            if self._closed:
                raise StopIteration
            if self._ready:
                item = self._ready.popleft()
                self._changed.notify_all()
                return item
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """Stop and wait for the thread; items made ahead are discarded. Idempotent.

        It waits for the item that is being made. Where that may take long (a network stream),
        stop the iterator itself first (`Source.close`).
        """
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
