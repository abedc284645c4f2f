"""The repository of courses, students and keys: the only SQL about them."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Insert, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from lumni.classroom import Course, Issued, Student, VirtualKey
from lumni.storage.rows import clean_text
from lumni.storage.rules import all_rules
from lumni.storage.tables import courses, keys, students
from lumni.storage.versioned import Changes, VersionedTables, noun_of, row_of, values_of, version_of, where


class PeopleRepository(VersionedTables):
    """Courses, students and keys. Lists are in order of creation; what is not there is ``None``."""

    async def issued(self) -> Issued:
        """All keys with what decides about them. Of changes made meanwhile, it holds more than its version says."""
        async with self._engine.connect() as connection:
            version = await version_of(connection)
            rows = (await connection.execute(select(keys))).mappings().all()
            left = (await connection.execute(select(students.c.id).where(students.c.left_at.is_not(None)))).scalars()
            gone = frozenset(left)
            rules = await all_rules(connection)
        return Issued(version, tuple(noun_of(VirtualKey, row) for row in rows), rules, gone)

    async def courses(self) -> list[Course]:
        return await self._all(Course, select(courses).order_by(courses.c.created_at, courses.c.id))

    async def course(self, course: str) -> Course | None:
        return await self._one(Course, select(courses).where(courses.c.id == clean_text(course)))

    async def add_course(self, course: Course) -> bool:
        """Whether it was new; one that is there stays as it is."""
        return await self._add(courses, course)

    async def change_course(self, course: str, changes: Changes) -> bool:
        return await self._change(courses, courses.c.id == clean_text(course), changes)

    async def students(self, course: str | None = None) -> list[Student]:
        query = select(students).order_by(students.c.created_at, students.c.id)
        return await self._all(Student, where(query, students, {"course": course}))

    async def student(self, student: str) -> Student | None:
        return await self._one(Student, select(students).where(students.c.id == clean_text(student)))

    async def student_by_email(self, course: str, email: str) -> Student | None:
        query = where(select(students), students, {"course": course, "email": email})
        return await self._one(Student, query)

    async def change_student(self, student: str, changes: Changes) -> bool:
        return await self._change(students, students.c.id == clean_text(student), changes)

    async def remove_student(self, student: str) -> bool:
        """For good, with her keys. Whether she was there."""
        return await self._remove(students, students.c.id == clean_text(student))

    async def enrol(
        self, new: Sequence[Student], changes: Mapping[str, Changes], issued: Sequence[VirtualKey]
    ) -> frozenset[str]:
        """A roster, all or nothing: the ids of the students that were new.

        A student whose id or e-mail the course has by now is left out, and so is her key.
        """
        added: Insert = self._insert_new(students).on_conflict_do_nothing().returning(students.c.id)
        async with self._writing() as connection:
            rows = [row_of(student) for student in new]
            ids = frozenset((await connection.execute(added, rows)).scalars()) if rows else frozenset[str]()
            for student, changed in changes.items():
                await connection.execute(update(students).where(students.c.id == student).values(values_of(changed)))
            if given := [row_of(key) for key in issued if key.student in ids]:
                await connection.execute(insert(keys), given)
        return ids

    async def claim(self, student: str, key: VirtualKey) -> bool:
        """Give a student her first key. ``False`` when she has had one, or is not on the roster."""
        unclaimed = students.c.claimed_at.is_(None) & students.c.left_at.is_(None) & (students.c.id == student)
        async with self._writing() as connection:
            taken = update(students).where(unclaimed).values(claimed_at=key.created_at).returning(students.c.id)
            if (await connection.execute(taken)).first() is None:
                return False
            await connection.execute(insert(keys), [row_of(key)])
        return True

    async def keys(self, course: str | None = None, student: str | None = None) -> list[VirtualKey]:
        query = select(keys).order_by(keys.c.created_at, keys.c.id)
        return await self._all(VirtualKey, where(query, keys, {"course": course, "student": student}))

    async def key(self, key: str) -> VirtualKey | None:
        return await self._one(VirtualKey, select(keys).where(keys.c.id == clean_text(key)))

    async def add_key(self, key: VirtualKey) -> bool:
        """``False`` when its course or student is gone by now. A student with a key has claimed."""
        try:
            async with self._writing() as connection:
                await connection.execute(insert(keys), [row_of(key)])
                first = (students.c.id == key.student) & students.c.claimed_at.is_(None)
                await connection.execute(update(students).where(first).values(claimed_at=key.created_at))
        except IntegrityError:
            return False
        return True

    async def change_key(self, key: str, changes: Changes) -> bool:
        return await self._change(keys, keys.c.id == clean_text(key), changes)

    async def counts(self) -> Mapping[str, int]:
        """Students on the roster of each course."""
        query = select(students.c.course, func.count()).where(students.c.left_at.is_(None)).group_by(students.c.course)
        async with self._engine.connect() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}
