"""What repositories of the classroom's tables have in common: nouns to rows and back, and the version of it all.

Every write first raises ``people_version`` in its own transaction. Other processes see by that number that their copy
is old; and since the row is locked until the end, writes happen one after the other.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, RowMapping, Select, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lumni.storage.rows import Row, clean_text
from lumni.storage.tables import people_version

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Noun = TypeVar("Noun", bound="DataclassInstance")
Changes = Mapping[str, Any]


class VersionedTables:
    """Tables whose changes every process must hear of."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        dialect: Any = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._insert_new = dialect.insert
        self._raise_version = (
            dialect.insert(people_version)
            .values(id=1, version=1)
            .on_conflict_do_update(index_elements=["id"], set_={"version": people_version.c.version + 1})
        )

    async def version(self) -> int:
        """A number that grows with every change; 0 before the first."""
        async with self._engine.connect() as connection:
            return await version_of(connection)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.begin() as connection:
            await connection.execute(self._raise_version)
            yield connection

    async def _add(self, table: Table, noun: "DataclassInstance") -> bool:
        """Whether it was new; one that is there stays as it is."""
        new = self._insert_new(table).values(row_of(noun)).on_conflict_do_nothing().returning(table.c.id)
        async with self._writing() as connection:
            return (await connection.execute(new)).first() is not None

    async def _change(self, table: Table, which: ColumnElement[bool], changes: Changes) -> bool:
        """Whether it is there."""
        changed = update(table).where(which).values(values_of(changes)).returning(table.c.id)
        async with self._writing() as connection:
            return (await connection.execute(changed)).first() is not None

    async def _remove(self, table: Table, which: ColumnElement[bool]) -> bool:
        """Whether it was there."""
        async with self._writing() as connection:
            return (await connection.execute(table.delete().where(which).returning(table.c.id))).first() is not None

    async def _all(self, kind: type[Noun], query: Select[Any]) -> list[Noun]:
        async with self._engine.connect() as connection:
            return [noun_of(kind, row) for row in (await connection.execute(query)).mappings()]

    async def _one(self, kind: type[Noun], query: Select[Any]) -> Noun | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else noun_of(kind, row)


async def version_of(connection: AsyncConnection) -> int:
    return (await connection.execute(select(people_version.c.version))).scalar_one_or_none() or 0


def where(query: Select[Any], table: Table, wanted: Mapping[str, str | None]) -> Select[Any]:
    """Only rows with these values; ``None`` asks for nothing."""
    for column, value in wanted.items():
        if value is not None:
            query = query.where(table.c[column] == clean_text(value))
    return query


def noun_of(kind: type[Noun], row: RowMapping) -> Noun:
    values: Row = dict(row)
    if values.get("models") is not None:
        values["models"] = tuple(values["models"])
    return kind(**values)


def row_of(noun: "DataclassInstance") -> Row:
    return values_of({field.name: getattr(noun, field.name) for field in fields(noun)})


def values_of(changes: Changes) -> Row:
    return {name: _value(value) for name, value in changes.items()}


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return [clean_text(item) for item in value]
    return value
