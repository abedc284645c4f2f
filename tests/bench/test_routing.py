"""``bench.routing``: routers are ranked by what happened, not by what they say of themselves."""

import json
from pathlib import Path

import pytest

from bench.routing import ROUTERS, Rows, main, measure

EASY, HARD = (
    "Hello!",
    "Prove that the sum of the first n odd numbers is n², step by step, and find the flaw in a wrong proof.",
)


def written(directory: Path, *rows: object) -> Path:
    path = directory / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(text: str, weak: float, strong: float) -> list[dict[str, object]]:
    return [
        {"prompt": f"{text} {n}", "group": group, "weak": weak, "strong": strong} for n in range(20) for group in "ab"
    ]


def test_who_ranks_the_hard_first_recovers_all_of_the_gain(tmp_path: Path) -> None:
    """001-33: only hard prompts gain here, so a perfect order recovers three quarters, its inverse one quarter."""
    found = measure(Rows.read(written(tmp_path, *rows_of(EASY, 1, 1), *rows_of(HARD, 0, 1))), list(ROUTERS), 50)
    assert found["length"]["apgr"].value == pytest.approx(0.75, abs=0.01)
    assert found["length"]["auc"].value == 1
    assert found["lumni"]["apgr"].value == pytest.approx(0.75, abs=0.01)
    assert found["random"]["apgr"].low < 0.5 < found["random"]["apgr"].high
    assert found["random"]["behind"].low > 0
    upside_down = measure(Rows.read(written(tmp_path, *rows_of(HARD, 1, 1), *rows_of(EASY, 0, 1))), ["length"], 10)
    assert upside_down["length"]["apgr"].value == pytest.approx(0.25, abs=0.01)


def test_only_what_calls_itself_a_probability_is_judged_as_one(tmp_path: Path) -> None:
    found = measure(Rows.read(written(tmp_path, *rows_of(EASY, 1, 1), *rows_of(HARD, 0, 1))), ["lumni", "length"], 10)
    assert 0 <= found["lumni"]["ece"].value <= 1
    assert "ece" not in found["length"]


def test_a_wrong_row_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(written(tmp_path, {"prompt": "x", "group": "a", "weak": 1, "strong": 1}, {"prompt": "y"}))]) == 1
    assert "line 2" in capsys.readouterr().err


def test_the_figures_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, *rows_of(EASY, 1, 1), *rows_of(HARD, 0, 1))
    told = tmp_path / "told.json"
    assert main([str(path), "--routers", "lumni", "random", "--resamples", "20", "--json", str(told)]) == 0
    assert "litellm" not in capsys.readouterr().out
    assert json.loads(told.read_text())["random"]["behind"][0] > 0
