"""People over a real database, with a clock that tests turn; and by HTTP."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
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
from tests.services.gateway import Gateway

START = datetime(2026, 9, 1, 8, tzinfo=UTC)
ADMIN = LOCAL_ADMIN
Client = Callable[[str], httpx.Client]


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
        database,
        Secret("a secret of the tests, long enough"),
        unknown_models=lambda names: unknown(names, catalogue),
        changed=keyring.expire,
        now=clock.now,
        clock=clock.clock,
    )
    yield School(people, keyring, clock, database)
    await keyring.close()


@pytest.fixture
def client(lab_gateway: Gateway) -> Iterator[Client]:
    """Clients of the gateway by their key."""
    made: list[httpx.Client] = []

    def make(key: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        made.append(httpx.Client(base_url=lab_gateway.url, headers=headers, timeout=120))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def admin(lab_gateway: Gateway, client: Client) -> httpx.Client:
    return client(lab_gateway.key)


@pytest.fixture
def course(admin: httpx.Client) -> str:
    """A new course."""
    made = admin.post("/admin/courses", json={"id": f"c-{uuid4().hex[:12]}", "name": "Algo & <Data>"})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])
