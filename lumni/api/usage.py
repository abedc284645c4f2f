"""What was used: one's own, a user's, a course's, and the summary of everything."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from lumni import __version__
from lumni.api.errors import documented
from lumni.api.explain import STORED_WITHIN
from lumni.api.people import CourseId, people_of
from lumni.api.visit import principal_of, services_of
from lumni.errors import PermissionDenied
from lumni.gateway import report
from lumni.gateway.usage import Usage
from lumni.storage.usage import Group

router = APIRouter(tags=["usage"])
Since = Annotated[
    str | None, Query(examples=["2026-09-01"], json_schema_extra={"format": "date"}, description="From this day on.")
]
Until = Annotated[
    str | None,
    Query(examples=["2026-09-30"], json_schema_extra={"format": "date"}, description="Up to and with this day."),
]
Groups = Annotated[list[Group] | None, Query(max_length=6, description="Sums for each of these, besides the total.")]
OfCourse = Annotated[str | None, Query(description="Only this course's.")]
OfAssignment = Annotated[str | None, Query(description="Only for this assignment.")]
OfModel = Annotated[str | None, Query(description="Only what this model answered.")]
OfProvider = Annotated[str | None, Query(description="Only what this provider answered.")]


@router.get("/v1/usage/me", responses=documented(400, 401), operation_id="myUsage", summary="My usage")
async def my_usage(
    request: Request,
    since: Since = None,
    until: Until = None,
    group_by: Groups = None,
    assignment: OfAssignment = None,
    model: OfModel = None,
    provider: OfProvider = None,
) -> dict[str, Any]:
    """What your requests used, the one just answered included. Days are those of your course's time zone, else UTC.

    Costs are US dollars; requests whose price nobody knows are in none of them, and counted as `unpriced_requests`.
    """
    usage, actor = await _asked(request), principal_of(request)
    question = await usage.range(actor, None, since, until)
    question = replace(question, assignment=assignment, model=model, provider=provider)
    return await usage.mine(actor, question, _once(group_by))


@router.get("/api/v1/usage", responses=documented(400, 401, 403), operation_id="visibleUsage", summary="Usage")
async def visible_usage(
    request: Request,
    since: Since = None,
    until: Until = None,
    group_by: Groups = None,
    course: OfCourse = None,
    assignment: OfAssignment = None,
    model: OfModel = None,
    provider: OfProvider = None,
) -> dict[str, Any]:
    """What the key may see: an admin's and a monitor's everything, a teacher's the course, a student's the own."""
    usage, actor = await _asked(request), principal_of(request)
    question = await usage.range(actor, course, since, until)
    question = replace(question, course=course, assignment=assignment, model=model, provider=provider)
    return await usage.visible(actor, question, _once(group_by))


@router.get("/v1/usage/me/report", responses=documented(400, 401), operation_id="myReport", summary="My report card")
async def my_report(
    request: Request, since: Since = None, until: Until = None, assignment: OfAssignment = None
) -> dict[str, Any]:
    """How you used what all share: tokens, cost, cache hits, retries, waste, P95, what you did about 429s.

    Beside it the medians of your course, if at least five people asked something.
    """
    usage, actor = await _asked(request), principal_of(request)
    question = replace(await usage.range(actor, None, since, until), course=actor.course, assignment=assignment)
    if actor.student is None:
        question = replace(question, key_id=actor.key_id)
    whole = await report.report(services_of(request).database, question)
    return whole if actor.student is None else report.own(whole, actor.student)


@router.get(
    "/admin/courses/{course}/report",
    responses=documented(400, 401, 403, 404), operation_id="courseReport", summary="Report cards of a course",
)  # fmt: skip
async def course_report(
    course: CourseId, request: Request, since: Since = None, until: Until = None, assignment: OfAssignment = None
) -> dict[str, Any]:
    """A card for everyone who asked something, and the medians of the class. For admins and the course's teachers."""
    usage, actor = await _asked(request), principal_of(request)
    await people_of(request).courses.get(actor, course)
    question = replace(await usage.range(actor, course, since, until), course=course, assignment=assignment)
    return await report.report(services_of(request).database, question)


@router.get(
    "/v1/usage/{user_id}", responses=documented(400, 401, 403, 404), operation_id="userUsage", summary="A user's usage"
)
async def user_usage(
    request: Request,
    user_id: Annotated[str, Path(description="A student's id, or the `user` that requests with a shared key name.")],
    since: Since = None,
    until: Until = None,
    group_by: Groups = None,
    assignment: OfAssignment = None,
) -> dict[str, Any]:
    """Oneself; for teachers the students of their course, for admins and monitors everyone."""
    usage, actor = await _asked(request), principal_of(request)
    question = await usage.range(actor, None, since, until)
    return await usage.of(actor, user_id, replace(question, assignment=assignment), _once(group_by))


@router.get("/v1/admin/summary", responses=documented(401, 403), operation_id="adminSummary", summary="Everything")
async def admin_summary(request: Request) -> dict[str, Any]:
    """Use and cost of today, of seven days and of all time, by provider and model; people; what waits.

    For admins and monitors.
    """
    if principal_of(request).role not in ("admin", "monitor"):
        raise PermissionDenied("The summary is shown to admins and monitors only.")
    services = services_of(request)
    usage, now = await _asked(request), datetime.now(UTC)
    return {
        "object": "summary",
        "generated_at": now,
        "version": __version__,
        "started_at": services.started_at,
        **await usage.summary(now),
        "queue": {"waiting": services.quota.queue.waiting},
        "records": {"waiting": services.writer.pending, "lost": services.writer.dropped},
    }


async def _asked(request: Request) -> Usage:
    """Once this process's records are stored: the request just answered is to be seen."""
    services = services_of(request)
    await services.writer.caught_up(STORED_WITHIN)
    return Usage(services.database)


def _once(groups: list[Group] | None) -> tuple[Group, ...]:
    return tuple(dict.fromkeys(groups or ()))
