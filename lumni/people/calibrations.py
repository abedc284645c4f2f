"""Corrections of the classifier, learned from a course: shown, put in force and taken back by those who manage it."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from lumni.calibration import Calibration, Told
from lumni.classroom import Course
from lumni.errors import Conflict, InvalidRequest
from lumni.people.audit import Audit
from lumni.people.courses import Courses
from lumni.people.store import RulesStore
from lumni.types import Principal

if TYPE_CHECKING:
    from lumni.learning import Lesson

DAYS, LONGEST = 120, 3650
"""How far back is looked, unless told otherwise (a term), and at most."""


class LearningStore(Protocol):
    """``lumni.storage.learning`` says what it does."""

    async def told(self, course: str, since: datetime) -> list[Told]: ...


class Calibrations:
    """A course's corrections, each a version of its own. Nothing here happens but by somebody's word."""

    def __init__(
        self,
        store: RulesStore,
        learning: LearningStore,
        courses: Courses,
        now: Callable[[], datetime],
        audit: Audit,
    ) -> None:
        self._store = store
        self._learning = learning
        self._courses = courses
        self._now = now
        self._audit = audit

    async def list(self, actor: Principal, course: str) -> list[Calibration]:
        """All versions, the one that holds last; none: the weights as they were shipped."""
        await self._courses.get(actor, course)
        return await self._store.calibrations(course)

    async def learn(self, actor: Principal, course: str, weights: str, days: int = DAYS) -> "Lesson":
        """What the course taught the classifier with these ``weights`` (their id). Changes nothing.

        Raises :class:`Conflict` when it is too little.
        """
        await self._courses.get(actor, course)
        # numpy takes a tenth of a second to import: not for those who don't learn.
        from lumni.learning import learn

        told = await self._learning.told(course, self._now() - timedelta(days=days))
        return await asyncio.to_thread(learn, told, weights)

    async def apply(self, actor: Principal, course: str, weights: str, lesson: "Lesson") -> Calibration:
        """Put a lesson in force as the next version. Raises :class:`Conflict` unless it was better on unseen people."""
        found = await self._courses.get(actor, course)
        if lesson.saved.value <= 0:
            message = (
                "The correction was no better than none on people whom it was not made from, so it isn't put in force."
            )
            raise Conflict(message, code="no_better")
        figures: dict[str, Any] = asdict(lesson)
        return await self._add(
            actor, found, weights, lesson.line.slope, lesson.line.shift, figures, "calibration.apply"
        )

    async def revert(self, actor: Principal, course: str, version: int) -> Calibration:
        """Put an earlier version in force again, as the next one; 0: the weights as they were shipped."""
        found = await self._courses.get(actor, course)
        known = {one.version: one for one in await self._store.calibrations(course)}
        if not known or (version and version not in known):
            message = f"version: the course has no version {version} to return to."
            raise InvalidRequest(message, param="version")
        last = known[max(known)]
        earlier = known.get(version)
        values = (earlier.weights, earlier.slope, earlier.shift) if earlier else (last.weights, 1.0, 0.0)
        return await self._add(actor, found, *values, {"reverted_to": version}, "calibration.revert")

    async def _add(
        self,
        actor: Principal,
        course: Course,
        weights: str,
        slope: float,
        shift: float,
        figures: dict[str, Any],
        action: str,
    ) -> Calibration:
        version = len(await self._store.calibrations(course.id)) + 1
        made = Calibration(course.id, version, self._now(), actor.key_id, weights, slope, shift, figures)
        if not await self._store.add_calibration(made):
            raise Conflict("Somebody else has just changed the course's calibration. Look at it again.")
        told = {"version": version, "slope": slope, "shift": shift, "weights": weights}
        told |= {name: figures[name] for name in ("reverted_to", "votes", "people", "saved") if name in figures}
        await self._audit.done(actor, action, course.id, course.id, **told)
        return made
