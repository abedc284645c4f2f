"""Assignments, exams, budgets and the audit log by HTTP: for admins, and for teachers within their course."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from lumni.api.errors import documented
from lumni.api.people import CourseId, listed, people_of
from lumni.api.people_schemas import Moment
from lumni.api.rule_schemas import (
    AssignmentChanges,
    BudgetChanges,
    NewAssignment,
    NewBudget,
    NewExam,
    Reset,
    TopUp,
    in_unit,
)
from lumni.api.visit import principal_of, services_of
from lumni.budget import Unit
from lumni.errors import InvalidRequest
from lumni.people.privacy import content_json
from lumni.people.rule_views import act_json, assignment_json, balance_json, budget_json, exam_json
from lumni.types import Json

router = APIRouter(tags=["rules"])
AssignmentId = Annotated[str, Path(examples=["hw-3"])]
ExamId = Annotated[str, Path(examples=["e-0123456789abcdef"])]
BudgetId = Annotated[str, Path(examples=["b-0123456789abcdef"])]
OfCourse = Annotated[str | None, Query(description="Only those of this course.")]
_LISTS = documented(401, 403)
_READS = documented(401, 403, 404)
_WRITES = documented(400, 401, 403, 404, 413)
_ADDS = documented(400, 401, 403, 404, 409, 413)


@router.get("/v1/budgets", responses=documented(401), operation_id="myBudgets", summary="One's budgets")
async def my_budgets(
    request: Request, user: Annotated[str | None, Query(description="Behind a key that a class shares: who.")] = None
) -> dict[str, Any]:
    """What is left, of every budget that may concern the caller. Teachers and admins have none."""
    budgets = services_of(request).pipeline.budgets
    return listed(await budgets.balances(principal_of(request), user))


@router.get("/admin/assignments", responses=_LISTS, operation_id="listAssignments", summary="Assignments")
async def list_assignments(request: Request, course: OfCourse = None) -> dict[str, Any]:
    """Of one course, or of all that one manages."""
    found = await people_of(request).assignments.list(principal_of(request), course)
    return listed([assignment_json(one) for one in found])


@router.post(
    "/admin/courses/{course}/assignments",
    status_code=201, responses=_ADDS, operation_id="addAssignment", summary="Add an assignment",
)  # fmt: skip
async def add_assignment(course: CourseId, assignment: NewAssignment, request: Request) -> dict[str, Any]:
    """Requests say with `x-lumni-assignment` that they are for it."""
    values = _given(assignment)
    return assignment_json(
        await people_of(request).assignments.add(principal_of(request), course, values.pop("id"), **values)
    )


@router.patch(
    "/admin/courses/{course}/assignments/{assignment}",
    responses=_WRITES, operation_id="changeAssignment", summary="Change an assignment",
)  # fmt: skip
async def change_assignment(
    course: CourseId, assignment: AssignmentId, changes: AssignmentChanges, request: Request
) -> dict[str, Any]:
    """What is left out stays."""
    changed = await people_of(request).assignments.change(principal_of(request), course, assignment, **_given(changes))
    return assignment_json(changed)


@router.delete(
    "/admin/courses/{course}/assignments/{assignment}",
    status_code=204, responses=_READS, operation_id="removeAssignment", summary="Remove an assignment",
)  # fmt: skip
async def remove_assignment(course: CourseId, assignment: AssignmentId, request: Request) -> Response:
    """Nothing is let in for it any more; what was done stays on record."""
    await people_of(request).assignments.remove(principal_of(request), course, assignment)
    return Response(status_code=204)


@router.get("/admin/exams", responses=_LISTS, operation_id="listExams", summary="Exams")
async def list_exams(request: Request, course: OfCourse = None) -> dict[str, Any]:
    """Also past ones."""
    return listed([exam_json(one) for one in await people_of(request).exams.list(principal_of(request), course)])


@router.post(
    "/admin/courses/{course}/exams",
    status_code=201, responses=_ADDS, operation_id="addExam", summary="Schedule an exam",
)  # fmt: skip
async def add_exam(course: CourseId, exam: NewExam, request: Request) -> dict[str, Any]:
    """It begins and ends by itself; streams that run finish."""
    return exam_json(await people_of(request).exams.add(principal_of(request), course, **_given(exam)))


@router.delete(
    "/admin/exams/{exam}", status_code=204, responses=_READS, operation_id="removeExam", summary="Remove an exam"
)
async def remove_exam(exam: ExamId, request: Request) -> Response:
    """One that runs ends at once."""
    await people_of(request).exams.remove(principal_of(request), exam)
    return Response(status_code=204)


@router.get("/admin/budgets", responses=_LISTS, operation_id="listBudgets", summary="Budgets")
async def list_budgets(request: Request, course: OfCourse = None) -> dict[str, Any]:
    """Of one course, or of all that one manages."""
    return listed([budget_json(one) for one in await people_of(request).budgets.list(principal_of(request), course)])


@router.post(
    "/admin/courses/{course}/budgets",
    status_code=201, responses=_ADDS, operation_id="addBudget", summary="Add a budget",
)  # fmt: skip
async def add_budget(course: CourseId, budget: NewBudget, request: Request) -> dict[str, Any]:
    """That of a whole course is the admins' to give."""
    values = _given(budget)
    values["amount"] = _amount(budget.unit, budget.amount)
    return budget_json(await people_of(request).budgets.add(principal_of(request), course, **values))


@router.get("/admin/budgets/{budget}", responses=_READS, operation_id="getBudget", summary="One budget")
async def get_budget(budget: BudgetId, request: Request) -> dict[str, Any]:
    """With its balances, the latest period first."""
    desk, actor = people_of(request).budgets, principal_of(request)
    found, views = await desk.get(actor, budget), await desk.balances(actor, budget)
    return {**budget_json(found), "balances": [balance_json(view) for view in views]}


@router.patch("/admin/budgets/{budget}", responses=_WRITES, operation_id="changeBudget", summary="Change a budget")
async def change_budget(budget: BudgetId, changes: BudgetChanges, request: Request) -> dict[str, Any]:
    """It holds at once, also for the period that runs."""
    desk, actor, values = people_of(request).budgets, principal_of(request), _given(changes)
    if "amount" in values:
        values["amount"] = _amount((await desk.get(actor, budget)).unit, changes.amount)
    return budget_json(await desk.change(actor, budget, **values))


@router.delete(
    "/admin/budgets/{budget}",
    status_code=204, responses=_READS, operation_id="removeBudget", summary="Remove a budget",
)  # fmt: skip
async def remove_budget(budget: BudgetId, request: Request) -> Response:
    """With its balances."""
    await people_of(request).budgets.remove(principal_of(request), budget)
    return Response(status_code=204)


@router.post("/admin/budgets/{budget}/top-up", responses=_WRITES, operation_id="topUpBudget", summary="Top up")
async def top_up_budget(budget: BudgetId, more: TopUp, request: Request) -> dict[str, Any]:
    """More for the period that runs, for one student or group, or for all."""
    desk, actor = people_of(request).budgets, principal_of(request)
    amount = _amount((await desk.get(actor, budget)).unit, more.amount)
    return budget_json(await desk.top_up(actor, budget, amount, more.who))


@router.post("/admin/budgets/{budget}/reset", responses=_WRITES, operation_id="resetBudget", summary="Reset a budget")
async def reset_budget(budget: BudgetId, whose: Reset, request: Request) -> dict[str, Any]:
    """Nothing counts as spent in the period that runs."""
    return {"reset": await people_of(request).budgets.reset(principal_of(request), budget, whose.who)}


@router.get(
    "/admin/requests/{request_id}/content", responses=_READS, operation_id="getContent", summary="Content of a request"
)
async def get_content(request_id: Annotated[str, Path()], request: Request) -> dict[str, Any]:
    """What its course lets be kept of prompt and answer. Each look is in the audit log."""
    return dict(content_json(await people_of(request).privacy.look(principal_of(request), request_id)))


@router.get("/admin/audit", responses=documented(400, 401, 403), operation_id="listAudit", summary="Audit log")
async def list_audit(
    request: Request,
    course: OfCourse = None,
    before: Annotated[Moment | None, Query(description="Only what was done before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Who did what, the latest first."""
    found = await people_of(request).audit.list(principal_of(request), course, before, limit)
    return listed([act_json(act) for act in found])


def _amount(unit: Unit, given: int | str) -> int:
    try:
        return in_unit(unit, given)
    except ValueError as error:
        raise InvalidRequest(f"amount: {error}.", param="amount") from None


def _given(body: AssignmentChanges | NewExam | BudgetChanges) -> Json:
    """What was really sent, lists as tuples."""
    fields = body.model_dump(exclude_unset=True)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
