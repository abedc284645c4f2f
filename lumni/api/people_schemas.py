"""What teachers and admins may send about courses, students and keys. Unknown fields are refused: they are typos."""

import re
from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import available_timezones

from annotated_types import MaxLen, MinLen
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from lumni.api.schemas import Part
from lumni.types import Privacy

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _moment(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be a time with its offset, such as 2026-09-01T08:00:00+02:00")
    return datetime.fromisoformat(value.upper())


def _whole(value: object) -> object:
    """``2.0`` as 2: to JSON it is the same."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


BEGIN, END = "2026-09-01T00:00:00+02:00", "2027-02-01T00:00:00+01:00"
Moment = Annotated[
    datetime, Field(strict=False), BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Whole = Annotated[int, BeforeValidator(_whole)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"[^\s]")]
Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^[!-?A-~]+@[!-?A-~]+$")]
Models = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=256)]], MinLen(1), MaxLen(200)]
Zone = Annotated[str, Field(json_schema_extra={"enum": sorted(available_timezones())}, examples=["Europe/Berlin"])]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CourseChanges(Closed):
    """What may be changed of a course; what is left out stays. Only admins change `weight` and `priority`."""

    name: Words = Field("", description="Its name for people.")
    starts_at: Moment | None = Field(None, examples=[BEGIN], description="Its students' keys work from here on.")
    ends_at: Moment | None = Field(None, examples=[END], description="… and before this moment.")
    time_zone: Zone = Field("UTC", description="IANA name. Days and weeks are counted in it.")
    models: Models | None = Field(None, description="Models that it may use; `null` for all.", examples=[["fast"]])
    privacy: Privacy = Field("none", description="What of prompts and answers may be stored.")
    retention_days: Whole | None = Field(
        None,
        ge=1,
        le=36_500,
        description="Days after which content goes, and owners of records; `null`: never.",
    )
    weight: float = Field(1.0, gt=0, le=1000, description="Share of each student, relative to other courses'.")
    priority: Whole = Field(0, ge=-100, le=100, description="Courses of a higher one are served first.")
    selection_weights: Annotated[dict[Part, Annotated[float, Field(ge=0, le=1000)]], MinLen(1)] | None = Field(
        None,
        examples=[{"benchmark_score": 3, "cost_efficiency": 1}],
        description="Of the score's parts, relative to each other; those left out weigh nothing. `null`: as for all.",
    )


class NewCourse(CourseChanges):
    """A new course."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Short name, such as `cs101-2026`.")


class StudentChanges(Closed):
    """What may be changed of a student; what is left out stays."""

    name: Words | None = None
    section: Words | None = None


class NewStudent(StudentChanges):
    """A new student."""

    email: Email = Field(examples=["ada@school.example"], description="With it the student claims a key.")


class RosterEntry(Closed):
    """A student as a roster has her."""

    email: Email
    name: Words | None = None
    section: Words | None = None
    external_id: Words | None = None


class NewRoster(Closed):
    """A whole class. A file as learning platforms export it goes to `roster.csv` beside this route."""

    students: Annotated[list[RosterEntry], MinLen(1), MaxLen(20_000)]
    dry_run: bool = Field(False, description="Only say what would be done.")
    make_keys: bool = Field(False, description="Make keys for new students; else they claim them.")
    remove_absent: bool = Field(False, description="Take off the roster who is not in this one.")


class KeyTerms(Closed):
    """What a key is bound to."""

    name: Words | None = Field(None, description="What it is for.")
    models: Models | None = Field(None, description="Models that it may use, of those that the course allows.")
    concurrency: Whole | None = Field(None, ge=1, le=1000, description="Upstream calls that may run with it at once.")
    starts_at: Moment | None = Field(None, examples=[BEGIN], description="It works from here on.")
    expires_at: Moment | None = Field(None, examples=[END], description="… and before this moment.")


class NewStudentKey(KeyTerms):
    """A key of one student."""

    assignment: Words | None = Field(None, description="The only assignment that it is for.")


class NewCourseKey(NewStudentKey):
    """A key shared by a class, or a teacher's (which only an admin may make)."""

    role: Literal["student", "teacher"] = "student"


class NewServiceKey(KeyTerms):
    """A key of no course."""

    role: Literal["admin", "monitor"]


class Rotation(Closed):
    """How to rotate a key."""

    grace_hours: float = Field(0.0, ge=0, le=720, description="For how long the old one works on.")
