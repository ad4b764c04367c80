"""Reaching a database: addresses, first set-up, and errors that give no password away."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from vinfer.errors import ConfigError, MissingDependencyError, VinferError
from vinfer.stores import sql_tables as tables

# One number of ours: two processes that set up the same database must not do it at once.
_SETUP_LOCK = 0x76696E666572
_SWITCH_SECONDS = 10


def database_url(where: Path | str) -> sa.URL:
    """The address of a database: a SQLAlchemy URL, or the path of a SQLite file.

    Raises:
        ConfigError: not a URL that SQLAlchemy understands, or a database in memory.
    """
    if isinstance(where, Path) or "://" not in where:
        return sa.URL.create("sqlite", database=str(where))
    try:
        url = sa.make_url(where)
    except (sa.exc.ArgumentError, ValueError):
        # The cause may quote the address with its password.
        raise ConfigError(
            "the database address can't be understood, expected the path of a SQLite file or "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE; write special characters of a "
            "password as %XX"
        ) from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError(
            "found a SQLite database in memory, which ends with its connection; "
            "give the path of a file"
        )
    return url


def shown(url: sa.URL) -> str:
    """The address for people: a path, or the URL without password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def without_credentials(uri: str) -> str:
    """A camera's address without ``user:password@``; anything else as it is."""
    if "://" not in uri:
        return uri
    try:
        parts = urllib.parse.urlsplit(uri)
    except ValueError:
        return uri.partition("://")[0] + "://"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def make_engine(url: sa.URL) -> sa.Engine:
    """An engine that keeps no connection of its own.

    Raises:
        MissingDependencyError: the database's driver is not installed.
        ConfigError: SQLAlchemy knows no such database.
    """
    try:
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    except ImportError as exc:
        raise MissingDependencyError(
            f"the driver of {url.drivername} is not installed; for PostgreSQL: "
            "pip install 'vinfer[postgresql]'"
        ) from exc
    except sa.exc.ArgumentError as exc:
        raise ConfigError(
            f"found a database address that begins with {url.drivername}://, which SQLAlchemy does "
            "not know; expected the path of a SQLite file or postgresql://..."
        ) from exc
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    # WAL: readers and a writer at once, and a commit that survives a crash of the process. SQLite
    # does not wait for its turn when several connections switch a new database to it at once.
    give_up = time.monotonic() + _SWITCH_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            break
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def set_up(connection: sa.Connection, error: type[VinferError]) -> None:
    """Make the tables where they are missing; safe when several processes do it at once.

    Raises:
        VinferError: the database belongs to another program or a newer vinfer (of class ``error``).
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SETUP_LOCK)))
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    inspector = sa.inspect(connection)
    found = [name for name in tables.metadata.tables if inspector.has_table(name)]
    if tables.schema_version.name in found:
        check_version(connection, error)
        return
    if found:
        raise error(
            f"found tables that vinfer did not make ({', '.join(found)}); "
            "use another database or another schema of it"
        )
    tables.metadata.create_all(connection)
    connection.execute(tables.schema_version.insert().values(version=tables.SCHEMA_VERSION))


def check_version(connection: sa.Connection, error: type[VinferError]) -> None:
    """Refuse tables of another schema version.

    Raises:
        VinferError: of class ``error``, naming both versions.
    """
    version = connection.scalar(sa.select(sa.func.max(tables.schema_version.c.version)))
    if version != tables.SCHEMA_VERSION:
        raise error(
            f"found schema version {version}, this vinfer reads and writes "
            f"{tables.SCHEMA_VERSION}; use the vinfer that made it, or another database"
        )


@contextlib.contextmanager
def database_errors(url: sa.URL, error: type[VinferError], doing: str) -> Iterator[None]:
    """Turn what SQLAlchemy and drivers raise into ``error``: what, where, why; never a password."""
    try:
        yield
    except VinferError as exc:
        raise type(exc)(f"can't {doing} {shown(url)}: {exc}") from exc
    except (sa.exc.SQLAlchemyError, UnicodeError, OverflowError) as exc:
        reason = str(getattr(exc, "orig", None) or exc).strip().partition("\n")[0]
        if url.password:
            reason = reason.replace(str(url.password), "***")
        raise error(f"can't {doing} {shown(url)}: {reason}{_advice(url, reason)}") from exc


def _advice(url: sa.URL, reason: str) -> str:
    if "disk is full" in reason or "No space left" in reason:
        free = ""
        if url.get_backend_name() == "sqlite":
            with contextlib.suppress(OSError):
                folder = Path(str(url.database)).absolute().parent
                free = f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB free)"
        return f"{free}; free some space"
    if "unable to open database file" in reason:
        return "; expected a path in a folder that exists and may be written to"
    if "disk I/O error" in reason:
        return "; the disk may be failing, or a limit on the size of files be reached (ulimit -f)"
    if "connection failed" in reason or "could not translate host name" in reason:
        return "; check that the server runs, and host, port, user and password of the address"
    if "not a database" in reason:
        return "; expected a SQLite file that vinfer made, or a new path"
    return ""
