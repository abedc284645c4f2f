"""The repository of content, and of what is forgotten: erased students, and courses' old requests."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lumni.classroom import Content
from lumni.storage.rows import clean_text
from lumni.storage.tables import contents, courses, keys, requests, students
from lumni.storage.versioned import noun_of, row_of

LATEST = timedelta(days=2)  # after its request, a record may still come from a spool
NOBODY = "erased"
"""In the place of a student and her key on records whose owner is forgotten."""


class ContentRepository:
    """Content where a course asks for it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        dialect: Any = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._insert_new = dialect.insert(contents).on_conflict_do_nothing()

    async def add(self, kept: Sequence[Content]) -> None:
        """What is there stays as it is."""
        if kept:
            async with self._engine.begin() as connection:
                await connection.execute(self._insert_new, [row_of(one) for one in kept])

    async def get(self, request_id: str) -> Content | None:
        query = select(contents).where(contents.c.request_id == clean_text(request_id))
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else noun_of(Content, row)

    async def erase(self, student: str) -> None:
        """Forget a student's content, and whose her records are. What was used stays, so that sums stay right."""
        async with self._engine.begin() as connection:
            mine = select(keys.c.id).where(keys.c.student == student)
            await connection.execute(delete(contents).where(contents.c.student == student))
            await _disown(connection, or_(requests.c.student == student, requests.c.key_id.in_(mine)))

    async def expire(self, now: datetime) -> int:
        """Forget what courses keep no longer, and whose records are that came after an erasure. How many records."""
        forgotten = 0
        async with self._engine.connect() as connection:
            limited = select(courses.c.id, courses.c.retention_days).where(courses.c.retention_days.is_not(None))
            terms = (await connection.execute(limited)).all()
        for course, days in terms:
            until = now - timedelta(days=days)
            async with self._engine.begin() as connection:
                old = and_(contents.c.course == course, contents.c.created_at < until)
                await connection.execute(delete(contents).where(old))
                theirs = and_(requests.c.course == course, requests.c.created_at < until)
                forgotten += await _disown(connection, theirs)
        async with self._engine.begin() as connection:
            known = select(students.c.id)
            await connection.execute(
                delete(contents).where(contents.c.student.is_not(None), contents.c.student.not_in(known))
            )
            late = and_(requests.c.student.is_not(None), requests.c.created_at > now - LATEST)
            unknown = and_(requests.c.course.is_not(None), requests.c.student.not_in(known))
            forgotten += await _disown(connection, and_(late, unknown))
        return forgotten


async def _disown(connection: AsyncConnection, which: ColumnElement[bool]) -> int:
    """Take from records whose they are, and what their clients made up."""
    not_yet = requests.c.key_id != NOBODY
    values = {"student": NOBODY, "key_id": NOBODY, "label": None, "client_request_id": None}
    done: CursorResult[Any] = await connection.execute(update(requests).where(which, not_yet).values(values))
    return done.rowcount
