"""Exams: times in which a course is served otherwise. They begin and end by themselves."""

from collections.abc import Callable, Iterable
from datetime import datetime
from secrets import token_hex
from typing import Any

from lumni.classroom import Exam
from lumni.errors import Conflict, InvalidRequest
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.people.courses import Courses
from lumni.people.store import RulesStore
from lumni.people.times import in_utc
from lumni.types import Principal

MOST_SEED = 2**63 - 1


class Exams:
    """``unknown`` picks the names that mean no model."""

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

    async def list(self, actor: Principal, course: str | None = None) -> list[Exam]:
        """Those of a course, or all that ``actor`` manages, also past ones."""
        return await self._store.exams(rights.scope(actor, course))

    async def get(self, actor: Principal, exam: str) -> Exam:
        """Raises :class:`NotFound`, also for exams of others."""
        rights.manager(actor)
        found = await self._store.exam(exam)
        if found is None or not rights.manages(actor, found.course):
            raise rights.missing("exam", exam)
        return found

    async def add(self, actor: Principal, course: str, **values: Any) -> Exam:
        """A new exam. ``values`` are fields of :class:`Exam`. Raises :class:`Conflict` when another one overlaps."""
        await self._courses.get(actor, course)
        made = Exam(f"e-{token_hex(8)}", course, self._now(), **in_utc(values))
        self._check(made)
        for other in await self._store.exams(course):
            if made.starts_at < other.ends_at and other.starts_at < made.ends_at:
                raise Conflict(f"The exam {other.id} is at the same time.", param="starts_at")
        await self._store.add_exam(made)
        await self._audit.done(actor, "exam.add", made.id, course, **in_utc(values))
        return made

    async def remove(self, actor: Principal, exam: str) -> None:
        """One that runs ends at once."""
        before = await self.get(actor, exam)
        await self._store.remove_exam(exam)
        await self._audit.done(actor, "exam.remove", exam, before.course)

    def _check(self, exam: Exam) -> None:
        if exam.ends_at <= exam.starts_at:
            raise InvalidRequest("ends_at: the exam must end after it starts.", param="ends_at")
        if exam.model is None and (exam.seed is not None or exam.temperature is not None):
            raise InvalidRequest("model: seed and temperature need a model.", param="model")
        if exam.model is not None and self._unknown([exam.model]):
            raise InvalidRequest(f"model: no model here is called {exam.model}.", param="model")
        if exam.temperature is not None and not 0 <= exam.temperature <= 2:
            raise InvalidRequest("temperature: must be from 0 to 2.", param="temperature")
        if exam.seed is not None and abs(exam.seed) > MOST_SEED:
            raise InvalidRequest("seed: must fit 64 bits.", param="seed")
