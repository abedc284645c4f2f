"""``/admin/courses``, ``/admin/students``: for admins, and for teachers within their course."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from lumni.api.errors import documented
from lumni.api.people_schemas import CourseChanges, NewCourse, NewRoster, NewStudent, StudentChanges
from lumni.api.visit import principal_of, services_of
from lumni.people.roster import Roster, RosterRow, decode, parse, unique
from lumni.people.service import People
from lumni.people.views import course_json, enrolment_json, student_json
from lumni.types import Json

router = APIRouter(tags=["people"])
CourseId = Annotated[str, Path(examples=["cs101-2026"])]
StudentId = Annotated[str, Path(examples=["s-ktn4x3c5p3qzyl2a"])]
_READS = documented(401, 403, 404)
_WRITES = documented(400, 401, 403, 404, 413)
_ADDS = documented(400, 401, 403, 404, 409, 413)


@router.get("/admin/courses", responses=documented(401, 403), operation_id="listCourses", summary="Courses")
async def list_courses(request: Request) -> dict[str, Any]:
    """All courses for an admin, their own for teachers."""
    views = await people_of(request).courses.list(principal_of(request))
    return listed([course_json(view) for view in views])


@router.post("/admin/courses", status_code=201, responses=_ADDS, operation_id="addCourse", summary="Add a course")
async def add_course(course: NewCourse, request: Request) -> dict[str, Any]:
    """Admins only. Its students claim their keys with the `claim_code` of the answer."""
    values = _fields(course)
    view = await people_of(request).courses.add(principal_of(request), values.pop("id"), **values)
    return course_json(view)


@router.get("/admin/courses/{course}", responses=_READS, operation_id="getCourse", summary="One course")
async def get_course(course: CourseId, request: Request) -> dict[str, Any]:
    """With its claim code; `unknown_models` are names on its list that mean no model here."""
    return course_json(await people_of(request).courses.show(principal_of(request), course))


@router.patch("/admin/courses/{course}", responses=_WRITES, operation_id="changeCourse", summary="Change a course")
async def change_course(course: CourseId, changes: CourseChanges, request: Request) -> dict[str, Any]:
    """What is left out stays."""
    view = await people_of(request).courses.change(principal_of(request), course, **_fields(changes))
    return course_json(view)


@router.post(
    "/admin/courses/{course}/claim-code", responses=_READS, operation_id="renewClaimCode", summary="New claim code"
)
async def renew_claim_code(course: CourseId, request: Request) -> dict[str, Any]:
    """The one before opens nothing any more; closed claims are open again."""
    return course_json(await people_of(request).courses.renew_claim_code(principal_of(request), course))


@router.delete(
    "/admin/courses/{course}/claim-code", responses=_READS, operation_id="closeClaims", summary="Close claims"
)
async def close_claims(course: CourseId, request: Request) -> dict[str, Any]:
    """Nobody can claim a key until there is a new code."""
    return course_json(await people_of(request).courses.close_claims(principal_of(request), course))


@router.post(
    "/admin/courses/{course}/students",
    status_code=201, responses=_ADDS, operation_id="addStudent", summary="Add a student",
)  # fmt: skip
async def add_student(course: CourseId, student: NewStudent, request: Request) -> dict[str, Any]:
    """Put one student on the course's roster."""
    made = await people_of(request).students.add(
        principal_of(request), course, student.email, name=student.name, section=student.section
    )
    return student_json(made)


@router.put("/admin/courses/{course}/roster", responses=_WRITES, operation_id="putRoster", summary="Import a roster")
async def put_roster(course: CourseId, roster: NewRoster, request: Request) -> dict[str, Any]:
    """Bring the course's students to this roster, all or nothing. Doing it again changes nothing.

    New keys are in the answer, this once.
    """
    rows = unique(
        RosterRow(number, entry.email.lower(), entry.name, entry.section, entry.external_id)
        for number, entry in enumerate(roster.students, 1)
    )
    return await _enrol(
        request, course, rows,
        dry_run=roster.dry_run, make_keys=roster.make_keys, remove_absent=roster.remove_absent,
    )  # fmt: skip


@router.put("/admin/courses/{course}/roster.csv", include_in_schema=False)
async def put_roster_csv(
    course: CourseId,
    request: Request,
    *,
    dry_run: bool = False,
    make_keys: bool = False,
    remove_absent: bool = False,
    domain: str | None = None,
) -> dict[str, Any]:
    """The same with a file's bytes as the body, as Canvas, Moodle or Google Classroom export it."""
    roster = parse(decode(await request.body()), domain=domain)
    return await _enrol(request, course, roster, dry_run=dry_run, make_keys=make_keys, remove_absent=remove_absent)


@router.get("/admin/students", responses=documented(401, 403), operation_id="listStudents", summary="Students")
async def list_students(
    request: Request, course: Annotated[str | None, Query(description="Only those of this course.")] = None
) -> dict[str, Any]:
    """Also who left the roster."""
    found = await people_of(request).students.list(principal_of(request), course)
    return listed([student_json(student) for student in found])


@router.get("/admin/students/{student}", responses=_READS, operation_id="getStudent", summary="One student")
async def get_student(student: StudentId, request: Request) -> dict[str, Any]:
    """Under the pseudonym that records have."""
    return student_json(await people_of(request).students.get(principal_of(request), student))


@router.patch("/admin/students/{student}", responses=_WRITES, operation_id="changeStudent", summary="Change a student")
async def change_student(student: StudentId, changes: StudentChanges, request: Request) -> dict[str, Any]:
    """What is left out stays."""
    changed = await people_of(request).students.change(principal_of(request), student, **_fields(changes))
    return student_json(changed)


@router.post(
    "/admin/students/{student}/remove", responses=_READS, operation_id="removeStudent", summary="Take off the roster"
)
async def remove_student(student: StudentId, request: Request) -> dict[str, Any]:
    """The keys stop working; what was done stays on record."""
    return student_json(await people_of(request).students.remove(principal_of(request), student))


@router.post("/admin/students/{student}/restore", responses=_READS, operation_id="restoreStudent", summary="Put back")
async def restore_student(student: StudentId, request: Request) -> dict[str, Any]:
    """Back on the roster: the keys work again."""
    return student_json(await people_of(request).students.restore(principal_of(request), student))


@router.post(
    "/admin/students/{student}/erase",
    status_code=204, responses=_READS, operation_id="eraseStudent", summary="Forget a student for good",
)  # fmt: skip
async def erase_student(student: StudentId, request: Request) -> Response:
    """Name, address, keys, content and balances; records stay, and nobody can tell whose they were."""
    await people_of(request).privacy.erase(principal_of(request), student)
    return Response(status_code=204)


async def _enrol(request: Request, course: str, roster: Roster, **how: bool) -> Json:
    done = await people_of(request).enrolments.enrol(principal_of(request), course, roster, **how)
    return enrolment_json(done)


def _fields(given: CourseChanges | StudentChanges) -> dict[str, Any]:
    """What was really sent, lists as tuples."""
    fields = given.model_dump(exclude_unset=True)
    if isinstance(fields.get("models"), list):
        fields["models"] = tuple(fields["models"])
    return fields


def listed(data: list[Json]) -> Json:
    """A list as OpenAI writes lists."""
    return {"object": "list", "data": data}


def people_of(request: Request) -> People:
    services = services_of(request)
    return services.people
