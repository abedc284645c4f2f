"""A key of one's own for a course code and an e-mail address, once."""

import asyncio
from datetime import timedelta

import pytest

from lumni.errors import InvalidRequest, PermissionDenied, RateLimited
from lumni.people.claims import MOST_NAMES, PER_ADDRESS, PER_EMAIL, WINDOW, Attempts
from lumni.people.secret import Secret, same_code
from tests.people.conftest import ADMIN, School


async def course(school: School, *emails: str) -> str:
    """A course with these students; its claim code."""
    view = await school.people.courses.add(ADMIN, "cs1", name="Algorithms")
    for email in emails:
        await school.people.students.add(ADMIN, "cs1", email)
    assert view.claim_code
    return view.claim_code


async def test_a_student_claims_her_key_once(school: School) -> None:
    """000-60: however the code and the address are spelled; the second time there is none, and the first stays."""
    code = await course(school, "ada@b.c")
    claimed = await school.people.claims.claim(f" {code.lower().replace('-', ' ')}", " Ada@B.C ", "1.2.3.4")
    principal = await school.who(claimed.key.text)
    assert principal is not None
    assert (principal.role, principal.course) == ("student", "cs1")
    with pytest.raises(PermissionDenied):
        await school.people.claims.claim(code, "ada@b.c", "1.2.3.4")
    assert await school.who(claimed.key.text) == principal
    assert len(await school.people.keys.list(ADMIN)) == 1


async def test_of_many_claims_at_once_one_gets_the_key(school: School) -> None:
    """000-60."""
    code = await course(school, "ada@b.c")
    answers = await asyncio.gather(
        *(school.people.claims.claim(code, "ada@b.c", "1.2.3.4") for _ in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    assert sum(isinstance(answer, PermissionDenied) for answer in answers) == 4
    assert len(await school.people.keys.list(ADMIN)) == 1


async def test_whatever_does_not_fit_is_refused_in_the_same_words(school: School) -> None:
    """000-60, 003-40: nobody learns who is on a roster, or who has claimed."""
    code = await course(school, "ada@b.c", "ben@b.c", "left@b.c", "had@b.c")
    await school.people.claims.claim(code, "ada@b.c", "-")
    [left] = [s for s in await school.people.students.list(ADMIN) if s.email == "left@b.c"]
    [had] = [s for s in await school.people.students.list(ADMIN) if s.email == "had@b.c"]
    await school.people.students.remove(ADMIN, left.id)
    await school.people.keys.add_for(ADMIN, had.id)
    wrong = Secret("another secret of the tests, as long").claim_code("cs1", 1)
    told = set()
    for typed, email in (
        (code, "eve@b.c"), (code, "ada@b.c"), (code, "left@b.c"), (code, "had@b.c"), (wrong, "ben@b.c"),
        ("cs1", "ben@b.c"), ("é", "ben@b.c"),
    ):  # fmt: skip
        with pytest.raises(PermissionDenied) as caught:
            await school.people.claims.claim(typed, email, "-")
        told.add(str(caught.value))
    assert len(told) == 1
    for typed, email in (("", "ada@b.c"), (code, "nonsense")):
        with pytest.raises(InvalidRequest):
            await school.people.claims.claim(typed, email, "-")


async def test_an_old_code_and_a_closed_one_open_nothing(school: School) -> None:
    """000-60: codes never come back."""
    seen = [await course(school, "ada@b.c")]
    for _ in range(2):
        await school.people.courses.close_claims(ADMIN, "cs1")
        closed = await school.people.courses.close_claims(ADMIN, "cs1")
        assert closed.claim_code is None
        renewed = await school.people.courses.renew_claim_code(ADMIN, "cs1")
        assert renewed.claim_code
        for number, old in enumerate(seen):
            with pytest.raises(PermissionDenied):
                await school.people.claims.claim(old, f"x{number}{len(seen)}@b.c", "-")
        seen.append(renewed.claim_code)
    assert len(set(seen)) == 3
    assert await school.people.claims.claim(seen[-1], "ada@b.c", "-")


async def test_guessing_is_stopped(school: School) -> None:
    """000-60: for one address of a student at once, for one of a network later; others go on, and time heals."""
    code = await course(school, "ada@b.c", *(f"s{number}@b.c" for number in range(100)))
    for _ in range(PER_EMAIL):
        with pytest.raises(PermissionDenied):
            await school.people.claims.claim("0000-0000", "ada@b.c", "6.6.6.6")
    with pytest.raises(RateLimited) as caught:
        await school.people.claims.claim(code, "ada@b.c", "1.2.3.4")
    assert caught.value.retry_after == WINDOW
    for number in range(PER_ADDRESS - PER_EMAIL):
        with pytest.raises(PermissionDenied):
            await school.people.claims.claim(code, f"guess{number}@b.c", "6.6.6.6")
    with pytest.raises(RateLimited):
        await school.people.claims.claim(code, "s0@b.c", "6.6.6.6")
    for number in range(100):
        assert await school.people.claims.claim(code, f"s{number}@b.c", "1.2.3.4")
    school.clock.pass_(timedelta(seconds=WINDOW))
    assert await school.people.claims.claim(code, "ada@b.c", "6.6.6.6")


def test_attempts_take_no_more_memory_than_they_may() -> None:
    """000-60: however many names an attacker makes up."""
    attempts = Attempts(lambda: 0.0)
    for number in range(MOST_NAMES + 10):
        attempts.wrong(f"email {number}")
    assert len(attempts._wrong) == MOST_NAMES


def test_codes_and_pseudonyms_hang_on_the_secret() -> None:
    """000-60: other courses, rounds and secrets give others; the same gives the same."""
    one, other = Secret("a" * 32), Secret("b" * 32)
    codes = {secret.claim_code(name, turn) for secret in (one, other) for name in ("x", "y") for turn in range(1, 50)}
    assert len(codes) == 2 * 2 * 49
    names = {secret.pseudonym(*who) for secret in (one, other) for who in (("c", "a@b"), ("ca", "@b"), ("d", "a@b"))}
    assert len(names) == 6
    assert one.pseudonym("c", "a@b") == Secret("a" * 32).pseudonym("c", "a@b")
    assert same_code("o1l-i000 0", "0111-0000")
    assert not same_code("0111-0001", "0111-0000")
