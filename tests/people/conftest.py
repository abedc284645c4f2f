"""People over a real database, with a clock that tests turn."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from lumni.catalogue.allowlist import unknown
from lumni.catalogue.model import Catalogue
from lumni.people.keyring import Keyring, hash_key
from lumni.people.secret import Secret
from lumni.people.service import LOCAL_ADMIN, People
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.tables import metadata
from lumni.types import Principal
from tests.intelligence.catalogues import deployment

START = datetime(2026, 9, 1, 8, tzinfo=UTC)
ADMIN = LOCAL_ADMIN


@dataclass
class Clock:
    """Wall time as ``now``, seconds as ``clock``; both move by ``pass_``."""

    at: datetime = START
    seconds: float = field(default=1000.0)

    def now(self) -> datetime:
        return self.at

    def clock(self) -> float:
        return self.seconds

    def pass_(self, by: timedelta) -> None:
        self.at += by
        self.seconds += by.total_seconds()


@dataclass
class School:
    """Services and a keyring as one process has them."""

    people: People
    keyring: Keyring
    clock: Clock
    database: Database

    async def who(self, key: str) -> Principal | None:
        return await self.keyring.authenticate(key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(Settings(database_url=SecretStr(database_url), data_dir=tmp_path))
    try:
        yield opened
        async with opened.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
    finally:
        await opened.close()


@pytest.fixture
async def school(database: Database, clock: Clock) -> AsyncIterator[School]:
    catalogue = Catalogue((deployment("groq-8b"), deployment("big-70b")))
    keyring = Keyring(hash_key("unified"), database.people, clock.now)
    people = People(
        database.people,
        Secret("a secret of the tests, long enough"),
        unknown_models=lambda names: unknown(names, catalogue),
        changed=keyring.expire,
        now=clock.now,
        clock=clock.clock,
    )
    yield School(people, keyring, clock, database)
    await keyring.close()
