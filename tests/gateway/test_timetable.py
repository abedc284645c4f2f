"""Assignments and exams, as they change a request."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lumni.classroom import Assignment, Course, Exam, Rules
from lumni.errors import LumniError
from lumni.gateway.timetable import apply
from lumni.types import ChatRequest, Principal
from tests.upstream.wire import QUESTION

NOW = datetime(2026, 9, 1, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
COURSE = Course("cs1", "cs1", NOW, time_zone="Europe/Berlin")
ADA = Principal("k", student="ada", course="cs1", allowlists=(("a", "b"),))
HOMEWORK = Assignment("hw-1", "cs1", "Homework 1", NOW, NOW, NOW + HOUR, models=("b",))
RULES = Rules(COURSE, {"hw-1": HOMEWORK})


def request(at: datetime = NOW, **more: object) -> ChatRequest:
    body = {"model": "auto", "messages": QUESTION, "temperature": 1.5, "seed": 5}
    made = ChatRequest("r", body, "auto", at, 0.0, 60.0, task_type="fast", provider="p", strategy="quality")
    return replace(made, **more)  # type: ignore[arg-type]


def refused(request: ChatRequest, principal: Principal = ADA, rules: Rules = RULES) -> tuple[int, str, str]:
    with pytest.raises(LumniError) as caught:
        apply(request, principal, rules)
    return caught.value.status, caught.value.code, caught.value.message


def test_an_assignment_has_a_window_and_a_list_of_models() -> None:
    """Issue 5: from its beginning until before its end, told in the course's time zone."""
    for at in (NOW, NOW + HOUR - timedelta(milliseconds=1)):
        asked, who = apply(request(at, assignment="hw-1"), ADA, RULES)
        assert asked.assignment == "hw-1"
        assert who.allowlists == (("a", "b"), ("b",))
    early = refused(request(NOW - timedelta(milliseconds=1), assignment="hw-1"))
    assert early == (403, "assignment_not_open", "Homework 1 opens on 2026-09-01 10:00 CEST.")
    late = refused(request(NOW + HOUR, assignment="hw-1"))
    assert late == (403, "assignment_closed", "Homework 1 closed on 2026-09-01 11:00 CEST.")
    assert refused(request(assignment="hw-2"))[:2] == (404, "assignment_not_found")


def test_a_keys_assignment_needs_no_header() -> None:
    """Issue 5: and can't be left for another one."""
    bound = replace(ADA, assignment="hw-1")
    for given in (None, "hw-1"):
        assert apply(request(assignment=given), bound, RULES)[0].assignment == "hw-1"
    assert refused(request(assignment="hw-2"), bound)[:2] == (403, "assignment_mismatch")
    assert refused(request(NOW + HOUR), bound)[:2] == (403, "assignment_closed")


def test_an_exam_closes_and_opens_again_by_itself() -> None:
    """Issue 5: for students; their teachers go on."""
    exam = Exam("e", "cs1", NOW, NOW, NOW + HOUR)
    rules = Rules(COURSE, exams=(exam,))
    assert refused(request(), rules=rules)[:2] == (403, "exam_closed")
    assert "2026-09-01 11:00 CEST" in refused(request(), rules=rules)[2]
    for at in (NOW - timedelta(milliseconds=1), NOW + HOUR):
        assert apply(request(at), ADA, rules) == (request(at), ADA)
    teacher = Principal("t", role="teacher", course="cs1")
    assert apply(request(), teacher, rules) == (request(), teacher)


def test_an_exam_may_pin_the_model() -> None:
    """Issue 5: with seed and temperature; whatever the client asks for, and only while it lasts."""
    exam = Exam("e", "cs1", NOW, NOW, NOW + HOUR, model="a", seed=7, temperature=0.0)
    rules = Rules(COURSE, exams=(exam,))
    asked, who = apply(request(), ADA, rules)
    assert (asked.model, asked.body["model"], asked.body["seed"], asked.body["temperature"]) == ("a", "a", 7, 0.0)
    assert (asked.task_type, asked.provider, asked.strategy) == (None, None, None)
    assert who.allowlists == (("a", "b"), ("a",))
    assert asked.messages == QUESTION
    assert asked.pinned
    loose = Rules(COURSE, exams=(replace(exam, seed=None, temperature=None),))
    assert apply(request(), ADA, loose)[0].body["temperature"] == 1.5
    assert apply(request(NOW + HOUR), ADA, rules) == (request(NOW + HOUR), ADA)


def test_who_has_no_course_has_no_rules() -> None:
    """Issue 5: an assignment is only a label there."""
    admin = Principal("unified", role="admin")
    asked = request(assignment="anything")
    assert apply(asked, admin, None) == (asked, admin)
