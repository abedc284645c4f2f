"""``lumni assignment``, ``exam``, ``budget`` and ``audit``, as a teacher types them."""

from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from lumni.classroom import Content
from lumni.settings import Settings
from lumni.storage.database import Database
from tests.people.test_cli import Run, run, shown
from tests.services.databases import in_thread

__all__ = ["run"]


def one(run: Run, *words: str) -> Any:
    return shown(run(*words, "--json"))


def test_the_semesters_rules_from_the_command_line(run: Run) -> None:
    """000-64, 000-61: days in the course's time zone, dollars exact, and all of it in the audit log."""
    run("course", "add", "cs1", "--zone", "Europe/Berlin", "--keep-days", "400")
    assert one(run, "course", "show", "cs1")["retention_days"] == 400
    work = one(run, "assignment", "add", "cs1", "hw-1", "--start", "2026-10-01", "--end", "2026-10-12")
    assert (work["starts_at"], work["ends_at"]) == ("2026-09-30T22:00:00+00:00", "2026-10-12T22:00:00+00:00")
    assert one(run, "assignment", "set", "cs1", "hw-1", "--name", "Homework")["name"] == "Homework"
    run("exam", "add", "cs1", "--start", "2026-12-01 09:00", "--end", "2026-12-01 11:00")
    [exam] = one(run, "exam", "list")
    assert (exam["mode"], exam["starts_at"]) == ("closed", "2026-12-01T08:00:00+00:00")
    made = one(run, "budget", "add", "cs1", "--amount", "0.000000001", "--per", "student", "--assignment", "hw-1")
    assert made["amount"] == "0.000000001"
    run("budget", "top-up", made["id"], "--amount", "2.50")
    assert one(run, "budget", "set", made["id"], "--amount", "150.5")["amount"] == "150.500000000"
    assert one(run, "budget", "show", made["id"])["balances"] == []
    assert "0 balances" in run("budget", "reset", made["id"]).stdout
    assert "no amount" in run("budget", "add", "cs1", "--amount", "x", fails=1).stderr
    for words in (("budget", made["id"]), ("exam", exam["id"]), ("assignment", "cs1", "hw-1")):
        run(words[0], "remove", *words[1:])
        assert one(run, words[0], "list") == []
    acts = [act["action"] for act in reversed(one(run, "audit"))]
    assert acts == [
        "course.add", "assignment.add", "assignment.change", "exam.add", "budget.add", "budget.top_up",
        "budget.change", "budget.reset", "budget.remove", "exam.remove", "assignment.remove",
    ]  # fmt: skip


def test_a_look_at_content_from_the_command_line(run: Run, database_url: str) -> None:
    """004-39: what is kept of a request, and the look on record; what isn't kept is said to be so."""

    async def keep() -> None:
        database = await Database.open(Settings(database_url=SecretStr(database_url)))
        asked = '{"messages":[{"role":"user","content":"Why?"}]}'
        kept = Content("req_1", datetime(2026, 9, 1, tzinfo=UTC), "cs1", "s-1", "full", "h1", "h2", asked, "Because.")
        await database.contents.add([kept])
        await database.close()

    in_thread(keep())
    found = shown(run("content", "req_1"))
    assert (found["messages"], found["answer"]) == ([{"role": "user", "content": "Why?"}], "Because.")
    assert "Nothing is kept" in run("content", "req_2", fails=1).stderr
    [act] = one(run, "audit")
    assert (act["actor"], act["action"], act["subject"], act["course"]) == ("local", "content.read", "req_1", "cs1")
