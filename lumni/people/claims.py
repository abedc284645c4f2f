"""A student's first key, for the course's claim code and the e-mail address on the roster. Once."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lumni.classroom import Course
from lumni.errors import InvalidRequest, PermissionDenied, RateLimited
from lumni.people.audit import Audit
from lumni.people.courses import Courses
from lumni.people.keys import NewKey, new_key
from lumni.people.store import PeopleStore
from lumni.people.students import email_of
from lumni.types import Principal

WINDOW = 600.0  # seconds
PER_EMAIL = 5
PER_ADDRESS = 50  # a whole class may sit behind one address, and some of them mistype
MOST_NAMES = 20_000

REFUSAL = (
    "This code and this e-mail address don't belong together, or the key was claimed already. "
    "Check both, or ask your teacher for a new key."
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A key that was just claimed, and the course it is for."""

    course: Course
    key: NewKey


class Attempts:
    """Wrong attempts of late by name, in one process. ``clock`` is in seconds. Right ones are never counted."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, name: str, most: int) -> None:
        """Raises :class:`RateLimited` after ``most`` wrong attempts in ``WINDOW`` seconds."""
        wrong, now = self._wrong.get(name), self._clock()
        while wrong and wrong[0] <= now - WINDOW:
            wrong.popleft()
        if wrong and len(wrong) >= most:
            wait = wrong[0] + WINDOW - now
            raise RateLimited(f"Too many wrong attempts. Try again in {wait / 60:.0f} minutes.", retry_after=wait)

    def wrong(self, name: str) -> None:
        self._wrong.setdefault(name, deque(maxlen=max(PER_EMAIL, PER_ADDRESS))).append(self._clock())
        self._wrong.move_to_end(name)
        while len(self._wrong) > MOST_NAMES:
            self._wrong.popitem(last=False)


class Claims:
    """Keys that students fetch themselves."""

    def __init__(
        self,
        store: PeopleStore,
        courses: Courses,
        attempts: Attempts,
        now: Callable[[], datetime],
        audit: Audit,
    ) -> None:
        self._store = store
        self._courses = courses
        self._attempts = attempts
        self._now = now
        self._audit = audit

    async def claim(self, code: str, email: str, address: str) -> Claimed:
        """The key of the student with this e-mail; ``address`` is where the request came from.

        Raises :class:`InvalidRequest`, :class:`RateLimited`, and one :class:`PermissionDenied` for whatever doesn't
        fit, so that nobody learns who is on a roster.
        """
        if not code.strip():
            raise InvalidRequest("code: type the course code that your teacher gave you.", param="code")
        email = email_of(email)
        names = ((f"email {email}", PER_EMAIL), (f"address {address}", PER_ADDRESS))
        for name, most in names:
            self._attempts.check(name, most)
        claimed = await self._try(code, email)
        if claimed is None:
            for name, _ in names:
                self._attempts.wrong(name)
            raise PermissionDenied(REFUSAL, code="claim_refused")
        key = claimed.key.key
        claimant = Principal(key.id, student=key.student, course=key.course)
        await self._audit.done(claimant, "key.claim", key.id, key.course, student=key.student)
        return claimed

    async def _try(self, code: str, email: str) -> Claimed | None:
        course = await self._courses.by_claim_code(code)
        student = await self._store.student_by_email(course.id, email) if course else None
        if course is None or student is None:
            return None
        made = new_key("student", self._now(), course.id, student.id)
        return Claimed(course, made) if await self._store.claim(student.id, made.key) else None
