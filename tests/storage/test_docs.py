"""docs/storage.md tells of every column, in the order and with the emptiness that it has."""

import re
from pathlib import Path

import pytest

from lumni.storage.tables import metadata

DOCUMENT = Path(__file__).parents[2] / "docs" / "storage.md"


@pytest.mark.parametrize("table", metadata.tables)
def test_every_column_is_documented(table: str) -> None:
    section = DOCUMENT.read_text().partition(f"### {table}\n")[2].partition("\n#")[0]
    lines = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    documented = [(name, "or empty" in kind) for name, kind in lines]
    assert documented == [(column.name, bool(column.nullable)) for column in metadata.tables[table].columns]
