"""Events in a database: SQLite by path, PostgreSQL by URL, the same code.

Needs SQLAlchemy: importing this module raises `MissingDependencyError` where it is not installed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from vinfer.errors import MissingDependencyError, OutputError, SourceError, SourceNotFoundError
from vinfer.stores.base import RunInfo
from vinfer.types import Event, Frame, FrameResult, RunSummary, StreamInfo

try:
    import sqlalchemy as sa
except ImportError as exc:
    raise MissingDependencyError(
        "SQLAlchemy is not installed; install it with: pip install 'vinfer[video]'"
    ) from exc

from vinfer.stores import sql_engine
from vinfer.stores import sql_tables as tables


class SqlStore:
    """Sink and search over events in a database.

    Each run is kept apart. An event is one row, which its later reports update; every report is
    committed before `event` returns, so a crash loses nothing that was reported.

    Attributes:
        run_id: the run that is written, or was written last; None before `open`.
    """

    def __init__(self, where: Path | str) -> None:
        """Prepare; nothing is opened yet.

        Args:
            where: path of a SQLite file, or a SQLAlchemy URL such as
                ``postgresql://user:password@host/database``.

        Raises:
            ConfigError: the address can't be understood.
            MissingDependencyError: the database's driver is not installed.
        """
        self._url = sql_engine.database_url(where)
        self._engine = sql_engine.make_engine(self._url)
        self._connection: sa.Connection | None = None
        self.run_id: int | None = None

    def open(self, info: StreamInfo, run: RunInfo) -> None:
        """Make the tables where they are missing and begin a run.

        Raises:
            OutputError: the database can't be reached or written, or is not ours.
        """
        with sql_engine.database_errors(self._url, OutputError, "write events to"):
            self._connection = self._engine.connect()
            with self._undone_on_failure(), self._connection.begin():
                sql_engine.set_up(self._connection, OutputError)
                started = tables.runs.insert().returning(tables.runs.c.id)
                values = dict(
                    stream_id=self._stream_id(self._connection, info),
                    bundle=run.bundle,
                    detector=run.detector,
                    config_hash=run.config_hash,
                    config=dict(run.config),
                    version=run.version,
                    started=time.time(),
                )
                self.run_id = self._connection.execute(started, values).scalar_one()

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """Frames are not stored."""

    def event(self, event: Event) -> None:
        """Write or update the event's row and commit.

        Raises:
            OutputError: it can't be written.
        """
        table, values = tables.events, tables.event_values(event)
        identity = {"run_id": self.run_id, "event_id": event.event_id}
        this = (table.c.run_id == self.run_id) & (table.c.event_id == event.event_id)

        def upsert(connection: sa.Connection) -> None:
            updated = connection.execute(table.update().where(this).values(values))
            if updated.rowcount == 0:
                connection.execute(table.insert().values(identity | values))

        assert self._connection is not None, "event before open"
        with sql_engine.database_errors(self._url, OutputError, "write events to"):
            _commit(self._connection, upsert)

    def close(self, summary: RunSummary) -> None:
        """Note how the run ended and let the connection go.

        Raises:
            OutputError: it can't be written; the events before it are kept.
        """
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        ended = {
            "finished": time.time(),
            "complete": summary.complete,
            "num_frames": summary.num_frames,
            "dropped": dict(summary.dropped),
        }
        this = tables.runs.c.id == self.run_id
        update = tables.runs.update().where(this).values(ended)
        with sql_engine.database_errors(self._url, OutputError, "write events to"), connection:
            _commit(connection, lambda connection: connection.execute(update))

    def query(
        self,
        *,
        stream: str | None = None,
        predicate: str | None = None,
        subject: str | None = None,
        object: str | None = None,
        start: Fraction | float | None = None,
        end: Fraction | float | None = None,
        min_score: float | None = None,
        run: int | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Find events; each condition that is given must hold.

        Args:
            stream, predicate: equal to the event's.
            subject, object: class names, equal to the event's.
            start, end: the event overlaps [start, end], stream time in seconds, as doubles.
            min_score: least mean score.
            run: number of the run (`run_id`); events of all runs when it is not given.
            limit: at most so many.

        Returns:
            Each event in its last reported state (``close`` when it is final), ordered by stream,
            run, start, end, subject track, predicate and object track.

        Raises:
            SourceNotFoundError: there is no such SQLite file.
            SourceError: the database can't be reached or is not an event store.
        """
        path = self._url.database
        if self._url.get_backend_name() == "sqlite" and path and not Path(path).is_file():
            raise SourceNotFoundError(f"there is no event store at {path}; expected a SQLite file")
        events, conditions = tables.events.c, []
        for column, wanted in (
            (tables.streams.c.name, stream),
            (events.predicate, predicate),
            (events.subject_label, subject),
            (events.object_label, object),
            (events.run_id, run),
        ):
            if wanted is not None:
                conditions.append(column == wanted)
        if start is not None:
            conditions.append(events.end_s >= float(start))
        if end is not None:
            conditions.append(events.start_s <= float(end))
        if min_score is not None:
            conditions.append(events.score >= min_score)
        statement = tables.event_query().where(*conditions).limit(limit)
        with (
            sql_engine.database_errors(self._url, SourceError, "read events from"),
            self._engine.connect() as connection,
        ):
            sql_engine.check_version(connection, SourceError)
            return [tables.event_of_row(row) for row in connection.execute(statement)]

    @staticmethod
    def _stream_id(connection: sa.Connection, info: StreamInfo) -> int:
        table, uri = tables.streams, sql_engine.without_credentials(info.uri)
        this = (table.c.name == info.name) & (table.c.uri == uri)
        known: int | None = connection.scalar(sa.select(table.c.id).where(this))
        if known is not None:
            return known
        values = {"name": info.name, "uri": uri, "width": info.width, "height": info.height}
        created: int = connection.execute(table.insert().returning(table.c.id), values).scalar_one()
        return created

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        """`close` is not called after an `open` that failed: let the connection go here."""
        try:
            yield
        except BaseException:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            raise


def _commit(connection: sa.Connection, work: Callable[[sa.Connection], object]) -> None:
    """Run ``work`` in a transaction. It may run twice, so it must be one that can."""
    try:
        with connection.begin():
            work(connection)
    except sa.exc.DBAPIError as exc:
        if not exc.connection_invalidated:
            raise
        # The server dropped the connection and may be back.
        with connection.begin():
            work(connection)
