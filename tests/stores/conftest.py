"""What the tests of all sinks need: events, a run, and a private PostgreSQL."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from real_parts import missing

from vinfer.stores.base import RunInfo
from vinfer.types import Event, Participant, RunSummary, StreamInfo

EVENT = Event(
    type="close",
    event_id="26c1f4419cc01643",
    stream="bikes",
    start=Fraction(76, 25),
    end=Fraction(1001, 300),
    start_frame=76,
    end_frame=83,
    subject=Participant("person", 3, (1.5, 2.25, 30.125, 0.1)),
    predicate="on",
    object=Participant("bicycle", 7, (1 / 3, 2.0, 3.0, 4.0)),
    score=0.1 + 0.2,
    peak_score=0.75,
    peak_time=Fraction(79, 24),
    peak_frame=80,
    support=6,
    bundle="relation-prior@1",
    config_hash="0123456789abcdef",
)
STREAM = StreamInfo("bikes", "bikes.mp4", 640, 272, Fraction(25), Fraction(10), 250)
RUN = RunInfo(
    "relation-prior@1", "yolox-nano@1", "0123456789abcdef", {"events": {"on": 0.6}}, "0.1"
)


@pytest.fixture
def make_event() -> Callable[..., Event]:
    """A final event of `STREAM` with the given fields changed."""
    return lambda **changes: dataclasses.replace(EVENT, **changes)


@pytest.fixture
def stream() -> StreamInfo:
    return STREAM


@pytest.fixture
def run() -> RunInfo:
    return RUN


@pytest.fixture
def summary() -> RunSummary:
    return RunSummary(STREAM, 250, Fraction(249, 25), 1.5, (), {"untracked": 2}, True)


def _postgres_folder() -> Path:
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name)
    )
    if not folders:
        missing("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return folders[-1]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a server of our own: an empty cluster in a temporary folder, on loopback only."""
    binaries = _postgres_folder()
    as_server: list[str] = []
    # PostgreSQL refuses to run as root.
    if os.geteuid() == 0:
        if shutil.which("runuser") is None:
            missing("PostgreSQL does not run as root and there is no runuser")
        as_server = ["runuser", "-u", "postgres", "--"]
    # Not pytest's folder: that is closed to other users, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="vinfer-pg-"))
    try:
        if as_server:
            shutil.chown(folder, "postgres")
        data, log = folder / "data", folder / "log"
        init = ["-D", str(data), "-U", "vinfer", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            [*as_server, str(binaries / "initdb"), *init],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        control = [*as_server, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
        subprocess.run(
            [*control, "-l", str(log), "-o", options, "start"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            yield f"postgresql://vinfer:secret-word@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder
            )
    finally:
        shutil.rmtree(folder)
