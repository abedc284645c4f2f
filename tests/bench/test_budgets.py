"""The rush at a budget, in small."""

from pathlib import Path

from bench.budgets import storm
from tests.services.databases import PostgresDatabases


async def test_a_class_rushes_at_a_budget_through_four_processes(
    tmp_path: Path, postgres_databases: PostgresDatabases
) -> None:
    """000-61, issue 5, show 1: not a nano-dollar too much, and nobody is refused while there is something left."""
    url = postgres_databases.create()
    outcome = await storm(tmp_path, students=24, rounds=2, database_url=url)
    assert outcome.faults == []
    assert outcome.answered > 0
    assert outcome.answered + len(outcome.left) == 24 * 4 * 2
    assert outcome.left
