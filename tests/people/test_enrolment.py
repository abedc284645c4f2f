"""A roster in a course: again and again, with the same end."""

import asyncio
from dataclasses import replace

import pytest

from lumni.errors import InvalidRequest, NotFound, PermissionDenied
from lumni.people.enrolment import keys_csv
from lumni.people.keys import new_key
from lumni.people.roster import Roster, RosterRow, parse, unique
from lumni.types import Principal
from tests.people.conftest import ADMIN, START, School


def roster(*logins: str, section: str | None = None) -> Roster:
    return unique(RosterRow(n, f"{login}@b.c", login.title(), section) for n, login in enumerate(logins, 2))


async def test_importing_again_changes_nothing(school: School) -> None:
    """000-60: the same students, the same keys, the same pseudonyms."""
    await school.people.courses.add(ADMIN, "cs1")
    first = await school.people.enrolments.enrol(ADMIN, "cs1", roster("ada", "ben"), make_keys=True)
    students, keys = await school.people.students.list(ADMIN), await school.people.keys.list(ADMIN)
    assert {made.key.student for _, made in first.keys} == {student.id for student in students}
    assert all(student.claimed_at == START for student in students)
    again = await school.people.enrolments.enrol(ADMIN, "cs1", roster("ben", "ada"), make_keys=True)
    assert (again.added, again.changed, again.returned, again.unchanged, again.keys) == ((), (), (), 2, ())
    assert await school.people.students.list(ADMIN) == students
    assert await school.people.keys.list(ADMIN) == keys
    for _, made in first.keys:
        assert await school.who(made.text)


async def test_a_dry_run_does_nothing_and_tells_all(school: School) -> None:
    """000-60: exactly what the import then does."""
    await school.people.courses.add(ADMIN, "cs1")
    await school.people.enrolments.enrol(ADMIN, "cs1", roster("ada", "ben", "cleo"))
    before = await school.people.students.list(ADMIN)
    news = replace(roster("ada", "dora"), rows=(*roster("ada", section="B").rows, *roster("dora").rows))
    version = await school.database.people.version()
    dry = await school.people.enrolments.enrol(ADMIN, "cs1", news, dry_run=True, make_keys=True, remove_absent=True)
    assert await school.database.people.version() == version
    assert await school.people.students.list(ADMIN) == before
    done = await school.people.enrolments.enrol(ADMIN, "cs1", news, remove_absent=True)
    assert done == replace(dry, dry_run=False)
    assert [s.name for s in done.added] == ["Dora"]
    assert [(s.name, s.section) for s in done.changed] == [("Ada", "B")]
    assert sorted(s.name or "" for s in done.absent) == ["Ben", "Cleo"]
    left = {s.name for s in await school.people.students.list(ADMIN) if s.left_at}
    assert left == {"Ben", "Cleo"}


async def test_who_comes_back_is_who_left(school: School) -> None:
    """000-60: the same pseudonym and key; and who is absent stays, unless told otherwise."""
    await school.people.courses.add(ADMIN, "cs1")
    [[ada, made]] = (await school.people.enrolments.enrol(ADMIN, "cs1", roster("ada"), make_keys=True)).keys
    kept = await school.people.enrolments.enrol(ADMIN, "cs1", roster("ben"))
    assert [s.id for s in kept.absent] == [ada.id]
    assert await school.who(made.text)
    await school.people.enrolments.enrol(ADMIN, "cs1", roster("ben"), remove_absent=True)
    with pytest.raises(PermissionDenied):
        await school.who(made.text)
    back = await school.people.enrolments.enrol(ADMIN, "cs1", roster("ada", "ben"))
    assert [s.id for s in back.returned] == [ada.id]
    assert await school.who(made.text)


async def test_a_faulty_roster_changes_nothing(school: School) -> None:
    """000-60: not even its right lines."""
    await school.people.courses.add(ADMIN, "cs1")
    with pytest.raises(InvalidRequest, match=r"nothing was changed: line 3: .*; line 4: .* line 2 already") as caught:
        await school.people.enrolments.enrol(ADMIN, "cs1", parse("Email\na@b.c\nx\na@b.c\n"))
    assert [fault["line"] for fault in caught.value.extra["faults"]] == [3, 4]
    assert await school.people.students.list(ADMIN) == []


async def test_two_imports_at_once_make_everybody_once(school: School) -> None:
    """000-60: one of them makes each student and her key, and nobody gets a key that isn't hers."""
    await school.people.courses.add(ADMIN, "cs1")
    logins = [f"s{number}" for number in range(40)]
    runs = await asyncio.gather(
        *(school.people.enrolments.enrol(ADMIN, "cs1", roster(*logins), make_keys=True) for _ in range(4))
    )
    made = [pair for run in runs for pair in run.keys]
    assert len(made) == len(await school.people.students.list(ADMIN)) == len(await school.people.keys.list(ADMIN)) == 40
    for student, key in made:
        principal = await school.who(key.text)
        assert principal is not None
        assert principal.student == student.id


async def test_rosters_are_the_teachers_own(school: School) -> None:
    """003-13."""
    await school.people.courses.add(ADMIN, "mine")
    await school.people.courses.add(ADMIN, "other")
    teacher = Principal("t", "teacher", course="mine")
    assert (await school.people.enrolments.enrol(teacher, "mine", roster("ada"))).added
    with pytest.raises(PermissionDenied):
        await school.people.enrolments.enrol(teacher, "other", roster("ada"))
    with pytest.raises(NotFound):
        await school.people.enrolments.enrol(ADMIN, "none", roster("ada"))


async def test_cells_of_the_key_file_are_no_formulas(school: School) -> None:
    """000-60: a spreadsheet that opens it runs nothing."""
    await school.people.courses.add(ADMIN, "cs1")
    student = await school.people.students.add(ADMIN, "cs1", "=cmd@b.c", name="=HYPERLINK(1)", section="-x")
    made = new_key("student", START, "cs1", student.id)
    lines = keys_csv([(student, made)]).splitlines()
    assert lines == ["name,email,section,student,key", f"'=HYPERLINK(1),'=cmd@b.c,'-x,{student.id},{made.text}"]
