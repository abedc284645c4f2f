"""``bench.correctness``: a class whose right answers are recorded, in virtual time."""

from pathlib import Path

import pytest

from bench.correctness import Lesson, attended, clairvoyant, main
from bench.routing import Rows
from lumni.types import TaskType
from tests.bench.test_routing import EASY, HARD, rows_of, written


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Half of the rows are hard: only the strong tier solves them."""
    return Rows.read(written(tmp_path_factory.mktemp("rows"), *rows_of(EASY, 1, 1), *rows_of(HARD, 0, 1)))


def test_everybody_is_served_and_nobody_beats_the_clairvoyant(rows: Rows) -> None:
    """001-34: whoever knows what is hard gets nearly all that there is, whoever avoids it gets what is easy."""
    lesson = Lesson.of(rows, 1)
    best = clairvoyant(lesson, rows)
    easy = float(rows.weak[list(lesson.rows)].sum())

    def knows(row: int) -> TaskType:
        return "powerful" if rows.weak[row] == 0 else "fast"

    assert easy < attended(lesson, rows, knows) <= best
    assert attended(lesson, rows, lambda row: "fast") < attended(lesson, rows, knows)
    assert attended(lesson, rows, lambda _: None) > attended(lesson, rows, lambda row: "fast")


def test_a_file_that_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.jsonl")]) == 1
    assert "none.jsonl" in capsys.readouterr().err
