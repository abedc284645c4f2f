"""The months of the records: on PostgreSQL a partition each, made ahead of their time and dropped as a whole.

What belongs to no month that is made yet is kept in a default partition, until somebody comes who may make tables.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime

from sqlalchemy import FromClause, Table, delete, func, insert, select, sql, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lumni.classroom import Act
from lumni.storage.engine import connection_errors
from lumni.storage.errors import sqlstate
from lumni.storage.migrate import LOCK
from lumni.storage.tables import (
    UTCDateTime,
    audit,
    contents,
    feedback,
    model_selections,
    requests,
    task_classifications,
    usage_metrics,
)
from lumni.storage.versioned import row_of

log = logging.getLogger(__name__)

AHEAD = 3  # months made before they begin
LOOK_SECONDS = 6 * 3600.0
LOCK_SECONDS = 5  # longest wait for running queries: behind a lock that is waited for, everything else waits too
MOMENTS: dict[Table, str] = {requests: "created_at", task_classifications: "timestamp", model_selections: "timestamp"}
"""The tables that have a partition a month, and the columns that they go by."""
_DEFAULT = sql.table("requests_default", sql.column("created_at", UTCDateTime))
_MONTH = re.compile(r"y\d{4}m\d\d")
_NAME = re.compile(rf"({'|'.join(table.name for table in MOMENTS)})_(y\d{{4}}m\d\d|default)")


@dataclass(frozen=True, slots=True)
class Partition:
    """One of the table ``requests``: its ``month`` as in ``2026-03``, ``None`` for the default one."""

    month: str | None
    requests: int
    size: int  # bytes on the disk, with the indexes


def month_of(moment: datetime) -> datetime:
    """Its first moment, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def after(month: datetime, number: int = 1) -> datetime:
    """The month that comes so many months later."""
    count = month.year * 12 + month.month - 1 + number
    return month.replace(year=count // 12, month=count % 12 + 1)


def is_table(name: str | None, kind: str, _: object = None) -> bool:
    """Whether Alembic shall look at it: not at partitions, which are their table's."""
    return kind != "table" or name is None or _NAME.fullmatch(name) is None


async def make(engine: AsyncEngine, now: datetime, more: Iterable[datetime] = ()) -> int:
    """Make the partitions of this month, the next ones and ``more``, and of what the default one has. How many.

    Raises the database's errors. SQLite has no partitions.
    """
    if engine.dialect.name != "postgresql":
        return 0
    async with engine.connect() as connection:
        there = await _made(connection)
        wanted = {after(month_of(now), number) for number in range(AHEAD + 1)} | set(map(month_of, more))
        wanted |= await _found(connection, _DEFAULT)
    missing = sorted(wanted - there)
    for month in missing:
        async with engine.begin() as connection:
            await _alone(connection)
            if month not in await _made(connection):
                await _halt(connection)  # who has chosen the default partition already would be refused
                for table, column in MOMENTS.items():
                    await _attach(connection, table.name, column, month)
    return len(missing)


async def make_if_allowed(engine: AsyncEngine, now: datetime, more: Iterable[datetime] = ()) -> None:
    """As ``make``; who may make no tables, or finds them busy, leaves it to others or for later."""
    try:
        await make(engine, now, more)
    except connection_errors() as error:
        kind = sqlstate(error) or type(error).__name__
        log.warning("partitions of coming months can't be made (%s): records go to the default one meanwhile", kind)


async def found(engine: AsyncEngine) -> set[datetime]:
    """The months that have requests."""
    async with engine.connect() as connection:
        return await _found(connection, requests)


async def partitions(engine: AsyncEngine) -> list[Partition]:
    """Those of ``requests`` with what is in them, the oldest first, the default one last; none on SQLite."""
    if engine.dialect.name != "postgresql":
        return []
    sizes = text(
        "SELECT inhrelid::regclass::text, pg_total_relation_size(inhrelid) FROM pg_inherits "
        "WHERE inhparent = 'requests'::regclass"
    )
    number = text("SELECT tableoid::regclass::text, count(*) FROM requests GROUP BY 1")
    async with engine.connect() as connection:
        rows = {row[0]: row[1] for row in await connection.execute(number)}
        found = [(row[0], row[1]) for row in await connection.execute(sizes)]
    named = [(name.removeprefix("requests_"), rows.get(name, 0), size) for name, size in found]
    mine = [one for one in named if _MONTH.fullmatch(one[0])]
    months = [Partition(f"{name[1:5]}-{name[6:]}", number, size) for name, number, size in mine]
    rest = [Partition(None, number, size) for name, number, size in named if not _MONTH.fullmatch(name)]
    return sorted(months, key=lambda one: one.month or "") + rest


async def prune(engine: AsyncEngine, before: datetime, act: Act) -> int:
    """Delete everything about requests of the months before one, sums and content too; how many requests those were.

    ``act`` goes into the audit log in the same transaction. Raises the database's errors.
    """
    before = month_of(before)
    old = requests.c.created_at < before
    async with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            await _alone(connection)
            await _halt(connection)  # a late record could leave its sums behind
        number = (await connection.execute(select(func.count()).select_from(requests).where(old))).scalar_one()
        await connection.execute(
            delete(feedback).where(feedback.c.request_id.in_(select(requests.c.request_id).where(old)))
        )
        await connection.execute(delete(contents).where(contents.c.created_at < before))
        await connection.execute(delete(usage_metrics).where(usage_metrics.c.timestamp < before))
        if engine.dialect.name == "postgresql":
            for month in await _made(connection):
                if month < before:
                    for table in MOMENTS:
                        await connection.exec_driver_sql(f"DROP TABLE {_partition(table.name, month)}")
        for table, moment in MOMENTS.items():
            await connection.execute(delete(table).where(table.c[moment] < before))
        told = replace(act, details={**act.details, "requests": number})
        await connection.execute(insert(audit), [row_of(told)])
    return number


class Months:
    """Makes partitions while the program runs."""

    def __init__(self, engine: AsyncEngine, now: Callable[[], datetime], every: float = LOOK_SECONDS) -> None:
        """``every`` is in seconds."""
        self._engine = engine
        self._now = now
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._engine.dialect.name == "postgresql":
            self._task = asyncio.create_task(self._run(), name="months")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await make_if_allowed(self._engine, self._now())


async def _alone(connection: AsyncConnection) -> None:
    """Nobody else changes tables until the end of the transaction."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))


async def _halt(connection: AsyncConnection) -> None:
    """Who writes records waits until the end of the transaction."""
    names = ", ".join(table.name for table in MOMENTS)
    await connection.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))


def _partition(table: str, month: datetime) -> str:
    return f"{table}_y{month.year:04}m{month.month:02}"


async def _made(connection: AsyncConnection) -> set[datetime]:
    names = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'requests'::regclass")
    found = [name.removeprefix("requests_") for name in (await connection.execute(names)).scalars()]
    return {datetime(int(name[1:5]), int(name[6:]), 1, tzinfo=UTC) for name in found if _MONTH.fullmatch(name)}


async def _found(connection: AsyncConnection, table: FromClause) -> set[datetime]:
    """The months of which a table like ``requests`` has something: one look into its index for each."""
    months: set[datetime] = set()
    since = datetime(1, 1, 1, tzinfo=UTC)
    while True:
        first = select(func.min(table.c.created_at)).where(table.c.created_at >= since)
        moment: datetime | None = (await connection.execute(first)).scalar()
        if moment is None or moment.year == MAXYEAR:
            return months
        months.add(month_of(moment))
        since = after(month_of(moment))


async def _attach(connection: AsyncConnection, table: str, column: str, month: datetime) -> None:
    """A partition with what the default one has of its month."""
    name = _partition(table, month)
    begin, end = f"'{month.isoformat()}'", f"'{after(month).isoformat()}'"
    mine = f"{column} >= {begin} AND {column} < {end}"
    for statement in (
        f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
        f"INSERT INTO {name} SELECT * FROM {table}_default WHERE {mine}",  # noqa: S608  (our own names)
        f"DELETE FROM {table}_default WHERE {mine}",  # noqa: S608
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({begin}) TO ({end})",
    ):
        await connection.exec_driver_sql(statement)
