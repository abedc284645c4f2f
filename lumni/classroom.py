"""The nouns of a class: courses, students, keys, assignments and exams, as services and storage both know them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lumni.budget import Balance, Budget
from lumni.calibration import Calibration
from lumni.types import Privacy, Role


@dataclass(frozen=True, slots=True)
class Course:
    """A class that shares the pool. ``starts_at`` counts, ``ends_at`` is the first moment that doesn't.

    ``models`` is an allowlist (``lumni.catalogue.allowlist``), ``None`` allows all. ``privacy`` says what of prompts
    and answers may be stored. In the queue, courses of a higher ``priority`` are served first, and ``weight`` is the
    share of each of its students relative to others'. ``claim_round`` numbers the claim codes; while it is not
    positive, no key can be claimed. Records and content are kept for ``retention_days``, ``None``: for good.
    ``selection_weights`` are its own of the parts by which models are ranked, summing to 1; ``None``: everybody's.
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
    retention_days: int | None = None
    selection_weights: Mapping[str, float] | None = None


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
    assignment: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """A piece of a course's work. Requests for it are let in from ``starts_at`` until before ``ends_at``.

    ``models`` is an allowlist besides the course's and the key's. ``id`` is unique within its course.
    """

    id: str
    course: str
    name: str
    created_at: datetime
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Exam:
    """A time in which a course's students are served otherwise: not at all, or by one ``model`` only.

    ``seed`` and ``temperature`` then replace the client's.
    """

    id: str
    course: str
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    name: str | None = None
    model: str | None = None
    seed: int | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for the requests of one course. ``groups`` are the sections of its students, by student.

    ``calibration`` is what the course taught the classifier, in the version that holds.
    """

    course: Course
    assignments: Mapping[str, Assignment] = field(default_factory=dict)
    exams: tuple[Exam, ...] = ()
    budgets: tuple[Budget, ...] = ()
    top_ups: Mapping[Balance, int] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """Every key as of a version of the tables, and the rules by course.

    ``left`` are the students that are no longer on their roster.
    """

    version: int
    keys: tuple[VirtualKey, ...]
    rules: Mapping[str, Rules]
    left: frozenset[str]


@dataclass(frozen=True, slots=True)
class Act:
    """An entry of the audit log: who did what to whom. ``actor`` is a key's id; ``details`` are JSON.

    Neither holds the name or address of a student, so that it can outlive her records.
    """

    id: str
    at: datetime
    actor: str
    role: Role
    action: str
    subject: str
    course: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """What a course allows to keep of one request: keyed hashes, or texts too, with what is personal blacked out."""

    request_id: str
    created_at: datetime
    course: str
    student: str | None
    privacy: Privacy
    prompt_hash: str
    answer_hash: str
    prompt: str | None = None
    answer: str | None = None
