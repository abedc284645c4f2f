"""What teachers see of courses, students and keys: JSON for the routes and the command line alike. No hashes."""

from datetime import datetime

from lumni.classroom import Student, VirtualKey
from lumni.people.courses import CourseView
from lumni.people.enrolment import Enrolment
from lumni.people.keys import NewKey
from lumni.types import Json


def course_json(view: CourseView) -> Json:
    course = view.course
    return {
        "id": course.id,
        "name": course.name,
        "starts_at": _time(course.starts_at),
        "ends_at": _time(course.ends_at),
        "time_zone": course.time_zone,
        "models": None if course.models is None else list(course.models),
        "unknown_models": list(view.unknown_models),
        "privacy": course.privacy,
        "retention_days": course.retention_days,
        "weight": course.weight,
        "priority": course.priority,
        "selection_weights": None if course.selection_weights is None else dict(course.selection_weights),
        "students": view.students,
        "claim_code": view.claim_code,
        "created_at": _time(course.created_at),
    }


def student_json(student: Student) -> Json:
    return {
        "id": student.id,
        "course": student.course,
        "email": student.email,
        "name": student.name,
        "section": student.section,
        "external_id": student.external_id,
        "claimed_at": _time(student.claimed_at),
        "left_at": _time(student.left_at),
        "created_at": _time(student.created_at),
    }


def key_json(key: VirtualKey) -> Json:
    return {
        "id": key.id,
        "prefix": key.prefix,
        "role": key.role,
        "course": key.course,
        "student": key.student,
        "name": key.name,
        "models": None if key.models is None else list(key.models),
        "concurrency": key.concurrency,
        "assignment": key.assignment,
        "starts_at": _time(key.starts_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "previous_until": _time(key.previous_until),
        "created_at": _time(key.created_at),
    }


def new_key_json(made: NewKey) -> Json:
    """With the key itself, this once."""
    return {**key_json(made.key), "key": made.text}


def enrolment_json(done: Enrolment) -> Json:
    """With the new keys, this once."""
    return {
        "dry_run": done.dry_run,
        "added": [student_json(student) for student in done.added],
        "changed": [student_json(student) for student in done.changed],
        "returned": [student_json(student) for student in done.returned],
        "unchanged": done.unchanged,
        "absent": [student_json(student) for student in done.absent],
        "absent_removed": done.removed and not done.dry_run,
        "keys": [{"student": student.id, "email": student.email, "key": made.text} for student, made in done.keys],
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
