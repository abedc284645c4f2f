"""What a course's timetable makes of a request: its assignment's window and models, and exams. Pure."""

from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from lumni.classroom import Assignment, Exam, Rules
from lumni.errors import NotFound, PermissionDenied
from lumni.people.times import shown
from lumni.types import ChatRequest, Principal


def apply(request: ChatRequest, principal: Principal, rules: Rules | None) -> tuple[ChatRequest, Principal]:
    """The request and its caller as they go on, by what holds when the request arrived.

    Teachers and admins are bound by nothing here. Raises :class:`NotFound` and :class:`PermissionDenied`.
    """
    request = replace(request, assignment=_named(request, principal))
    if rules is None or principal.role != "student":
        return request, principal
    now, zone = request.created_at, rules.course.time_zone
    if request.assignment is not None:
        assignment = rules.assignments.get(request.assignment)
        if assignment is None:
            raise NotFound(
                f"Your course has no assignment {request.assignment!r}.",
                code="assignment_not_found",
                param="x-lumni-assignment",
            )
        _check_window(assignment, now, zone)
        if assignment.models is not None:
            principal = replace(principal, allowlists=(*principal.allowlists, assignment.models))
    exam = next((exam for exam in rules.exams if exam.starts_at <= now < exam.ends_at), None)
    return _examined(request, principal, exam, zone) if exam else (request, principal)


def _named(request: ChatRequest, principal: Principal) -> str | None:
    """The assignment that a request is for: the key's, if it has one."""
    if principal.assignment and request.assignment not in (None, principal.assignment):
        raise PermissionDenied(
            f"Your key is for the assignment {principal.assignment!r} only.",
            code="assignment_mismatch",
            param="x-lumni-assignment",
        )
    return request.assignment or principal.assignment


def _check_window(assignment: Assignment, now: datetime, zone: str) -> None:
    if assignment.starts_at is not None and now < assignment.starts_at:
        _closed("assignment_not_open", f"{assignment.name} opens on {shown(assignment.starts_at, zone)}.")
    if assignment.ends_at is not None and now >= assignment.ends_at:
        _closed("assignment_closed", f"{assignment.name} closed on {shown(assignment.ends_at, zone)}.")


def _examined(request: ChatRequest, principal: Principal, exam: Exam, zone: str) -> tuple[ChatRequest, Principal]:
    """In an exam there is one model for all, or none."""
    if exam.model is None:
        _closed("exam_closed", f"There is an exam: models are closed until {shown(exam.ends_at, zone)}.")
    pinned = {"seed": exam.seed, "temperature": exam.temperature}
    body = {**request.body, "model": exam.model, **{name: value for name, value in pinned.items() if value is not None}}
    asked = replace(request, body=body, model=exam.model, task_type=None, provider=None, strategy=None, pinned=True)
    return asked, replace(principal, allowlists=(*principal.allowlists, (exam.model,)))


def _closed(code: str, message: str) -> NoReturn:
    raise PermissionDenied(message, code=code)
