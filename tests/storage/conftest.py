"""An open database, its tables empty."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.tables import metadata


@pytest.fixture
def database_settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=SecretStr(database_url), data_dir=tmp_path)


@pytest.fixture
async def database(database_settings: Settings) -> AsyncIterator[Database]:
    opened = await Database.open(database_settings)
    try:
        yield opened
        async with opened.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
    finally:
        await opened.close()
