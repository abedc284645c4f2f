"""``/admin/keys``: for admins, and for teachers within their course. A key is shown once, when it is made."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from lumni.api.errors import documented
from lumni.api.people import CourseId, StudentId, listed, people_of
from lumni.api.people_schemas import KeyTerms, NewCourseKey, NewServiceKey, NewStudentKey, Rotation
from lumni.api.visit import principal_of
from lumni.people.keys import Terms
from lumni.people.views import key_json, new_key_json

router = APIRouter(tags=["people"])
KeyId = Annotated[str, Path(examples=["k-0123456789abcdef"])]
_READS = documented(401, 403, 404)
_ADDS = documented(400, 401, 403, 404, 409, 413)


@router.get("/admin/keys", responses=documented(401, 403), operation_id="listKeys", summary="Keys")
async def list_keys(
    request: Request,
    course: Annotated[str | None, Query(description="Only those of this course.")] = None,
    student: Annotated[str | None, Query(description="Only those of this student.")] = None,
) -> dict[str, Any]:
    """Also revoked ones; never the keys themselves."""
    found = await people_of(request).keys.list(principal_of(request), course, student)
    return listed([key_json(key) for key in found])


@router.post("/admin/keys", status_code=201, responses=_ADDS, operation_id="addKey", summary="Add an admin's key")
async def add_key(terms: NewServiceKey, request: Request) -> dict[str, Any]:
    """For an admin or a monitoring system. Admins only."""
    return new_key_json(await people_of(request).keys.add(principal_of(request), terms.role, None, _terms(terms)))


@router.post(
    "/admin/courses/{course}/keys",
    status_code=201, responses=_ADDS, operation_id="addCourseKey", summary="Add a key of a course",
)  # fmt: skip
async def add_course_key(course: CourseId, terms: NewCourseKey, request: Request) -> dict[str, Any]:
    """Shared by a class (requests tell its users apart by `user`), or for a teacher."""
    return new_key_json(await people_of(request).keys.add(principal_of(request), terms.role, course, _terms(terms)))


@router.post(
    "/admin/students/{student}/keys",
    status_code=201, responses=_ADDS, operation_id="addStudentKey", summary="Add a student's key",
)  # fmt: skip
async def add_student_key(student: StudentId, terms: NewStudentKey, request: Request) -> dict[str, Any]:
    """One more for a student, who can't claim one from then on."""
    return new_key_json(await people_of(request).keys.add_for(principal_of(request), student, _terms(terms)))


@router.get("/admin/keys/{key}", responses=_READS, operation_id="getKey", summary="One key")
async def get_key(key: KeyId, request: Request) -> dict[str, Any]:
    """By its id; never the key itself."""
    return key_json(await people_of(request).keys.get(principal_of(request), key))


@router.post("/admin/keys/{key}/rotate", responses=_ADDS, operation_id="rotateKey", summary="Rotate a key")
async def rotate_key(key: KeyId, how: Rotation, request: Request) -> dict[str, Any]:
    """A new key in place of the old one; id, owner and terms stay."""
    grace = timedelta(hours=how.grace_hours)
    return new_key_json(await people_of(request).keys.rotate(principal_of(request), key, grace))


@router.post("/admin/keys/{key}/revoke", responses=_READS, operation_id="revokeKey", summary="Revoke a key")
async def revoke_key(key: KeyId, request: Request) -> dict[str, Any]:
    """End it for good, in every process within half a second."""
    return key_json(await people_of(request).keys.revoke(principal_of(request), key))


def _terms(given: KeyTerms) -> Terms:
    models = None if given.models is None else tuple(given.models)
    assignment = given.assignment if isinstance(given, NewStudentKey) else None
    return Terms(given.name, models, given.concurrency, given.starts_at, given.expires_at, assignment)
