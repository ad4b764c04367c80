"""Ctrl-C and SIGTERM: the first one finishes files, the second one ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The user or the system asked to stop.

    Not an `Exception`: nothing may take it for a failure of its own work.

    Attributes:
        exit_code: 128 + the signal's number, as shells report it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """The first signal raises `Interrupted` where the program is, the second ends the process."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        raise Interrupted(number)

    with _handled(handle):
        yield


class StopBetweenFrames:
    """Turns the first signal into `Interrupted` at the next `check`, never during a write.

    The second signal ends the process at once.

    Args:
        release: called (in a thread of its own) on the first signal, so that a source that waits
            for its next frame gives up.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._number: int | None = None
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> StopBetweenFrames:
        self._restore.enter_context(_handled(self._handle))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore.close()

    def check(self) -> None:
        """Raise `Interrupted` if a signal came."""
        if self._number is not None:
            raise Interrupted(self._number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._number is not None:
            os._exit(128 + number)
        self._number = number
        # os.write: a handler may run while the main thread holds the lock of sys.stderr.
        os.write(
            sys.__stderr__.fileno() if sys.__stderr__ else 2,
            b"\nStopping: finishing the files. Once more to end at once.\n",
        )
        # The main thread may hold a lock of the source just now, so it must not wait for it here.
        threading.Thread(target=self._release, daemon=True).start()


@contextlib.contextmanager
def _handled(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python only lets the main thread set handlers; its own stay in force
        return
    # A background job of a script ignores Ctrl-C on purpose (POSIX shells start it so).
    numbers = [n for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
