from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from vinfer.errors import SourceError
from vinfer.sources.base import Picture, Selection, Source


class Waiting(Source):
    """Waits for a picture until it is told that the time is up."""

    def __init__(self) -> None:
        super().__init__(Selection())
        self.waits = threading.Event()
        self.time_is_up = threading.Event()
        self.released = 0

    def _pictures(self) -> Iterator[Picture]:
        self.waits.set()
        assert self.time_is_up.wait(5)
        raise SourceError("nothing came")
        yield

    def _release(self) -> None:
        self.released += 1


def test_no_frame_in_time_is_an_error() -> None:
    source = Waiting()
    source.time_is_up.set()
    with pytest.raises(SourceError, match="nothing came"):
        next(source)
    assert not source.released


def test_no_frame_in_time_is_the_end_where_close_was_called_meanwhile() -> None:
    source = Waiting()
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(next(source, "end")))
    thread.start()
    assert source.waits.wait(5)
    source.close()
    assert not source.released, "the thread that reads still needs it"
    source.time_is_up.set()
    thread.join(5)
    assert found == ["end"]
    assert source.released
    assert not source.ended
