"""Virtual keys: given out once, rotated, revoked."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lumni.classroom import VirtualKey
from lumni.errors import Conflict, InvalidRequest, PermissionDenied
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.people.keyring import SHOWN, hash_key, make_key
from lumni.people.store import PeopleStore, RulesStore
from lumni.people.times import as_utc
from lumni.types import Principal, Role

LONGEST_GRACE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; ``text`` is the key itself, which is known to nobody afterwards."""

    key: VirtualKey
    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a key may be bound to. Moments are aware; ``models`` are an allowlist besides the course's."""

    name: str | None = None
    models: tuple[str, ...] | None = None
    concurrency: int | None = None
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    assignment: str | None = None


def new_key(role: Role, now: datetime, course: str | None, student: str | None, terms: Terms | None = None) -> NewKey:
    """A key that is not stored yet. Raises :class:`InvalidRequest` for terms that nobody could use."""
    terms = terms or Terms()
    text = make_key()
    starts = terms.starts_at and as_utc(terms.starts_at, "starts_at")
    expires = terms.expires_at and as_utc(terms.expires_at, "expires_at")
    if starts and expires and expires <= starts:
        raise InvalidRequest("expires_at: the key must expire after it starts.", param="expires_at")
    if terms.concurrency is not None and terms.concurrency < 1:
        raise InvalidRequest("concurrency: must be at least 1.", param="concurrency")
    if terms.models is not None and not terms.models:
        raise InvalidRequest("models: name at least one, or leave it out.", param="models")
    key = VirtualKey(
        id=f"k-{secrets.token_hex(8)}",
        hash=hash_key(text),
        prefix=text[:SHOWN],
        role=role,
        created_at=now,
        course=course,
        student=student,
        name=terms.name,
        models=terms.models,
        concurrency=terms.concurrency,
        starts_at=starts,
        expires_at=expires,
        assignment=terms.assignment,
    )
    return NewKey(key, text)


class Keys:
    """The keys of courses, students and services."""

    def __init__(self, store: PeopleStore, rules: RulesStore, now: Callable[[], datetime], audit: Audit) -> None:
        self._store = store
        self._now = now
        self._rules = rules
        self._audit = audit

    async def list(self, actor: Principal, course: str | None = None, student: str | None = None) -> list[VirtualKey]:
        """Those of a course, a student, or all that ``actor`` manages."""
        return await self._store.keys(rights.scope(actor, course), student)

    async def get(self, actor: Principal, key: str) -> VirtualKey:
        """Raises :class:`NotFound`, also for keys of others."""
        rights.manager(actor)
        found = await self._store.key(key)
        if found is None or not rights.manages(actor, found.course):
            raise rights.missing("key", key)
        return found

    async def add(self, actor: Principal, role: Role, course: str | None = None, terms: Terms | None = None) -> NewKey:
        """A key of no single student: shared by a class, a teacher's, an admin's or a monitor's.

        Raises :class:`PermissionDenied`: teachers give out keys for students only.
        """
        if role in ("admin", "monitor"):
            rights.admin(actor)
            if course is not None:
                raise InvalidRequest(f"course: a key for the role {role} belongs to none.", param="course")
        else:
            if course is None:
                raise InvalidRequest(f"course: a key for the role {role} needs one.", param="course")
            rights.scope(actor, course)
            if role == "teacher":
                rights.admin(actor)
            if await self._store.course(course) is None:
                raise rights.missing("course", course)
        return await self._store_new(actor, new_key(role, self._now(), course, None, terms))

    async def add_for(self, actor: Principal, student: str, terms: Terms | None = None) -> NewKey:
        """One more key for a student, who has claimed by that. Raises :class:`NotFound`."""
        rights.manager(actor)
        found = await self._store.student(student)
        if found is None or not rights.manages(actor, found.course):
            raise rights.missing("student", student)
        return await self._store_new(actor, new_key("student", self._now(), found.course, student, terms))

    async def rotate(self, actor: Principal, key: str, grace: timedelta = timedelta()) -> NewKey:
        """A new key in place of an old one, which works for ``grace`` longer. Id, owner and terms stay.

        Raises :class:`Conflict` for a revoked key.
        """
        old = await self._changeable(actor, key)
        if old.revoked_at is not None:
            raise Conflict("This key was revoked. Add a new one.")
        if not timedelta() <= grace <= LONGEST_GRACE:
            message = f"grace: must be from 0 to {LONGEST_GRACE.days} days."
            raise InvalidRequest(message, param="grace")
        text = make_key()
        changes = {
            "hash": hash_key(text),
            "prefix": text[:SHOWN],
            "previous_hash": old.hash,
            "previous_until": self._now() + grace,
        }
        await self._store.change_key(key, changes)
        await self._audit.done(actor, "key.rotate", key, old.course, grace_seconds=grace.total_seconds())
        return NewKey(await self.get(actor, key), text)

    async def revoke(self, actor: Principal, key: str) -> VirtualKey:
        """End a key for good. Revoking it again changes nothing."""
        old = await self._changeable(actor, key)
        if old.revoked_at is None:
            await self._store.change_key(key, {"revoked_at": self._now()})
            await self._audit.done(actor, "key.revoke", key, old.course)
        return await self.get(actor, key)

    async def _changeable(self, actor: Principal, key: str) -> VirtualKey:
        found = await self.get(actor, key)
        if actor.role != "admin" and found.role != "student" and found.id != actor.key_id:
            raise PermissionDenied("Only an admin may change another teacher's key.")
        return found

    async def _store_new(self, actor: Principal, made: NewKey) -> NewKey:
        key = made.key
        if key.assignment is not None and await self._rules.assignment(key.course or "", key.assignment) is None:
            raise InvalidRequest(f"assignment: the course has no {key.assignment[:63]!r}.", param="assignment")
        if not await self._store.add_key(made.key):
            raise Conflict("The course or student of the key was removed meanwhile.")
        await self._audit.done(actor, "key.add", key.id, key.course, role=key.role, student=key.student)
        return made
