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
    if (assignment := named(request.assignment, principal)) != request.assignment:
        request = replace(request, assignment=assignment)
    principal, exam = bounds(principal, request.assignment, rules, request.created_at)
    return (_pinned(request, exam) if exam else request), principal


def named(assignment: str | None, principal: Principal) -> str | None:
    """The assignment that is worked on: the key's, if it has one. Raises :class:`PermissionDenied`."""
    if principal.assignment and assignment not in (None, principal.assignment):
        raise PermissionDenied(
            f"Your key is for the assignment {principal.assignment!r} only.",
            code="assignment_mismatch",
            param="x-lumni-assignment",
        )
    return assignment or principal.assignment


def bounds(
    principal: Principal, assignment: str | None, rules: Rules | None, now: datetime
) -> tuple[Principal, Exam | None]:
    """The caller with all allowlists that hold now, and the exam that runs.

    Raises :class:`NotFound` for an assignment that isn't the course's, :class:`PermissionDenied` where all is closed.
    """
    if rules is None or principal.role != "student":
        return principal, None
    zone = rules.course.time_zone
    if assignment is not None:
        known = rules.assignments.get(assignment)
        if known is None:
            raise NotFound(
                f"Your course has no assignment {assignment!r}.",
                code="assignment_not_found",
                param="x-lumni-assignment",
            )
        _check_window(known, now, zone)
        if known.models is not None:
            principal = replace(principal, allowlists=(*principal.allowlists, known.models))
    exam = next((exam for exam in rules.exams if exam.starts_at <= now < exam.ends_at), None)
    if exam is None:
        return principal, None
    if exam.model is None:
        _closed("exam_closed", f"There is an exam: models are closed until {shown(exam.ends_at, zone)}.")
    return replace(principal, allowlists=(*principal.allowlists, (exam.model,))), exam


def _check_window(assignment: Assignment, now: datetime, zone: str) -> None:
    if assignment.starts_at is not None and now < assignment.starts_at:
        _closed("assignment_not_open", f"{assignment.name} opens on {shown(assignment.starts_at, zone)}.")
    if assignment.ends_at is not None and now >= assignment.ends_at:
        _closed("assignment_closed", f"{assignment.name} closed on {shown(assignment.ends_at, zone)}.")


def _pinned(request: ChatRequest, exam: Exam) -> ChatRequest:
    """In an exam there is one model for all, whatever is asked for."""
    pinned = {"seed": exam.seed, "temperature": exam.temperature}
    model = exam.model or request.model
    body = {**request.body, "model": model, **{name: value for name, value in pinned.items() if value is not None}}
    return replace(request, body=body, model=model, task_type=None, provider=None, strategy=None, pinned=True)


def _closed(code: str, message: str) -> NoReturn:
    raise PermissionDenied(message, code=code)
