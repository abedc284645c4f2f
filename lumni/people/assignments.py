"""Assignments: the pieces of a course's work, each with its window and its models."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from lumni.classroom import Assignment
from lumni.errors import Conflict, InvalidRequest
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.people.courses import Courses
from lumni.people.store import RulesStore
from lumni.people.times import in_utc
from lumni.types import Principal

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Assignments:
    """``unknown`` picks the names that mean no model out of an allowlist."""

    def __init__(
        self,
        store: RulesStore,
        courses: Courses,
        now: Callable[[], datetime],
        unknown: Callable[[Iterable[str]], tuple[str, ...]],
        audit: Audit,
    ) -> None:
        self._store = store
        self._courses = courses
        self._now = now
        self._unknown = unknown
        self._audit = audit

    async def list(self, actor: Principal, course: str | None = None) -> list[Assignment]:
        """Those of a course, or all that ``actor`` manages."""
        return await self._store.assignments(rights.scope(actor, course))

    async def get(self, actor: Principal, course: str, assignment: str) -> Assignment:
        """Raises :class:`NotFound`."""
        await self._courses.get(actor, course)
        found = await self._store.assignment(course, assignment)
        if found is None:
            raise rights.missing("assignment", assignment)
        return found

    async def add(self, actor: Principal, course: str, assignment: str, **values: Any) -> Assignment:
        """A new assignment. ``values`` are fields of :class:`Assignment`. Raises :class:`Conflict`."""
        await self._courses.get(actor, course)
        if not ID.fullmatch(assignment):
            raise InvalidRequest("id: use small letters, digits and dashes, at most 63, such as 'hw-3'.", param="id")
        given = {"name": assignment, **in_utc(values)}
        made = self._checked(Assignment(assignment, course, created_at=self._now(), **given))
        if not await self._store.add_assignment(made):
            raise Conflict(f"The course has an assignment {assignment!r} already.", param="id")
        await self._audit.done(actor, "assignment.add", assignment, course, **given)
        return made

    async def change(self, actor: Principal, course: str, assignment: str, **values: Any) -> Assignment:
        """Change some fields."""
        before = await self.get(actor, course, assignment)
        changes: Mapping[str, Any] = in_utc(values)
        self._checked(replace(before, **changes))
        if changes:
            await self._store.change_assignment(course, assignment, changes)
            await self._audit.done(actor, "assignment.change", assignment, course, **changes)
        return await self.get(actor, course, assignment)

    async def remove(self, actor: Principal, course: str, assignment: str) -> None:
        """Nothing is let in for it any more; what was done stays on record."""
        await self.get(actor, course, assignment)
        await self._store.remove_assignment(course, assignment)
        await self._audit.done(actor, "assignment.remove", assignment, course)

    def _checked(self, assignment: Assignment) -> Assignment:
        if not assignment.name.strip():
            raise InvalidRequest("name: an assignment needs a name.", param="name")
        if assignment.starts_at and assignment.ends_at and assignment.ends_at <= assignment.starts_at:
            raise InvalidRequest("ends_at: the assignment must end after it starts.", param="ends_at")
        if assignment.models is not None and (not assignment.models or self._unknown(assignment.models)):
            names = ", ".join(self._unknown(assignment.models)) or "nothing"
            raise InvalidRequest(f"models: no model here is called {names}.", param="models")
        return assignment
