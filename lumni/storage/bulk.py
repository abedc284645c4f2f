"""Many rows in one statement, on either database."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import JSON, Boolean, Column, DateTime, Double, Integer, Numeric, Table, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from lumni.storage.rows import Row

MOST_ROWS = 64  # in one statement of SQLite's


async def copy_in(connection: AsyncConnection, parts: Mapping[Table, Sequence[Row]]) -> bool:
    """Add the rows of all these tables by PostgreSQL's ``COPY``; ``False`` if one is there already: then none is added.

    Rows have a value for every column. Raises the driver's own errors.
    """
    import asyncpg  # not for SQLite: it takes 4 MiB

    driver: Any = (await connection.get_raw_connection()).driver_connection
    try:
        async with connection.begin_nested():
            for table, rows in parts.items():
                values = zip(*(_array(column, rows) for column in table.columns), strict=True)
                names = [column.name for column in table.columns]
                await driver.copy_records_to_table(table.name, records=values, columns=names)
    except asyncpg.UniqueViolationError:
        return False
    return True


async def insert_new(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> set[Any]:
    """Insert the rows that are new, the others change nothing; the first parts of the primary keys of the new ones.

    Rows have a value for every column.
    """
    if connection.dialect.name == "postgresql":
        arrays = tuple(_array(column, rows) for column in table.columns)
        return set((await connection.exec_driver_sql(_from_arrays(table), arrays)).scalars())
    # The driver itself: SQLAlchemy spells each size of a batch anew, and looks at each value.
    driver: Any = (await connection.get_raw_connection()).driver_connection
    new: set[Any] = set()
    for some in _in_powers_of_two(rows):
        statement = _of_rows(table, len(some))
        try:
            new.update(key for (key,) in await driver.execute_fetchall(statement, _sqlite_values(table, some)))
        except sqlite3.Error as error:
            raise DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True) from error
    return new


def _in_powers_of_two(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Parts of few different sizes: for each the database keeps a statement prepared."""
    start = 0
    while left := len(rows) - start:
        size = min(MOST_ROWS, 1 << (left.bit_length() - 1))
        yield rows[start : start + size]
        start += size


@cache
def _of_rows(table: Table, number: int) -> str:
    """One statement for so many rows: it keeps the interpreter's lock out of the database's work on all of them."""
    names = ", ".join(column.name for column in table.columns)
    row = f"({', '.join('?' * len(table.columns))})"
    return (
        f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row] * number)} "  # noqa: S608
        f"ON CONFLICT DO NOTHING RETURNING {_key(table).name}"
    )


def _sqlite_values(table: Table, rows: Sequence[Row]) -> list[Any]:
    """As SQLAlchemy writes them, row by row. Raises ``ValueError`` for a moment without a zone."""
    in_order, written = _reading(table)
    values: list[Any] = []
    for row in rows:
        start = len(values)
        values += in_order(row)
        for place, write in written:
            values[start + place] = write(values[start + place])
    return values


@cache
def _reading(table: Table) -> tuple[Callable[[Row], tuple[Any, ...]], list[tuple[int, Callable[[Any], Any]]]]:
    """What reads a row in the order of the table's columns, and what writes those that SQLite has no kind for."""
    writers: dict[type, Callable[[Any], Any]] = {JSON: _json_of, DateTime: _text_of, Boolean: _number_of}
    kinds = [_kind(column) for column in table.columns]
    written = [
        (place, write) for place, kind in enumerate(kinds) for of, write in writers.items() if isinstance(kind, of)
    ]
    return itemgetter(*[column.name for column in table.columns]), written


@lru_cache(maxsize=1024)
def _text_of(moment: datetime | None) -> str | None:
    """In UTC; kept, since a request's moment goes into several tables."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is not a moment")
    return moment.astimezone(UTC).isoformat(" ", "microseconds")[:26]


def _number_of(flag: bool | None) -> int | None:
    """The driver knows no booleans: it would ask around for how to write each."""
    return None if flag is None else int(flag)


def _json_of(value: Any) -> str | None:
    """``bytes`` are JSON already."""
    if value is None:
        return None
    return (value if type(value) is bytes else orjson.dumps(value)).decode()


def _key(table: Table) -> Column[Any]:
    return next(iter(table.primary_key.columns))


@cache
def _from_arrays(table: Table) -> str:
    """One array a column instead of one parameter a value: what PostgreSQL reads fastest short of COPY, which can't
    leave out what is there already.
    """
    names = ", ".join(column.name for column in table.columns)
    parameters = ", ".join(f"${n}::{_sent_as(column)}[]" for n, column in enumerate(table.columns, start=1))
    values = ", ".join(f"{c.name}::{_json_as(c)}" if isinstance(c.type, JSON) else c.name for c in table.columns)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {values} FROM unnest({parameters}) AS given ({names}) "  # noqa: S608
        f"ON CONFLICT DO NOTHING RETURNING {_key(table).name}"
    )


def _array(column: Column[Any], rows: Sequence[Row]) -> list[Any]:
    name = column.name
    values = [row[name] for row in rows]
    return [_json_of(value) for value in values] if isinstance(column.type, JSON) else values


def _json_as(column: Column[Any]) -> str:
    return "jsonb" if isinstance(column.type.dialect_impl(_POSTGRESQL), JSONB) else "json"


def _kind(column: Column[Any]) -> Any:
    return column.type.impl_instance if hasattr(column.type, "impl_instance") else column.type


def _sent_as(column: Column[Any]) -> str:
    kind = _kind(column)
    # The narrower kind first: a BigInteger is an Integer, a Double a Numeric.
    for python, sql in _KINDS:
        if isinstance(kind, python):
            return sql
    raise TypeError(f"{column} is of no kind that can be sent as an array")


_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]
_KINDS: tuple[tuple[type, str], ...] = (
    (JSON, "text"),
    (DateTime, "timestamptz"),
    (Boolean, "boolean"),
    (Integer, "bigint"),
    (Double, "float8"),
    (Numeric, "float8"),
    (Text, "text"),
)
