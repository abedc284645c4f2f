"""``lumni classify``."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lumni.__main__ import app
from lumni.intelligence import classify

FIELDS = {"task_type", "confidence", "weak_fails", "gain", "abstained", "factors", "milliseconds"}
ROWS: list[dict[str, Any]] = [
    {"prompt": "Hi!"},
    {"messages": [{"role": "user", "content": "Prove that √2 is irrational."}], "group": "x"},
]


def test_every_row_of_a_file_gets_one_line(tmp_path: Path) -> None:
    """001-18: rows with a prompt or with messages."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    done = CliRunner().invoke(app, ["classify", str(path)])
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["task_type"] for row in found] == ["fast", "powerful"]
    assert all(row.keys() == FIELDS for row in found)
    assert found[1]["weak_fails"] == pytest.approx(classify(ROWS[1]).weak_fails, abs=1e-6)


@pytest.mark.parametrize("arguments", [["classify", "Hi!"], ["classify"]])
def test_a_text_comes_as_an_argument_or_from_standard_input(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments, input="Hi!")
    assert json.loads(done.stdout)["task_type"] == "fast"


BROKEN = (
    *(b"[]", b"{", b"{}", b'{"prompt": 5}', b'{"prompt": NaN}', b'{"messages": []}', b'{"messages": "Hi!"}'),
    *(b'{"prompt": "\xe4"}', b'{"prompt": ' + b"[" * 100_000),
)


@pytest.mark.parametrize("line", BROKEN, ids=lambda line: line[:20])
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, line: bytes) -> None:
    """001-18: no JSON, another shape, another encoding, nested without end: one sentence, no traceback."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(ROWS[0]).encode() + b"\n" + line + b"\n")
    done = CliRunner().invoke(app, ["classify", str(path)])
    assert done.exit_code == 1
    assert "line 2" in done.stderr


def test_odd_rows_are_classified(tmp_path: Path) -> None:
    """001-18: empty, lone surrogates, parts that aren't texts, tools, line separators, a byte order mark, CRLF."""
    rows = [
        {"prompt": ""},
        {"prompt": "a\u2028b\x00"},
        {"messages": [{"role": "user", "content": [5, None, {"type": "text", "text": 7}, "prove it"]}]},
        {"messages": [{"role": "user", "content": None}, {"role": "tool"}, 5], "tools": [{"type": "function"}]},
        {"messages": None, "prompt": "Hi!"},
    ]
    lines = [*(json.dumps(row, ensure_ascii=False) for row in rows), r'{"prompt": "\ud800"}', ""]
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    done = CliRunner().invoke(app, ["classify", str(path)])
    assert done.exit_code == 0, done.stderr
    assert [json.loads(line).keys() for line in done.stdout.splitlines()] == [FIELDS] * 6


def test_a_file_that_is_not_there_is_said_so() -> None:
    done = CliRunner().invoke(app, ["classify", "nowhere.jsonl"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nowhere.jsonl" in done.stderr
