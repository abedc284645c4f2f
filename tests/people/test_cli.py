"""``lumni course``, ``student`` and ``key``, as a teacher types them."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lumni.__main__ import app
from lumni.people.keyring import open_keyring
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.types import Principal
from tests.services.databases import in_thread

Run = Callable[..., Result]

CLASSROOM = (
    "Last Name,First Name,Email Address,Homework 1\n"
    "Date,,,2026-09-08\n"
    "Points,,,10\n"
    "Lovelace,Ada,ada@school.example,9\n"
    "Date,Ben,ben@school.example,8\n"
)


@pytest.fixture
def run(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(*words: str, fails: int = 0) -> Result:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == fails, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run


def shown(result: Result) -> Any:
    return json.loads(result.stdout)


def who(key: str, folder: Path) -> Principal:
    """Whose key it is, to a gateway that starts there now."""
    found: list[Principal | None] = []

    async def ask() -> None:
        settings = Settings.load()
        database = await Database.open(settings)
        keyring, _ = open_keyring("unified", folder, database.people)
        found.append(await keyring.authenticate(key))
        await keyring.close()
        await database.close()

    in_thread(ask())
    assert found[0] is not None
    return found[0]


def test_a_course_from_its_roster_to_its_keys(run: Run, tmp_path: Path) -> None:
    """000-60: a dry run, the import, its keys in a file of one's own, the same import again, one key rotated."""
    made = run("course", "add", "algo", "--name", "Algorithms", "--start", "2020-09-01", "--end", "2099-12-31",
               "--zone", "Europe/Berlin", "-m", "fast", "-m", "nonsense", "--json")  # fmt: skip
    course = shown(made)
    assert (course["starts_at"], course["ends_at"]) == ("2020-08-31T22:00:00+00:00", "2099-12-31T23:00:00+00:00")
    assert course["unknown_models"] == ["nonsense"]
    roster = tmp_path / "roster.csv"
    roster.write_text(CLASSROOM, encoding="utf-8")
    dry = run("student", "import", "algo", str(roster), "--dry-run", "--keys", "keys.csv")
    assert "would be added: ada@school.example Ada Lovelace" in dry.stdout
    assert not (tmp_path / "keys.csv").exists()
    assert shown(run("student", "list", "--course", "algo", "--json")) == []
    done = run("student", "import", "algo", str(roster), "--keys", "keys.csv")
    assert "2 new, 0 changed, 0 back, 0 unchanged" in done.stdout
    assert (tmp_path / "keys.csv").stat().st_mode & 0o777 == 0o600
    with (tmp_path / "keys.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["email"]) for row in rows] == [
        ("Ada Lovelace", "ada@school.example"),
        ("Ben Date", "ben@school.example"),
    ]
    for row in rows:
        principal = who(row["key"], tmp_path)
        assert (principal.student, principal.course) == (row["student"], "algo")
        assert principal.allowlists == (("fast", "nonsense"),)
    run("student", "import", "algo", str(roster), "--keys", "keys.csv", fails=2)
    again = run("student", "import", "algo", str(roster), "--keys", "more.csv")
    assert "0 new, 0 changed, 0 back, 2 unchanged" in again.stdout
    assert (tmp_path / "more.csv").read_text().splitlines() == ["name,email,section,student,key"]
    [first, _] = shown(run("key", "list", "--course", "algo", "--json"))
    rotated = shown(run("key", "rotate", first["id"], "--grace", "1", "--json"))
    assert who(rotated["key"], tmp_path) == who(
        next(r["key"] for r in rows if r["student"] == first["student"]), tmp_path
    )
    assert rows[0]["key"] not in run("key", "show", first["id"]).output
    for command in ("list", "show"):
        run("course", command, *(["algo"] if command == "show" else []))
    run("student", "list")


def test_a_faulty_roster_is_told_line_by_line(run: Run, tmp_path: Path) -> None:
    """000-60: and nothing is imported."""
    run("course", "add", "algo")
    (tmp_path / "roster.csv").write_text("Name,Email\nAda,ada@school.example\nBen,ben\nAda,ADA@school.example\n")
    told = run("student", "import", "algo", "roster.csv", fails=1).stderr
    assert re.search(r"line 3: 'ben' is no e-mail address", told)
    assert "line 4: ada@school.example was in line 2 already" in told
    assert shown(run("student", "list", "--json")) == []


def test_what_is_wrong_ends_in_one_clear_line(run: Run) -> None:
    """000-64."""
    run("course", "add", "algo")
    for words, why in (
        (("course", "add", "algo"), "already"),
        (("course", "add", "Algo!"), "small letters"),
        (("course", "add", "new", "--start", "tomorrow"), "no date"),
        (("course", "add", "new", "--zone", "Mars/Base"), "IANA"),
        (("course", "set", "algo", "--start", "2026-09-01", "--end", "2026-08-01"), "end after"),
        (("course", "show", "none"), "There is no course"),
        (("student", "add", "none", "a@b.c"), "There is no course"),
        (("student", "add", "algo", "nonsense"), "no e-mail address"),
        (("student", "show", "s-none"), "There is no student"),
        (("key", "show", "k-none"), "There is no key"),
        (("key", "add"), "needs one"),
        (("key", "add", "--role", "admin", "--course", "algo"), "belongs to none"),
    ):
        result = run(*words, fails=1)
        assert why in result.stderr
        assert result.stdout == ""
        assert "Traceback" not in result.output
    run("key", "add", "--role", "king", fails=2)
    run("course", "code", "algo", "--new", "--close", fails=2)


def test_changes_keep_the_rest(run: Run) -> None:
    """000-60: `set` changes what is given; the claim code lasts until there is a new one."""
    before = shown(run("course", "add", "algo", "--zone", "Asia/Tokyo", "-m", "fast", "--json"))
    after = shown(run("course", "set", "algo", "--end", "2027-01-31", "--json"))
    assert after == {**before, "ends_at": "2027-01-31T15:00:00+00:00"}
    assert shown(run("course", "set", "algo", "--all-models", "--json"))["models"] is None
    first = run("course", "code", "algo").stdout
    assert first == f"{before['claim_code']}\n"
    assert run("course", "code", "algo", "--close").stdout.startswith("closed")
    second = run("course", "code", "algo", "--new").stdout
    assert len({first, second}) == 2
    ada = shown(run("student", "add", "algo", "ada@school.example", "--json"))
    assert shown(run("student", "remove", ada["id"], "--json"))["left_at"]
    assert shown(run("student", "restore", ada["id"], "--json")) == ada
    shared = shown(run("key", "add", "--course", "algo", "--name", "lab", "--concurrency", "4", "--json"))
    assert shown(run("key", "revoke", shared["id"], "--json"))["revoked_at"]
    run("key", "rotate", shared["id"], fails=1)
    only = shown(
        run("key", "add", "--student", ada["id"], "--start", "2026-01-01", "--expires", "2026-01-31", "--json")
    )
    assert only["expires_at"] == "2026-02-01T00:00:00+00:00"
