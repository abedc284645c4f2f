"""From one database to another, page by page, each page read back and compared."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import JSON, Column, Integer, Table, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lumni.storage import months, rollup
from lumni.storage.bulk import copy_in, insert_new
from lumni.storage.database import Database
from lumni.storage.errors import StorageError
from lumni.storage.months import MOMENTS
from lumni.storage.rows import Row
from lumni.storage.tables import metadata, people_version, requests, usage_metrics

PAGE = 2000
_MADE_THERE = frozenset({usage_metrics, people_version})  # sums and the counter of changes: each database has its own


class CopyDiffers(StorageError):
    """The target holds something else under the same key; the message says which."""


@dataclass(slots=True)
class Copied:
    """One table: its rows in the source, how many of them were new in the target, and a checksum of all of them.

    The checksum is the exclusive or of 64-bit BLAKE2b digests of the rows as JSON, in whatever order; without the
    columns that hold JSON themselves, which the databases spell in their own ways (they are compared by value).
    """

    table: str
    rows: int = 0
    new: int = 0
    checksum: int = 0


async def copy(source: Database, target: Database, progress: Callable[[int], None] = lambda _: None) -> list[Copied]:
    """Copy every table. What is there already stays and must be the same; so a broken copy is simply begun again.

    ``progress`` is told the number of rows of each page that is done. Sums are made in the target from the records that
    are new to it. Raises :class:`CopyDiffers`, and the databases' own errors.
    """
    await months.make_if_allowed(target.engine, datetime.now(UTC), await months.found(source.engine))
    done = []
    for table in metadata.sorted_tables:
        if table in _MADE_THERE:
            continue
        copied = Copied(table.name)
        async for page in _pages(source.engine, table):
            await _store(target.engine, table, page, copied)
            copied.rows += len(page)
            progress(len(page))
        done.append(copied)
    async with target.engine.begin() as connection:
        await _finish(connection)
    return done


async def count(database: Database) -> dict[str, int]:
    """Rows of each table."""
    async with database.engine.connect() as connection:
        return {
            table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in metadata.sorted_tables
        }


def to_copy(counts: Mapping[str, int]) -> int:
    """How many rows :func:`copy` goes through."""
    return sum(number for name, number in counts.items() if metadata.tables[name] not in _MADE_THERE)


async def _pages(engine: AsyncEngine, table: Table) -> AsyncIterator[list[Row]]:
    """All rows by their key: a process may write meanwhile, and no transaction is held open."""
    names, key, key_of = _names(table.columns), _key(table), _key_of(table)
    last: tuple[Any, ...] | None = None
    while True:
        query = select(table).order_by(*key).limit(PAGE)
        if last is not None:
            query = query.where(tuple_(*key) > tuple_(*last))
        async with engine.connect() as connection:
            page = [dict(zip(names, row, strict=True)) for row in (await connection.execute(query)).all()]
        if not page:
            return
        yield page
        last = key_of(page[-1])


async def _store(engine: AsyncEngine, table: Table, page: Sequence[Row], copied: Copied) -> None:
    """One page in one transaction, compared with what the target then has."""
    names, key, key_of = _names(table.columns), _key(table), _key_of(table)
    first, last = (tuple_(*key_of(row)) for row in (page[0], page[-1]))
    within = tuple_(*key).between(first, last)
    async with engine.begin() as connection:
        missing = page
        if connection.dialect.name != "postgresql" or not await copy_in(connection, {table: page}):
            known = {tuple(row) for row in await connection.execute(select(*key).where(within))}
            missing = [row for row in page if key_of(row) not in known]
            if missing:
                await insert_new(connection, table, missing)
        if table is requests:
            await rollup.add(connection, missing)
        found = (await connection.execute(select(table).where(within))).all()
        there = {key_of(row): row for row in (dict(zip(names, row, strict=True)) for row in found)}
        for row in page:
            if there.get(key_of(row)) != row:
                what = "is another one there" if key_of(row) in there else "is missing there"
                raise CopyDiffers(f"{table.name}: the row {key_of(row)} {what}; nothing of its page was stored")
    plain = itemgetter(*_names(column for column in table.columns if not isinstance(column.type, JSON)))
    for row in page:
        copied.checksum ^= _digest(plain(row))
    copied.new += len(missing)


async def _finish(connection: AsyncConnection) -> None:
    """Numbers that the database gives out go on after the copied ones, and running gateways look at the keys anew."""
    await connection.execute(people_version.update().values(version=people_version.c.version + 1))
    if connection.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        for column in table.primary_key.columns:
            if isinstance(column.type, Integer) and column is table.autoincrement_column:
                sequence = f"pg_get_serial_sequence('{table.name}', '{column.name}')"
                largest = f"(SELECT max({column.name}) FROM {table.name})"  # noqa: S608  (names of our own tables)
                await connection.execute(text(f"SELECT setval({sequence}, {largest}) WHERE {largest} IS NOT NULL"))


def _names(columns: Iterable[Column[Any]]) -> list[str]:
    return [str(column.name) for column in columns]


def _key(table: Table) -> list[Column[Any]]:
    """What a table is gone through by: records in the order of time, so that a page touches few sums and partitions."""
    moment = [table.c[MOMENTS[table]]] if table in MOMENTS else []
    return [*moment, *table.primary_key.columns]


def _key_of(table: Table) -> Callable[[Row], tuple[Any, ...]]:
    names = _names(_key(table))
    return lambda row: tuple([row[name] for name in names])


def _digest(values: Any) -> int:
    return int.from_bytes(blake2b(orjson.dumps(values), digest_size=8).digest(), "big")
