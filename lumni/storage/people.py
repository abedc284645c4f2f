"""The repository of courses, students and keys: the only SQL about them.

Every write first raises ``people_version`` in its own transaction. Other processes see by that number that their copy
of the keys is old; and since the row is locked until the end, writes happen one after the other.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import Insert, RowMapping, Select, Table, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lumni.classroom import Course, Issued, Student, VirtualKey
from lumni.storage.rows import Row, clean_text
from lumni.storage.tables import courses, keys, people_version, students

Noun = TypeVar("Noun", Course, Student, VirtualKey)
Changes = Mapping[str, Any]


class PeopleRepository:
    """Courses, students and keys. Lists are in order of creation; what is not there is ``None``."""

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
        """A number that grows with every change below; 0 before the first."""
        async with self._engine.connect() as connection:
            return await _version(connection)

    async def issued(self) -> Issued:
        """All keys with what decides about them. Of changes made meanwhile, it holds more than its version says."""
        async with self._engine.connect() as connection:
            version = await _version(connection)
            rows = (await connection.execute(select(keys))).mappings().all()
            running = (await connection.execute(select(courses))).mappings().all()
            left = (await connection.execute(select(students.c.id).where(students.c.left_at.is_not(None)))).scalars()
            gone = frozenset(left)
        by_id = {row["id"]: _noun(Course, row) for row in running}
        return Issued(version, tuple(_noun(VirtualKey, row) for row in rows), by_id, gone)

    async def courses(self) -> list[Course]:
        return await self._all(Course, select(courses).order_by(courses.c.created_at, courses.c.id))

    async def course(self, course: str) -> Course | None:
        return await self._one(Course, select(courses).where(courses.c.id == clean_text(course)))

    async def add_course(self, course: Course) -> bool:
        """Whether it was new; one that is there stays as it is."""
        new = self._insert_new(courses).values(_row(course)).on_conflict_do_nothing().returning(courses.c.id)
        async with self._writing() as connection:
            return (await connection.execute(new)).first() is not None

    async def change_course(self, course: str, changes: Changes) -> bool:
        return await self._change(courses, course, changes)

    async def students(self, course: str | None = None) -> list[Student]:
        query = select(students).order_by(students.c.created_at, students.c.id)
        return await self._all(Student, _where(query, {"course": course}, students))

    async def student(self, student: str) -> Student | None:
        return await self._one(Student, select(students).where(students.c.id == clean_text(student)))

    async def student_by_email(self, course: str, email: str) -> Student | None:
        query = _where(select(students), {"course": course, "email": email}, students)
        return await self._one(Student, query)

    async def change_student(self, student: str, changes: Changes) -> bool:
        return await self._change(students, student, changes)

    async def enrol(
        self, new: Sequence[Student], changes: Mapping[str, Changes], issued: Sequence[VirtualKey]
    ) -> frozenset[str]:
        """A roster, all or nothing: the ids of the students that were new.

        A student whose id or e-mail the course has by now is left out, and so is her key.
        """
        added: Insert = self._insert_new(students).on_conflict_do_nothing().returning(students.c.id)
        async with self._writing() as connection:
            rows = [_row(student) for student in new]
            ids = frozenset((await connection.execute(added, rows)).scalars()) if rows else frozenset[str]()
            for student, changed in changes.items():
                await connection.execute(update(students).where(students.c.id == student).values(_values(changed)))
            if given := [_row(key) for key in issued if key.student in ids]:
                await connection.execute(insert(keys), given)
        return ids

    async def claim(self, student: str, key: VirtualKey) -> bool:
        """Give a student her first key. ``False`` when she has had one, or is not on the roster."""
        unclaimed = students.c.claimed_at.is_(None) & students.c.left_at.is_(None) & (students.c.id == student)
        async with self._writing() as connection:
            taken = update(students).where(unclaimed).values(claimed_at=key.created_at).returning(students.c.id)
            if (await connection.execute(taken)).first() is None:
                return False
            await connection.execute(insert(keys), [_row(key)])
        return True

    async def keys(self, course: str | None = None, student: str | None = None) -> list[VirtualKey]:
        query = select(keys).order_by(keys.c.created_at, keys.c.id)
        return await self._all(VirtualKey, _where(query, {"course": course, "student": student}, keys))

    async def key(self, key: str) -> VirtualKey | None:
        return await self._one(VirtualKey, select(keys).where(keys.c.id == clean_text(key)))

    async def add_key(self, key: VirtualKey) -> bool:
        """``False`` when its course or student is gone by now. A student with a key has claimed."""
        try:
            async with self._writing() as connection:
                await connection.execute(insert(keys), [_row(key)])
                first = (students.c.id == key.student) & students.c.claimed_at.is_(None)
                await connection.execute(update(students).where(first).values(claimed_at=key.created_at))
        except IntegrityError:
            return False
        return True

    async def change_key(self, key: str, changes: Changes) -> bool:
        return await self._change(keys, key, changes)

    async def counts(self) -> Mapping[str, int]:
        """Students on the roster of each course."""
        query = select(students.c.course, func.count()).where(students.c.left_at.is_(None)).group_by(students.c.course)
        async with self._engine.connect() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.begin() as connection:
            await connection.execute(self._raise_version)
            yield connection

    async def _change(self, table: Table, id_: str, changes: Changes) -> bool:
        """Whether it is there."""
        changed = update(table).where(table.c.id == clean_text(id_)).values(_values(changes)).returning(table.c.id)
        async with self._writing() as connection:
            return (await connection.execute(changed)).first() is not None

    async def _all(self, kind: type[Noun], query: Select[Any]) -> list[Noun]:
        async with self._engine.connect() as connection:
            return [_noun(kind, row) for row in (await connection.execute(query)).mappings()]

    async def _one(self, kind: type[Noun], query: Select[Any]) -> Noun | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _noun(kind, row)


async def _version(connection: AsyncConnection) -> int:
    return (await connection.execute(select(people_version.c.version))).scalar_one_or_none() or 0


def _where(query: Select[Any], wanted: Mapping[str, str | None], table: Table) -> Select[Any]:
    for column, value in wanted.items():
        if value is not None:
            query = query.where(table.c[column] == clean_text(value))
    return query


def _noun(kind: type[Noun], row: RowMapping) -> Noun:
    values: Row = dict(row)
    if values.get("models") is not None:
        values["models"] = tuple(values["models"])
    return kind(**values)


def _row(noun: Course | Student | VirtualKey) -> Row:
    return _values({field.name: getattr(noun, field.name) for field in fields(noun)})


def _values(changes: Changes) -> Row:
    return {name: _value(value) for name, value in changes.items()}


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Iterable):
        return [clean_text(item) for item in value]
    return value
