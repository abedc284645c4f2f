"""Keys: what they open, when, and what a thief of the database gets."""

import asyncio
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from lumni.errors import AuthenticationFailed, Conflict, InvalidRequest, LumniError, NotFound, PermissionDenied
from lumni.people import keyring as module
from lumni.people.keyring import Keyring, hash_key
from lumni.people.keys import Terms
from lumni.storage.tables import metadata
from lumni.types import Principal
from tests.people.conftest import ADMIN, START, School

DAY = timedelta(days=1)


async def refused(school: School, key: str) -> tuple[int, str]:
    with pytest.raises(LumniError) as caught:
        await school.who(key)
    assert key not in str(caught.value)
    return caught.value.status, caught.value.code


async def test_a_students_key_says_who_she_is(school: School) -> None:
    """000-60: a key of her own, and what her course says of her."""
    await school.people.courses.add(ADMIN, "cs1", models=("groq-8b",), weight=2.0, priority=1)
    ada = await school.people.students.add(ADMIN, "cs1", "Ada@School.example", name="Ada")
    made = await school.people.keys.add_for(ADMIN, ada.id, Terms(models=("big-70b", "groq-8b"), concurrency=2))
    assert await school.who(made.text) == Principal(
        key_id=made.key.id,
        role="student",
        student=ada.id,
        course="cs1",
        allowlists=(("groq-8b",), ("big-70b", "groq-8b")),
        concurrency=2,
        weight=2.0,
        priority=1,
    )
    assert ada.email == "ada@school.example"
    assert "ada" not in ada.id


async def test_the_unified_key_stays_the_admins(school: School) -> None:
    """000-34: it opens everything, also when there are other keys."""
    found = await school.who("unified")
    assert found is not None
    assert (found.role, found.student, found.course) == ("admin", None, None)
    assert await school.who("no key at all") is None


async def test_a_stolen_database_reveals_no_key_and_no_claim_code(school: School) -> None:
    """000-60, 004-24: no table holds a key, more than its first letters, or a code that gives one."""
    course = await school.people.courses.add(ADMIN, "cs1")
    ada = await school.people.students.add(ADMIN, "cs1", "ada@school.example")
    made = await school.people.keys.add_for(ADMIN, ada.id)
    rotated = await school.people.keys.rotate(ADMIN, made.key.id, grace=DAY)
    claimed = await school.people.students.add(ADMIN, "cs1", "ben@school.example")
    assert course.claim_code
    key = (await school.people.claims.claim(course.course.id and course.claim_code, claimed.email or "", "-")).key.text
    async with school.database.engine.connect() as connection:
        rows = [
            row
            for table in metadata.sorted_tables
            for row in (await connection.execute(text(f"SELECT * FROM {table.name}"))).all()
        ]
    stolen = repr(rows)
    assert hash_key(key) in stolen
    for secret in (made.text, rotated.text, key):
        assert secret[module.SHOWN :] not in stolen
        assert secret[: module.SHOWN + 1] not in stolen
    assert course.claim_code not in stolen
    assert course.claim_code.replace("-", "") not in stolen


async def test_a_revoked_key_is_refused_at_the_next_request(school: School) -> None:
    """004-24: at once in this process, and it says so to who holds it."""
    made = await school.people.keys.add(ADMIN, "monitor")
    assert await school.who(made.text) is not None
    await school.people.keys.revoke(ADMIN, made.key.id)
    assert await refused(school, made.text) == (401, "key_revoked")
    again = await school.people.keys.revoke(ADMIN, made.key.id)
    assert again.revoked_at == START


async def test_another_process_hears_of_a_revocation_in_time(school: School) -> None:
    """000-60: a keyring that nobody tells asks for the version, and only a new version makes it read the keys."""
    other = Keyring(hash_key("unified"), school.database.people, school.clock.now)
    made = await school.people.keys.add(ADMIN, "monitor")
    assert await other.authenticate(made.text) is not None
    await school.people.keys.revoke(ADMIN, made.key.id)
    await asyncio.sleep(module.FRESH)
    with pytest.raises(AuthenticationFailed):
        await other.authenticate(made.text)


async def test_requests_ask_the_database_hardly_ever(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """001-61: a thousand requests, also at once, are one look at the version and one reading of the keys."""
    made = await school.people.keys.add(ADMIN, "monitor")
    asked = {"version": 0, "issued": 0}
    people = school.database.people
    for name in asked:
        really = getattr(people, name)

        async def counted(name: str = name, really: object = really) -> object:
            asked[name] += 1
            return await really()  # type: ignore[operator]

        monkeypatch.setattr(people, name, counted)
    monkeypatch.setattr(module, "FRESH", 60.0)
    monkeypatch.setattr(module, "PATIENCE", 120.0)  # a busy machine is no database that is away
    found = await asyncio.gather(*(school.who(made.text) for _ in range(1000)))
    assert all(found)
    assert asked == {"version": 1, "issued": 1}
    school.keyring.expire()
    assert await school.who(made.text)
    assert asked == {"version": 2, "issued": 1}


async def test_known_keys_work_while_the_database_is_away(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """001-61: neither an error nor a hang of the database locks out who was in; afterwards news count again."""
    made = await school.people.keys.add(ADMIN, "monitor")
    later = await school.people.keys.add(ADMIN, "monitor")
    assert await school.who(made.text)
    answers = asyncio.Event()

    async def broken() -> int:
        raise OSError("away")

    async def hangs() -> int:
        await answers.wait()
        return await really()

    really = school.database.people.version
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    for fault in (broken, hangs):
        monkeypatch.setattr(school.database.people, "version", fault)
        school.keyring.expire()
        assert await school.who(made.text)
        assert await school.who(made.text)
    monkeypatch.setattr(school.database.people, "version", really)
    await school.people.keys.revoke(ADMIN, later.key.id)
    answers.set()
    await asyncio.sleep(module.FRESH)
    assert await school.who(made.text)
    await asyncio.sleep(module.FRESH)
    assert await refused(school, later.text) == (401, "key_revoked")


async def test_a_key_has_its_time(school: School) -> None:
    """000-60: before its start 403, from its end on 401, each saying when, to who holds it."""
    terms = Terms(starts_at=START + DAY, expires_at=START + 2 * DAY)
    made = await school.people.keys.add(ADMIN, "monitor", None, terms)
    assert await refused(school, made.text) == (403, "key_not_yet_valid")
    school.clock.pass_(DAY)
    assert await school.who(made.text)
    school.clock.pass_(DAY)
    with pytest.raises(AuthenticationFailed, match="2026-09-03 08:00 UTC") as caught:
        await school.who(made.text)
    assert caught.value.code == "key_expired"


async def test_a_course_has_its_time(school: School) -> None:
    """000-60: its students' keys work between its start and end, its teachers' always."""
    course = {"starts_at": START + DAY, "ends_at": START + 3 * DAY, "time_zone": "Asia/Tokyo"}
    await school.people.courses.add(ADMIN, "cs1", **course)
    student = await school.people.keys.add(ADMIN, "student", "cs1")
    teacher = await school.people.keys.add(ADMIN, "teacher", "cs1")
    with pytest.raises(PermissionDenied, match="2026-09-02 17:00 JST"):
        await school.who(student.text)
    school.clock.pass_(DAY)
    assert await school.who(student.text)
    school.clock.pass_(2 * DAY)
    assert await refused(school, student.text) == (403, "course_ended")
    assert await school.who(teacher.text)


async def test_rotation_replaces_the_key_and_nothing_else(school: School) -> None:
    """004-24: the old one works through the grace, then never again; id, owner and terms stay."""
    await school.people.courses.add(ADMIN, "cs1")
    made = await school.people.keys.add(ADMIN, "student", "cs1", Terms(name="lab", concurrency=3))
    once = await school.people.keys.rotate(ADMIN, made.key.id)
    assert await refused(school, made.text) == (401, "key_revoked")
    twice = await school.people.keys.rotate(ADMIN, made.key.id, grace=DAY)
    assert await school.who(once.text) == await school.who(twice.text)
    assert await school.who(made.text) is None
    school.clock.pass_(DAY)
    assert await refused(school, once.text) == (401, "key_revoked")
    assert await school.who(twice.text)
    kept = {name: value for name, value in asdict(twice.key).items() if not name.startswith(("hash", "prefix", "prev"))}
    assert kept.items() <= asdict(made.key).items()
    await school.people.keys.revoke(ADMIN, made.key.id)
    with pytest.raises(Conflict):
        await school.people.keys.rotate(ADMIN, made.key.id)


async def test_who_left_the_roster_is_out_and_may_come_back(school: School) -> None:
    """000-60: keys follow the roster."""
    await school.people.courses.add(ADMIN, "cs1")
    ada = await school.people.students.add(ADMIN, "cs1", "ada@school.example")
    made = await school.people.keys.add_for(ADMIN, ada.id)
    await school.people.students.remove(ADMIN, ada.id)
    assert await refused(school, made.text) == (403, "not_enrolled")
    await school.people.students.restore(ADMIN, ada.id)
    assert await school.who(made.text)


TERMS = [
    Terms(starts_at=START, expires_at=START),
    Terms(concurrency=0),
    Terms(models=()),
]


@pytest.mark.parametrize("terms", TERMS, ids=["time", "concurrency", "models"])
async def test_terms_that_nobody_could_use_are_refused(school: School, terms: Terms) -> None:
    """003-07."""
    with pytest.raises(InvalidRequest):
        await school.people.keys.add(ADMIN, "admin", None, terms)
    assert await school.people.keys.list(ADMIN) == []


async def test_teachers_manage_their_own_course_only(school: School) -> None:
    """003-13: of others they can't even tell what is there; students and monitors manage nothing."""
    people = school.people
    await people.courses.add(ADMIN, "mine")
    await people.courses.add(ADMIN, "other")
    teacher = await school.who((await people.keys.add(ADMIN, "teacher", "mine")).text)
    assert teacher is not None
    foreign = await people.students.add(ADMIN, "other", "ada@school.example")
    theirs = await people.keys.add_for(ADMIN, foreign.id)
    colleague = await people.keys.add(ADMIN, "teacher", "mine")
    own = await people.students.add(teacher, "mine", "ada@school.example")
    made = await people.keys.add_for(teacher, own.id)
    assert own.id != foreign.id
    assert [key.id for key in await people.keys.list(teacher, student=own.id)] == [made.key.id]
    assert [view.course.id for view in await people.courses.list(teacher)] == ["mine"]
    assert {key.course for key in await people.keys.list(teacher)} == {"mine"}
    for work in (
        people.keys.list(teacher, "other"),
        people.keys.list(teacher, "nowhere"),
        people.courses.show(teacher, "other"),
        people.courses.add(teacher, "new"),
        people.courses.change(teacher, "mine", weight=9.0),
        people.keys.add(teacher, "admin"),
        people.keys.add(teacher, "monitor"),
        people.keys.add(teacher, "teacher", "mine"),
        people.keys.add(teacher, "student", "other"),
        people.students.add(teacher, "other", "eve@school.example"),
        people.keys.revoke(teacher, colleague.key.id),
    ):
        with pytest.raises(PermissionDenied):
            await work
    for hidden in (
        people.keys.get(teacher, theirs.key.id),
        people.keys.rotate(teacher, theirs.key.id),
        people.students.get(teacher, foreign.id),
        people.keys.add_for(teacher, foreign.id),
    ):
        with pytest.raises(NotFound):
            await hidden
    for nobody in (Principal("k", "student", course="mine"), Principal("k", "monitor")):
        for listing in (people.keys, people.courses, people.students):
            with pytest.raises(PermissionDenied):
                await listing.list(nobody)


async def test_several_processes_may_make_the_first_key_at_once(tmp_path: Path) -> None:
    """002-13: one of them has made it and all know the same."""
    opened = await asyncio.gather(*(asyncio.to_thread(module.open_keyring, None, tmp_path) for _ in range(8)))
    [made] = [key for _, key in opened if key]
    assert [await ring.authenticate(made) for ring, _ in opened] == [await opened[0][0].authenticate(made)] * 8
    assert [path.name for path in tmp_path.iterdir()] == ["unified_key.sha256"]
    assert (tmp_path / "unified_key.sha256").stat().st_mode & 0o777 == 0o600
