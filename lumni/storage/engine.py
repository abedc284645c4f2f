"""The one place that knows how to connect: an async SQLAlchemy engine for SQLite or PostgreSQL."""

import os
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from lumni.settings import Settings
from lumni.storage.errors import BadDatabaseURL, Unreachable

SQLITE_FILE = "lumni.db"
SQLITE_BEGIN = "sqlite_begin"  # execution option of a connection: DEFERRED (the default), IMMEDIATE, or "" for none
SQLITE_STATEMENTS = 32
"""Prepared statements that a connection keeps: those that add records are 21, and Python's 128 could take tens of
megabytes."""
BUSY_SECONDS = 15  # longest wait for another process's write to SQLite
CONNECT_SECONDS = 10
POOL_SIZE = 5
# Options of libpq that asyncpg lacks; it would send them to the server as unknown settings.
LIBPQ_ONLY = (
    "channel_binding",
    "gssencmode",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
)


def make_engine(settings: Settings) -> AsyncEngine:
    """An engine for ``database_url``, or for ``<data_dir>/lumni.db`` without it; nothing is connected yet.

    Raises ``BadDatabaseURL``. The engine's own URL holds no password: it can be printed.
    """
    if settings.database_url is None:
        return _sqlite(settings.data_dir / SQLITE_FILE)
    url = _parse(settings.database_url.get_secret_value())
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise BadDatabaseURL("DATABASE_URL names no SQLite file: write sqlite:///path/to/lumni.db")
        return _sqlite(Path(url.database))
    return _postgres(url)


def connection_errors() -> tuple[type[Exception], ...]:
    """What may go wrong with a connection. PostgreSQL's driver, 4 MiB, is loaded where something is asked of it."""
    import asyncpg

    return OSError, SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError


def address(engine: AsyncEngine) -> str:
    """Where the data are, for people: ``postgresql://host:5432/name`` or ``sqlite:///path``; no user, no password."""
    url = engine.url
    return url.set(drivername=url.get_backend_name()).render_as_string()


def _parse(text: str) -> URL:
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        # `from None`: the parser's own words may quote a part of the password.
        raise BadDatabaseURL(
            "DATABASE_URL can't be read: write postgresql://user:password@host:5432/name, "
            "with @ / : # % inside a password as %40 %2F %3A %23 %25"
        ) from None
    backend = url.drivername.partition("+")[0]
    if backend not in {"postgres", "postgresql", "sqlite"}:
        raise BadDatabaseURL("DATABASE_URL must begin with postgresql:// or sqlite:///")
    return url.set(drivername="postgresql" if backend.startswith("postgres") else "sqlite")


def _postgres(url: URL) -> AsyncEngine:
    query = {name: value for name, value in url.query.items() if name not in LIBPQ_ONLY}
    if "ssl" in query:  # SQLAlchemy's spelling
        query["sslmode"] = query.pop("ssl")
    query.setdefault("application_name", "lumni")
    # asyncpg reads the address itself, since it knows libpq's rules: sockets, sslmode, several hosts, PGPASSFILE.
    dsn = url.set(query=query).render_as_string(hide_password=False)

    async def connect() -> Any:
        import asyncpg

        try:
            return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        except OSError as error:  # TimeoutError is one
            raise Unreachable(str(error)) from error

    socket = {"host": query["host"]} if "host" in query else {}
    shown = URL.create("postgresql+asyncpg", host=url.host, port=url.port, database=url.database, query=socket)
    return create_async_engine(
        shown,
        async_creator=connect,
        hide_parameters=True,
        json_serializer=dump_json,
        json_deserializer=orjson.loads,
        pool_pre_ping=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=CONNECT_SECONDS,
    )


def dump_json(value: Any) -> str:
    """``value`` as JSON; ``bytes`` are JSON already."""
    return value.decode() if isinstance(value, bytes) else orjson.dumps(value).decode()


def _sqlite(path: Path) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"cached_statements": SQLITE_STATEMENTS},
        pool_use_lifo=True,  # the same connection again and again: it alone has the pages that it needs in memory
        hide_parameters=True,
        json_serializer=dump_json,
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # Python's driver would not put schema changes into transactions
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten, not only forgotten
        cursor.execute("PRAGMA synchronous = NORMAL")  # with WAL: a killed process loses nothing, a power cut may
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if how := connection.get_execution_options().get(SQLITE_BEGIN, "DEFERRED"):
            connection.exec_driver_sql(f"BEGIN {how}")

    return engine


def make_sqlite_file(engine: AsyncEngine) -> None:
    """Create the file and its folder, for this user only; existing ones keep their rights. Raises ``OSError``."""
    path = Path(engine.url.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
