"""Students, one by one. A whole class comes by its roster (``lumni.people.enrolment``)."""

import re
from collections.abc import Callable
from datetime import datetime

from lumni.classroom import Student
from lumni.errors import Conflict, InvalidRequest
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.people.secret import Secret
from lumni.people.store import PeopleStore
from lumni.types import Principal

EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+")
LONGEST_EMAIL = 254  # RFC 5321, 4.5.3.1.3, without the brackets


def email_of(written: str) -> str:
    """The address as it is compared: in small letters. Raises :class:`InvalidRequest` when it can't be one."""
    email = written.strip().lower()
    if len(email) > LONGEST_EMAIL or not EMAIL.fullmatch(email):
        raise InvalidRequest(f"email: {written.strip()[:80]!r} is no e-mail address.", param="email")
    return email


class Students:
    """A course's roster. The audit log knows students by their pseudonyms only."""

    def __init__(self, store: PeopleStore, secret: Secret, now: Callable[[], datetime], audit: Audit) -> None:
        self._store = store
        self._secret = secret
        self._now = now
        self._audit = audit

    async def list(self, actor: Principal, course: str | None = None) -> list[Student]:
        """Those of a course, or all that ``actor`` manages, also who left."""
        return await self._store.students(rights.scope(actor, course))

    async def get(self, actor: Principal, student: str) -> Student:
        """Raises :class:`NotFound`, also for students of others."""
        rights.manager(actor)
        found = await self._store.student(student)
        if found is None or not rights.manages(actor, found.course):
            raise rights.missing("student", student)
        return found

    async def add(
        self, actor: Principal, course: str, email: str, *, name: str | None = None, section: str | None = None
    ) -> Student:
        """Put one student on a roster. Raises :class:`Conflict` when she is there already."""
        rights.scope(actor, course)
        if await self._store.course(course) is None:
            raise rights.missing("course", course)
        email = email_of(email)
        made = self.made(course, email, name=name, section=section)
        if not await self._store.enrol([made], {}, ()):
            raise Conflict(f"{email} is on the roster of {course!r} already.", param="email")
        await self._audit.done(actor, "student.add", made.id, course)
        return made

    async def change(self, actor: Principal, student: str, **values: str | None) -> Student:
        """Change name or section."""
        before = await self.get(actor, student)
        if values:
            await self._store.change_student(student, values)
            await self._audit.done(actor, "student.change", student, before.course, fields=sorted(values))
        return await self.get(actor, student)

    async def remove(self, actor: Principal, student: str) -> Student:
        """Take a student off the roster: her keys stop working, what she did stays on record."""
        before = await self.get(actor, student)
        if before.left_at is None:
            await self._store.change_student(student, {"left_at": self._now()})
            await self._audit.done(actor, "student.remove", student, before.course)
        return await self.get(actor, student)

    async def restore(self, actor: Principal, student: str) -> Student:
        """Put her back on: her keys work again."""
        before = await self.get(actor, student)
        await self._store.change_student(student, {"left_at": None})
        await self._audit.done(actor, "student.restore", student, before.course)
        return await self.get(actor, student)

    def made(
        self,
        course: str,
        email: str,
        *,
        name: str | None = None,
        section: str | None = None,
        external_id: str | None = None,
    ) -> Student:
        """A student who is not stored yet. The same e-mail in the same course always gives the same pseudonym."""
        return Student(
            id=self._secret.pseudonym(course, email),
            course=course,
            created_at=self._now(),
            email=email,
            name=name,
            section=section,
            external_id=external_id,
        )
