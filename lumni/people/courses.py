"""Courses: made, changed, shown, and opened for claiming keys."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lumni.classroom import Course
from lumni.errors import Conflict, InvalidRequest, PermissionDenied
from lumni.intelligence.rank import scaled
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.people.secret import Secret, same_code
from lumni.people.store import PeopleStore
from lumni.people.times import in_utc, known_zone
from lumni.types import Principal

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
ADMINS_ONLY = frozenset({"weight", "priority"})
"""What lets one course have more than another: no teacher may decide that."""


@dataclass(frozen=True, slots=True)
class CourseView:
    """A course as its teachers see it: with its claim code (``None``: closed), and how many are on its roster.

    ``unknown_models`` are names on its allowlist that mean no model here.
    """

    course: Course
    claim_code: str | None
    students: int
    unknown_models: tuple[str, ...]


class Courses:
    """``unknown`` picks the names that mean no model out of an allowlist."""

    def __init__(
        self,
        store: PeopleStore,
        secret: Secret,
        now: Callable[[], datetime],
        unknown: Callable[[Iterable[str]], tuple[str, ...]],
        audit: Audit,
    ) -> None:
        self._store = store
        self._secret = secret
        self._now = now
        self._unknown = unknown
        self._audit = audit

    async def list(self, actor: Principal) -> list[CourseView]:
        """Those that ``actor`` manages."""
        mine = rights.scope(actor, None)
        counts = await self._store.counts()
        return [self._view(c, counts) for c in await self._store.courses() if mine in (None, c.id)]

    async def show(self, actor: Principal, course: str) -> CourseView:
        return self._view(await self.get(actor, course), await self._store.counts())

    async def get(self, actor: Principal, course: str) -> Course:
        """Raises :class:`NotFound`, :class:`PermissionDenied`."""
        rights.scope(actor, course)
        found = await self._store.course(course)
        if found is None:
            raise rights.missing("course", course)
        return found

    async def add(self, actor: Principal, course: str, **values: Any) -> CourseView:
        """A new course, open for claims. ``values`` are fields of :class:`Course`. Raises :class:`Conflict`."""
        rights.admin(actor)
        if not ID.fullmatch(course):
            message = "id: use small letters, digits and dashes, at most 63, such as 'cs101-2026'."
            raise InvalidRequest(message, param="id")
        values = _scaled(values)
        defaults = {"name": course, "created_at": self._now(), "claim_round": 1}
        made = checked(Course(course, **{**defaults, **in_utc(values)}))
        if not await self._store.add_course(made):
            raise Conflict(f"There is a course {course!r} already.", param="id")
        await self._audit.done(actor, "course.add", course, course, **in_utc(values))
        return self._view(made, {})

    async def change(self, actor: Principal, course: str, **values: Any) -> CourseView:
        """Change some fields of a course. Weight and priority are the admins'."""
        before = await self.get(actor, course)
        if actor.role != "admin" and (taboo := ADMINS_ONLY & values.keys()):
            raise PermissionDenied(f"Only an admin may change {' and '.join(sorted(taboo))}.")
        values = _scaled(in_utc(values))
        checked(replace(before, **values))
        if values:
            await self._store.change_course(course, values)
            await self._audit.done(actor, "course.change", course, course, **values)
        return await self.show(actor, course)

    async def renew_claim_code(self, actor: Principal, course: str) -> CourseView:
        """A new claim code; the one before opens nothing any more. Closed claims are open again."""
        before = await self.get(actor, course)
        # Rounds of a course are never used twice, also over closing: the sign says that claims are closed.
        await self._store.change_course(course, {"claim_round": abs(before.claim_round) + 1})
        await self._audit.done(actor, "course.claim_code.renew", course, course)
        return await self.show(actor, course)

    async def close_claims(self, actor: Principal, course: str) -> CourseView:
        """Nobody can claim a key any more, until there is a new code."""
        before = await self.get(actor, course)
        await self._store.change_course(course, {"claim_round": -abs(before.claim_round)})
        await self._audit.done(actor, "course.claim_code.close", course, course)
        return await self.show(actor, course)

    async def by_claim_code(self, typed: str) -> Course | None:
        """The course whose claim code somebody typed."""
        found = None
        for course in await self._store.courses():
            code = self._code(course)
            if code and same_code(typed, code):
                found = course
        return found

    def _view(self, course: Course, counts: Mapping[str, int]) -> CourseView:
        unknown = self._unknown(course.models or ())
        return CourseView(course, self._code(course), counts.get(course.id, 0), unknown)

    def _code(self, course: Course) -> str | None:
        return self._secret.claim_code(course.id, course.claim_round) if course.claim_round > 0 else None


def _scaled(values: dict[str, Any]) -> dict[str, Any]:
    """With the selection weights, if they are given, scaled to sum to 1. Raises :class:`InvalidRequest`."""
    given = values.get("selection_weights")
    return {**values, "selection_weights": scaled(given)} if given is not None else values


def checked(course: Course) -> Course:
    """The course itself. Raises :class:`InvalidRequest` when its fields can't be right together."""
    if not course.name.strip():
        raise InvalidRequest("name: a course needs a name.", param="name")
    if not known_zone(course.time_zone):
        message = "time_zone: write a name of the IANA database, such as 'Europe/Berlin'."
        raise InvalidRequest(message, param="time_zone")
    if course.starts_at and course.ends_at and course.ends_at <= course.starts_at:
        raise InvalidRequest("ends_at: the course must end after it starts.", param="ends_at")
    if course.privacy not in ("none", "hash", "redacted", "full"):
        raise InvalidRequest("privacy: must be none, hash, redacted or full.", param="privacy")
    if not 0 < course.weight <= 1000:
        raise InvalidRequest("weight: must be above 0, at most 1000.", param="weight")
    if abs(course.priority) > 100:
        raise InvalidRequest("priority: must be from -100 to 100.", param="priority")
    if course.retention_days is not None and not 1 <= course.retention_days <= 36_500:
        raise InvalidRequest("retention_days: must be from 1 to 36,500, or null to keep all.", param="retention_days")
    if course.models is not None and not course.models:
        raise InvalidRequest("models: name at least one, or leave it out to allow all.", param="models")
    return course
