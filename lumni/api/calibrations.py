"""What a class taught the classifier, by HTTP: for admins, and for teachers within their course."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from lumni.api.errors import documented
from lumni.api.people import CourseId, listed, people_of
from lumni.api.people_schemas import Closed, Whole
from lumni.api.visit import principal_of
from lumni.intelligence.weights import shipped
from lumni.people.calibrations import DAYS, LONGEST
from lumni.people.rule_views import calibration_json

router = APIRouter(tags=["classifier"])
_CHANGES = documented(400, 401, 403, 404, 409, 413)


class NewCalibration(Closed):
    """How much of the past to learn from."""

    days: Whole = Field(DAYS, ge=1, le=LONGEST, description="So far back votes and outcomes are looked at.")


class Reverted(Closed):
    """What to return to."""

    version: Whole = Field(ge=0, description="A version of the course; 0: the weights as they were shipped.")


@router.get(
    "/admin/courses/{course}/calibrations",
    responses=documented(401, 403, 404), operation_id="listCalibrations", summary="Corrections of the classifier",
)  # fmt: skip
async def list_calibrations(course: CourseId, request: Request) -> dict[str, Any]:
    """Every version with its figures; the last one holds."""
    found = await people_of(request).calibrations.list(principal_of(request), course)
    return listed([calibration_json(one) for one in found])


@router.get(
    "/admin/courses/{course}/lesson",
    responses=documented(400, 401, 403, 404, 409), operation_id="getLesson", summary="What a class would teach",
)  # fmt: skip
async def get_lesson(
    course: CourseId, request: Request, days: Annotated[int, Query(ge=1, le=LONGEST)] = DAYS
) -> dict[str, Any]:
    """What was heard, and the figures before and after on people left out in making it. Changes nothing.

    `409` if too little was heard.
    """
    calibrations = people_of(request).calibrations
    lesson = await calibrations.learn(principal_of(request), course, shipped().id, days)
    return {"object": "lesson", "course": course, "weights": shipped().id, **asdict(lesson)}


@router.post(
    "/admin/courses/{course}/calibrations",
    status_code=201, responses=_CHANGES, operation_id="addCalibration", summary="Put a lesson in force",
)  # fmt: skip
async def add_calibration(course: CourseId, new: NewCalibration, request: Request) -> dict[str, Any]:
    """Learns anew; the answer has the figures. It holds from now on. `409` unless it is better than none."""
    actor, calibrations, weights = principal_of(request), people_of(request).calibrations, shipped().id
    lesson = await calibrations.learn(actor, course, weights, new.days)
    return calibration_json(await calibrations.apply(actor, course, weights, lesson))


@router.post(
    "/admin/courses/{course}/calibrations/revert",
    status_code=201, responses=_CHANGES, operation_id="revertCalibration", summary="Return to an earlier correction",
)  # fmt: skip
async def revert_calibration(course: CourseId, to: Reverted, request: Request) -> dict[str, Any]:
    """As a new version."""
    return calibration_json(await people_of(request).calibrations.revert(principal_of(request), course, to.version))
