"""``lumni usage`` and ``lumni export``, over a database with records in it."""

import csv
import io
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lumni.__main__ import app
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.types import Outcome
from tests.services.databases import in_thread
from tests.storage.samples import record

Run = Callable[..., Result]
RECORDS = [
    *(record(n, student=f"s{n % 3}", assignment="hw-1" if n % 2 else None, label="=cmd()", list_cost=10**6)
      for n in range(30)),
    record(30, student="s0", assignment="hw-1", list_cost=None, outcome=Outcome.CUT),
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)

    async def fill() -> None:
        database = await Database.open(Settings(data_dir=tmp_path / ".lumni"))
        await database.records.add(RECORDS)
        await database.close()

    in_thread(fill())

    def run(*words: str, fails: int = 0) -> Result:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == fails, result.output
        return result

    return run


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_usage_by_student_and_assignment(run: Run) -> None:
    """000-54, 003-35: sums by any of it, and what has no price is said."""
    report = json.loads(run("usage", "--by", "student", "--by", "assignment", "--json").stdout)
    assert report["total"]["requests"] == 31
    found = {(row["student"], row["assignment"]): row["requests"] for row in report["groups"]}
    assert found == {(f"s{n}", hw): 5 + (n == 0 and hw is not None) for n in range(3) for hw in (None, "hw-1")}
    assert report["total"]["cost"] == {
        "list": "0.030000000", "billed": "0.000000000", "currency": "USD", "unpriced_requests": 1,
    }  # fmt: skip
    shown = run("usage", "--by", "student").stdout
    assert "s1" in shown
    assert "1 requests have no known price" in shown
    assert json.loads(run("usage", "--user", "s1", "--json").stdout)["total"]["requests"] == 10
    assert "There is no such user" in run("usage", "--user", "nobody", fails=1).stderr


def test_what_has_no_price_costs_an_unknown_amount(run: Run) -> None:
    """001-29: unknown, not 0."""
    assert json.loads(run("usage", "--assignment", "hw-1", "--user", "s0", "--json").stdout)["total"]["cost"]["list"]
    only = "usage", "--since", "2026-03-01", "--until", "2026-03-01", "--assignment", "none-such", "--json"
    assert json.loads(run(*only).stdout)["total"]["requests"] == 0
    from lumni.gateway.usage import used_json
    from lumni.storage.usage import Used

    assert used_json(Used(requests=2, ok=2, prompt_tokens=9, unpriced=2))["cost"]["list"] is None
    assert used_json(Used())["cost"]["list"] == "0.000000000"


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_an_assignment_is_exported_for_grading(run: Run, tmp_path: Path, kind: str) -> None:
    """003-12: every record of it once, money exact, in each format."""
    done = run("export", "--assignment", "hw-1", f"--{kind}", str(tmp_path / "out"))
    assert "16 records" in done.stderr
    found: list[dict[str, Any]]
    if kind == "csv":
        found = list(rows((tmp_path / "out").read_text()))
    elif kind == "json":
        found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    else:
        import pyarrow.parquet

        found = pyarrow.parquet.read_table(tmp_path / "out").to_pylist()
    assert [row["request_id"] for row in found] == [
        one.request_id for one in RECORDS if one.assignment == "hw-1"
    ]  # fmt: skip
    assert sum(Decimal(row["list_cost_usd"] or 0) for row in found) == Decimal("0.015")
    assert int(found[0]["prompt_tokens"]) == 321
    assert int(found[0]["rate_limited_attempts"]) == 1


def test_csv_on_the_terminal_runs_nothing_in_a_spreadsheet(run: Run) -> None:
    """A student's own label may look like a formula."""
    found = rows(run("export", "--student", "s1").stdout)
    assert len(found) == 10
    assert {row["label"] for row in found} == {"'=cmd()"}


def test_parquet_without_pyarrow_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "lumni[parquet]" in run("export", "--parquet", str(tmp_path / "x"), fails=1).stderr
    assert "can't be written" in run("export", str(tmp_path / "none" / "x"), fails=1).stderr


def test_report_cards_are_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """For one assignment, with the medians."""
    monkeypatch.setenv("COLUMNS", "160")
    found = json.loads(run("report", "--assignment", "hw-1", "--json").stdout)
    assert {card["student"]: card["requests"] for card in found["students"]} == {"s0": 6, "s1": 5, "s2": 5}
    assert found["class_median"]["requests"] == 5
    assert "class median" in run("report").stdout
