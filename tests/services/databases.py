"""Fresh databases for tests, cloned from one that was migrated once."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
from pydantic import SecretStr

from lumni.settings import Settings
from lumni.storage.database import Database
from tests.services.postgres import Postgres

TEMPLATE = "migrated"


def in_thread(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in a loop of its own, whatever loop the tests have."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def migrate(url: str) -> None:
    """Bring the database at ``url`` to the newest schema."""

    async def work() -> None:
        await (await Database.open(Settings(database_url=SecretStr(url)))).close()

    in_thread(work())


def execute(url: str, statement: str) -> None:
    """Run one SQL statement on PostgreSQL."""

    async def work() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    in_thread(work())


class PostgresDatabases:
    """Databases on one server: ``create`` clones the migrated template, ``empty`` makes one without tables."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._made = 0
        self._has_template = False

    def create(self) -> str:
        """The address of a new migrated database."""
        if not self._has_template:
            execute(self._server.url(), f"CREATE DATABASE {TEMPLATE}")
            migrate(self._server.url(TEMPLATE))
            self._has_template = True
        return self._create(TEMPLATE)

    def empty(self) -> str:
        """The address of a new database without tables."""
        return self._create("template0")

    def drop(self, url: str) -> None:
        """Drop a database made here, whoever is connected."""
        name = url.partition("?")[0].rpartition("/")[2]
        execute(self._server.url(), f"DROP DATABASE {name} WITH (FORCE)")

    def _create(self, template: str) -> str:
        self._made += 1
        name = f"test_{self._made}"
        execute(self._server.url(), f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self._server.url(name)
