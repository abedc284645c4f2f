"""What a known key allows now, or why it doesn't. Only who holds a whole key ever reads these reasons."""

from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from lumni.classroom import Course, Issued, VirtualKey
from lumni.errors import AuthenticationFailed, PermissionDenied
from lumni.people.times import shown
from lumni.types import Principal


@dataclass(frozen=True, slots=True)
class Pass:
    """A key with what decides about it. ``replaced``: it is the one from before the last rotation."""

    principal: Principal
    key: VirtualKey
    course: Course | None
    left: bool
    replaced: bool = False

    def check(self, now: datetime) -> Principal:
        """Whose key it is. Raises :class:`LumniError` when it can't be used ``now``."""
        key = self.key
        if key.revoked_at is not None and key.revoked_at <= now:
            self._unknown("key_revoked", "This key was revoked. Ask your teacher for a new one.")
        if self.replaced and (key.previous_until is None or key.previous_until <= now):
            self._unknown("key_revoked", "This key was replaced by a new one. Use that, or ask your teacher.")
        if key.expires_at is not None and key.expires_at <= now:
            self._unknown(
                "key_expired", f"This key was valid until {self._time(key.expires_at)}. Ask your teacher for a new one."
            )
        if self.left:
            self._refused("not_enrolled", "You are no longer on the roster of this course. Ask your teacher.")
        if key.starts_at is not None and now < key.starts_at:
            self._refused("key_not_yet_valid", f"This key is valid from {self._time(key.starts_at)} on.")
        if self.course is not None and key.role == "student":
            self._check_course(self.course, now)
        return self.principal

    def _check_course(self, course: Course, now: datetime) -> None:
        if course.starts_at is not None and now < course.starts_at:
            self._refused("course_not_begun", f"The course begins on {self._time(course.starts_at)}.")
        if course.ends_at is not None and course.ends_at <= now:
            self._refused("course_ended", f"The course ended on {self._time(course.ends_at)}.")

    def _time(self, moment: datetime) -> str:
        return shown(moment, self.course.time_zone if self.course else "UTC")

    @staticmethod
    def _unknown(code: str, message: str) -> NoReturn:
        raise AuthenticationFailed(message, code=code)

    @staticmethod
    def _refused(code: str, message: str) -> NoReturn:
        raise PermissionDenied(message, code=code)


def passes(issued: Issued) -> dict[str, Pass]:
    """A pass for every key by its hash, and for what it replaced."""
    found: dict[str, Pass] = {}
    for key in issued.keys:
        rules = issued.rules.get(key.course) if key.course else None
        course = rules.course if rules else None
        principal, left = principal_of(key, course), key.student in issued.left
        if key.previous_hash:
            found[key.previous_hash] = Pass(principal, key, course, left, replaced=True)
        found[key.hash] = Pass(principal, key, course, left)
    return found


def principal_of(key: VirtualKey, course: Course | None) -> Principal:
    """Who holds the key, and what the course says of its holders."""
    student = key.role == "student"
    lists = (course.models if course and student else None, key.models)
    return Principal(
        key_id=key.id,
        role=key.role,
        student=key.student,
        course=key.course,
        allowlists=tuple(names for names in lists if names is not None),
        concurrency=key.concurrency,
        weight=course.weight if course else 1.0,
        priority=course.priority if course else 0,
        assignment=key.assignment,
        privacy=course.privacy if course and student else "none",
    )
