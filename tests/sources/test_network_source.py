"""HTTP from a server on loopback, and addresses where nothing answers."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from videos import number_of, numbered, write_video

from vinfer.errors import (
    SourceError,
    SourceNotFoundError,
    TruncatedSourceError,
    UnsupportedSourceError,
)
from vinfer.sources import open_source


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Handler(http.server.BaseHTTPRequestHandler):
    """``/clip.ts`` is whole, ``/short.ts`` breaks off, ``/private`` is refused."""

    content = b""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/private":
            self.send_error(403)
        elif path == "/text":
            self._send(b"hello " * 100, 600)
        elif path == "/clip.ts":
            self._send(self.content, len(self.content))
        elif path == "/short.ts":
            self._send(self.content[: len(self.content) // 2], len(self.content))
        else:
            self.send_error(404)

    def _send(self, content: bytes, stated: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(stated))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    clip = write_video(tmp_path / "clip.ts", [numbered(i) for i in range(50)], codec="mpeg2video")
    handler = type("ClipHandler", (Handler,), {"content": clip.read_bytes()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_http(server: str) -> None:
    with open_source(f"http://{server}/clip.ts?token=secret") as source:
        assert source.info.name == source.info.uri == f"http://{server}/clip.ts"
        assert [number_of(frame.image) for frame in source] == list(range(50))


def test_http_that_breaks_off(server: str) -> None:
    numbers: list[int] = []

    def read() -> None:
        with open_source(f"http://{server}/short.ts", timeout=5) as source:
            numbers.extend(number_of(frame.image) for frame in source)

    with pytest.raises(TruncatedSourceError, match=r"short\.ts: the video breaks off"):
        read()
    assert 10 < len(numbers) < 45
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("missing.mp4", SourceNotFoundError, "404"),
        ("private", SourceError, "access is refused"),
        ("text", UnsupportedSourceError, "not a video"),
    ],
)
def test_http_errors(server: str, path: str, error: type[SourceError], message: str) -> None:
    with pytest.raises(error, match=message) as info:
        open_source(f"http://user:secret@{server}/{path}?token=secret")
    assert type(info.value) is error
    assert "secret" not in str(info.value)
    # A chained cause would be printed too, and FFmpeg's message holds the whole URL.
    assert info.value.__cause__ is None
    assert info.value.__context__ is None


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_nothing_listens(scheme: str) -> None:
    start = time.monotonic()
    with pytest.raises(SourceNotFoundError, match="can't be reached") as info:
        open_source(f"{scheme}://user:secret@127.0.0.1:{closed_port()}/live", timeout=3)
    assert time.monotonic() - start < 4
    assert "secret" not in str(info.value)
    assert info.value.__cause__ is None
    assert info.value.__context__ is None


def test_a_server_that_never_answers_runs_into_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(SourceNotFoundError, match=r"no answer within 0\.5 s"):
            open_source(f"http://127.0.0.1:{port}/clip.mp4", timeout=0.5)
