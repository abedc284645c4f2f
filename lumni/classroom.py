"""The nouns of a class: courses, students and their keys, as services and storage both know them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lumni.types import Role

Privacy = Literal["none", "hash", "redacted", "full"]


@dataclass(frozen=True, slots=True)
class Course:
    """A class that shares the pool. ``starts_at`` counts, ``ends_at`` is the first moment that doesn't.

    ``models`` is an allowlist (``lumni.catalogue.allowlist``), ``None`` allows all. ``privacy`` says what of prompts
    and answers may be stored. In the queue, courses of a higher ``priority`` are served first, and ``weight`` is the
    share of each of its students relative to others'. ``claim_round`` numbers the claim codes; while it is not
    positive, no key can be claimed.
    """

    id: str
    name: str
    created_at: datetime
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    time_zone: str = "UTC"
    models: tuple[str, ...] | None = None
    privacy: Privacy = "none"
    weight: float = 1.0
    priority: int = 0
    claim_round: int = 0


@dataclass(frozen=True, slots=True)
class Student:
    """Somebody on a course's roster. ``id`` is a pseudonym: records and other services know no other name.

    ``claimed_at`` is when a first key was given out, ``left_at`` when the student was taken off the roster.
    """

    id: str
    course: str
    created_at: datetime
    email: str | None = None
    name: str | None = None
    section: str | None = None
    external_id: str | None = None
    claimed_at: datetime | None = None
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A key that Lumni gave out, without the key itself: ``hash`` is its SHA-256, ``prefix`` its first characters.

    It is valid from ``starts_at`` until before ``expires_at``, unless revoked; the one that it replaced until before
    ``previous_until``. A student's key without a student is shared by a class. ``concurrency`` is how many upstream
    calls may run with it at once.
    """

    id: str
    hash: str
    prefix: str
    role: Role
    created_at: datetime
    course: str | None = None
    student: str | None = None
    name: str | None = None
    models: tuple[str, ...] | None = None
    concurrency: int | None = None
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    previous_hash: str | None = None
    previous_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """Every key as of a version of the tables. ``left`` are the students that are no longer on their roster."""

    version: int
    keys: tuple[VirtualKey, ...]
    courses: Mapping[str, Course]
    left: frozenset[str]
