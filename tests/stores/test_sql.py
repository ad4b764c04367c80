"""The event store: one body of tests for SQLite and a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from vinfer.errors import (
    ConfigError,
    MissingDependencyError,
    OutputError,
    SourceError,
    SourceNotFoundError,
)
from vinfer.stores import sql_tables as tables
from vinfer.stores.base import RunInfo
from vinfer.stores.sql import SqlStore
from vinfer.stores.sql_engine import database_url, make_engine, without_credentials
from vinfer.types import Event, Participant, RunSummary, StreamInfo

MakeEvent = Callable[..., Event]


def administer(server: str, *statements: str) -> None:
    admin = make_engine(database_url(server)).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture
def database(postgresql: str) -> Iterator[str]:
    """Address of an empty PostgreSQL database of this test's own, called `vinfer_test`."""
    administer(postgresql, "CREATE DATABASE vinfer_test")
    yield postgresql.replace("/postgres", "/vinfer_test")
    administer(postgresql, "DROP DATABASE vinfer_test WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "events.db")
    address: str = request.getfixturevalue("database")
    return address


def record(
    where: str,
    events: list[Event],
    stream: StreamInfo,
    run: RunInfo,
    summary: RunSummary,
) -> int:
    store = SqlStore(where)
    store.open(stream, run)
    for event in events:
        store.event(event)
    store.close(summary)
    assert store.run_id is not None
    return store.run_id


def rows(where: str, table: sa.Table) -> list[dict[str, Any]]:
    with make_engine(database_url(where)).connect() as connection:
        return [dict(row) for row in connection.execute(table.select()).mappings()]


def test_round_trip_is_exact(
    where: str, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    # A time that no double holds, and a text that quoting could spoil.
    event = make_event(
        end=Fraction(10**15 + 1, 3 * 10**14), predicate="o\"n'; DROP TABLE events; -- é\\"
    )
    record(where, [event], stream, run, summary)
    assert SqlStore(where).query() == [event]


def test_reports_of_an_event_update_one_row(
    where: str, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    store = SqlStore(where)
    store.open(stream, run)
    reports = [
        make_event(type="open", end=Fraction(4)),
        make_event(type="update", end=Fraction(5)),
        make_event(type="close", end=Fraction(6)),
    ]
    for event in [*reports, reports[-1]]:
        store.event(event)
        assert store.query() == [event]  # committed: another connection sees it
    store.close(summary)
    assert SqlStore(where).query() == [reports[-1]]


def test_run_and_stream_are_described(
    where: str, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    before = time.time()
    first = record(where, [make_event()], stream, run, summary)
    second = record(where, [], stream, run, summary)
    assert second != first
    (row,) = rows(where, tables.streams)
    assert (row["name"], row["uri"], row["width"], row["height"]) == (
        "bikes",
        "bikes.mp4",
        640,
        272,
    )
    described, _ = rows(where, tables.runs)
    assert described["bundle"] == "relation-prior@1"
    assert described["detector"] == "yolox-nano@1"
    assert described["config"] == {"events": {"on": 0.6}}
    assert described["dropped"] == {"untracked": 2}
    assert (described["complete"], described["num_frames"]) == (True, 250)
    assert before <= described["started"] <= described["finished"] <= time.time()
    assert rows(where, tables.schema_version) == [{"version": 1}]


def test_runs_are_kept_apart(
    where: str, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    first = record(where, [make_event(score=0.25)], stream, run, summary)
    second = record(where, [make_event(score=0.5)], stream, run, summary)
    store = SqlStore(where)
    assert [e.score for e in store.query()] == [0.25, 0.5]
    assert [e.score for e in store.query(run=first)] == [0.25]
    assert [e.score for e in store.query(run=second)] == [0.5]
    assert store.query(run=second + 1) == []


def test_each_condition_of_a_query(
    where: str, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    box = (0.0, 0.0, 1.0, 1.0)

    def numbered(number: int, **changes: Any) -> Event:
        times = {"start": Fraction(10 * number), "end": Fraction(10 * number + 5)}
        return make_event(**({"event_id": f"{number:016x}", **times} | changes))

    events = [
        numbered(0, score=0.25),
        numbered(1, predicate="ride"),
        numbered(2, subject=Participant("dog", 1, box)),
        numbered(3, object=Participant("skateboard", 2, box)),
    ]
    record(where, list(reversed(events)), stream, run, summary)
    other = make_event(stream="other", event_id="f" * 16, start=Fraction(99), end=Fraction(100))
    other_stream = StreamInfo("other", "other.mp4", 1, 1, None, None, None)
    record(where, [other], other_stream, run, summary)
    store = SqlStore(where)
    assert store.query() == [*events, other]
    assert store.query(stream="other") == [other]
    assert store.query(predicate="ride") == [events[1]]
    assert store.query(subject="dog") == [events[2]]
    assert store.query(object="skateboard") == [events[3]]
    assert store.query(min_score=0.26) == [*events[1:], other]
    assert store.query(start=Fraction(25)) == [*events[2:], other]
    assert store.query(start=25.01) == [events[3], other]
    assert store.query(end=10) == events[:2]
    assert store.query(start=6, end=Fraction(99, 10)) == []
    assert store.query(start=12, end=13) == [events[1]]
    assert store.query(limit=2) == events[:2]
    assert store.query(limit=0) == []
    assert store.query(stream="bikes", predicate="on", subject="person", limit=9) == [
        events[0],
        events[3],
    ]


@pytest.mark.parametrize("text", ["' OR 1=1 --", "on'; DROP TABLE events; --", "%", "o_"])
def test_conditions_are_values_never_sql(
    where: str,
    make_event: MakeEvent,
    stream: StreamInfo,
    run: RunInfo,
    summary: RunSummary,
    text: str,
) -> None:
    record(where, [make_event()], stream, run, summary)
    store = SqlStore(where)
    for field in ("stream", "predicate", "subject", "object"):
        assert store.query(**{field: text}) == []  # type: ignore[arg-type]
    assert len(store.query()) == 1


def test_killed_process_keeps_what_was_reported(where: str, make_event: MakeEvent) -> None:
    code = """
import os, signal, sys
from conftest import EVENT, RUN, STREAM
from vinfer.stores.sql import SqlStore
store = SqlStore(sys.argv[1])
store.open(STREAM, RUN)
store.event(EVENT)
os.kill(os.getpid(), signal.SIGKILL)
"""
    here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", code, where]
    assert subprocess.run(command, env=os.environ | here, check=False).returncode == -signal.SIGKILL
    assert SqlStore(where).query() == [make_event()]
    (row,) = rows(where, tables.runs)
    assert (row["finished"], row["complete"]) == (None, None)


def test_several_writers_set_up_and_write_one_database(
    where: str, make_event: MakeEvent, run: RunInfo, summary: RunSummary
) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def write(number: int) -> None:
        # Two of the four share a stream.
        name = f"camera {number // 2}"
        info = StreamInfo(name, "rtsp://x", 1, 1, None, None, None)
        try:
            start.wait()
            events = [make_event(stream=name, event_id=f"{i:016x}") for i in range(10)]
            record(where, events, info, run, summary)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(SqlStore(where).query()) == 40
    assert len(rows(where, tables.streams)) == 2
    assert len(rows(where, tables.schema_version)) == 1


def test_many_connections_switch_a_new_database_to_wal_at_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def connect(where: Path, start: threading.Barrier) -> None:
        try:
            start.wait()
            make_engine(database_url(where)).connect().close()
        except BaseException as exc:
            failures.append(exc)

    for number in range(20):
        start = threading.Barrier(6)
        arguments = (tmp_path / f"{number}.sqlite", start)
        threads = [threading.Thread(target=connect, args=arguments) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_address_of_a_camera_is_stored_without_its_password(
    where: str, run: RunInfo, summary: RunSummary
) -> None:
    info = StreamInfo("door", "rtsp://admin:hunter2@10.0.0.7:554/live?q=1", 1, 1, None, None, None)
    record(where, [], info, run, summary)
    (row,) = rows(where, tables.streams)
    assert row["uri"] == "rtsp://10.0.0.7:554/live?q=1"


@pytest.mark.parametrize(
    ("uri", "stored"),
    [
        ("a@b/clip.mp4", "a@b/clip.mp4"),
        ("http://h/x@y", "http://h/x@y"),
        ("rtsp://u:p@ss@h/x", "rtsp://h/x"),
        ("rtsp://u:p@[::1/x", "rtsp://"),
    ],
)
def test_without_credentials(uri: str, stored: str) -> None:
    assert without_credentials(uri) == stored


# ---------------------------------------------------------------- refusals


def test_newer_schema_is_refused(
    where: str, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    record(where, [make_event()], stream, run, summary)
    with make_engine(database_url(where)).begin() as connection:
        connection.execute(tables.schema_version.update().values(version=2))
    with pytest.raises(OutputError, match="found schema version 2, this vinfer reads and writes 1"):
        SqlStore(where).open(stream, run)
    with pytest.raises(SourceError, match="found schema version 2"):
        SqlStore(where).query()


def test_tables_of_another_program_are_left_alone(
    where: str, stream: StreamInfo, run: RunInfo
) -> None:
    with make_engine(database_url(where)).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE events (name TEXT)")
    with pytest.raises(OutputError, match=r"tables that vinfer did not make \(events\)"):
        SqlStore(where).open(stream, run)
    with pytest.raises(SourceError, match="can't read events from"):
        SqlStore(where).query()


HANG_UP = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'vinfer_test'"


def test_lost_connection_is_taken_up_again(
    postgresql: str,
    database: str,
    make_event: MakeEvent,
    stream: StreamInfo,
    run: RunInfo,
    summary: RunSummary,
) -> None:
    store = SqlStore(database)
    store.open(stream, run)
    administer(postgresql, HANG_UP)
    store.event(make_event())
    administer(postgresql, HANG_UP)
    store.close(summary)
    assert store.query() == [make_event()]
    (row,) = rows(database, tables.runs)
    assert row["complete"] is True


def test_lost_server_is_an_output_error(
    postgresql: str,
    database: str,
    make_event: MakeEvent,
    stream: StreamInfo,
    run: RunInfo,
    summary: RunSummary,
) -> None:
    store = SqlStore(database)
    store.open(stream, run)
    store.event(make_event())
    refuse = "ALTER DATABASE vinfer_test WITH ALLOW_CONNECTIONS"
    administer(postgresql, f"{refuse} false", HANG_UP)
    message = r"can't write events to postgresql\+psycopg://.*not currently accepting connections"
    with pytest.raises(OutputError, match=message) as caught:
        store.event(make_event(event_id="0" * 16))
    assert "secret-word" not in str(caught.value)
    with pytest.raises(OutputError, match=message):
        store.close(summary)
    administer(postgresql, f"{refuse} true")
    assert store.query() == [make_event()]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:secret-word@127.0.0.1:1/db",
        "postgresql://me@127.0.0.1:1/db?password=secret-word",
        "postgresql://me:secret-word@127.0.0.1:1/db?bad_option=secret-word",
    ],
)
def test_password_is_in_no_message(address: str, stream: StreamInfo, run: RunInfo) -> None:
    for act in (lambda: SqlStore(address).open(stream, run), lambda: SqlStore(address).query()):
        with pytest.raises((OutputError, SourceError), match=r"127\.0\.0\.1:1/db") as caught:
            act()
        assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["postgresql://me:secret-word@host:port/db", "://secret-word", "a b://secret-word"]
)
def test_address_that_cannot_be_understood(address: str) -> None:
    with pytest.raises(ConfigError, match="can't be understood, expected the path") as caught:
        SqlStore(address)
    assert "secret-word" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_unknown_kind_of_database() -> None:
    with pytest.raises(ConfigError, match="begins with nosuch://, which SQLAlchemy does not know"):
        SqlStore("nosuch://host/db")


def test_missing_driver() -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'vinfer\[postgresql\]'"):
        SqlStore("postgresql+asyncpg://host/db")


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="give the path of a file"):
        SqlStore(address)


def test_place_that_cannot_be_written(tmp_path: Path, stream: StreamInfo, run: RunInfo) -> None:
    (tmp_path / "file").write_text("not a database, but long enough to be looked at as one" * 9)
    with pytest.raises(OutputError, match="expected a path in a folder that exists"):
        SqlStore(tmp_path / "file" / "events.db").open(stream, run)
    with pytest.raises(OutputError, match="expected a SQLite file that vinfer made, or a new path"):
        SqlStore(tmp_path / "file").open(stream, run)
    with pytest.raises(SourceError, match="expected a SQLite file that vinfer made"):
        SqlStore(tmp_path / "file").query()
    with pytest.raises(SourceNotFoundError, match=r"no event store at .*none\.db"):
        SqlStore(tmp_path / "none.db").query()
    assert not (tmp_path / "none.db").exists()


def test_full_database_keeps_its_events(
    tmp_path: Path,
    make_event: MakeEvent,
    stream: StreamInfo,
    run: RunInfo,
    summary: RunSummary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SQLite's page limit gives the error of a full disk."""
    path = tmp_path / "events.db"
    record(str(path), [make_event(event_id="0" * 16)], stream, run, summary)

    def limit_pages(connection: Any, _: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}").close()

    store = SqlStore(path)
    sa.event.listen(store._engine, "connect", limit_pages)
    store.open(stream, run)
    stored = 1

    def fill() -> None:
        nonlocal stored
        for number in range(1, 10_000):
            store.event(make_event(event_id=f"{number:016x}"))
            stored += 1

    with pytest.raises(OutputError, match=r"disk is full \(.* MB free\); free some space"):
        fill()
    store.close(summary)
    assert len(SqlStore(path).query()) == stored
    assert stored > 1


def test_sqlite_writes_ahead_and_leaves_one_file(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "events.db"
    record(f"sqlite:///{path}", [make_event()], stream, run, summary)
    with make_engine(database_url(path)).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert [p.name for p in tmp_path.iterdir()] == ["events.db"]
    assert len(SqlStore(path).query()) == 1


def test_range_query_uses_an_index(
    tmp_path: Path, make_event: MakeEvent, stream: StreamInfo, run: RunInfo, summary: RunSummary
) -> None:
    path = tmp_path / "events.db"
    record(str(path), [make_event()], stream, run, summary)
    with make_engine(database_url(path)).connect() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM events WHERE start_s <= 9 AND end_s >= 3"
        ).all()
    assert "events_by_time" in str(plan)
