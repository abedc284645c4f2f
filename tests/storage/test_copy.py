"""Moving house: what is copied is there, once, and the same."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from typer.testing import CliRunner

from lumni.__main__ import app
from lumni.catalogue.allowlist import unknown
from lumni.catalogue.model import Catalogue
from lumni.people.secret import Secret
from lumni.people.service import LOCAL_ADMIN, People
from lumni.settings import Settings
from lumni.storage import copy, rollup
from lumni.storage.copy import CopyDiffers
from lumni.storage.database import Database
from lumni.storage.tables import keys, metadata, requests
from tests.services.databases import PostgresDatabases, in_thread
from tests.storage.samples import record
from tests.storage.test_rollup import check, stored


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[Database]:
    """An SQLite database in use: a course with a student and a key, and records of all kinds."""
    database = await Database.open(Settings(data_dir=tmp_path))
    people = People(
        database,
        Secret("a secret of the tests, long enough"),
        unknown_models=lambda names: unknown(names, Catalogue(())),
        changed=lambda: None,
    )
    await people.courses.add(LOCAL_ADMIN, "ai-101", name="AI")
    ada = await people.students.add(LOCAL_ADMIN, "ai-101", "ada@school.example")
    await database.records.add([record(n, student=ada.id, list_cost=None if n % 5 else n) for n in range(4500)])
    odd = record(5000, factors={"n": 1e22, "small": 5e-324}, latency_ms=1e9, prompt_tokens=2**60, label="ä\x00")
    await database.records.add([odd])
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def target(postgres_databases: PostgresDatabases) -> AsyncIterator[Database]:
    url = postgres_databases.create()
    database = await Database.open(Settings(database_url=SecretStr(url)))
    try:
        yield database
    finally:
        await database.close()
        postgres_databases.drop(url)


async def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    return {
        table.name: sorted(await stored(database, table), key=lambda row: str(row[next(iter(row))]))
        for table in metadata.sorted_tables
        if table.name not in ("usage_metrics", "people_version")
    }


async def test_everything_moves_from_sqlite_to_postgresql(source: Database, target: Database) -> None:
    """001-56: every row of every table, with the sums; told page by page; twice changes nothing."""
    told: list[int] = []
    done = await copy.copy(source, target, told.append)
    assert await everything(target) == await everything(source)
    await check(target)
    assert sum(told) == copy.to_copy(await copy.count(source)) == sum(table.rows for table in done)
    assert {table.table: table.new for table in done}["requests"] == 4501
    again = await copy.copy(source, target)
    assert sum(table.new for table in again) == 0
    assert [table.checksum for table in again] == [table.checksum for table in done]
    await check(target)


async def test_a_copy_that_breaks_off_goes_on_where_it_was(source: Database, target: Database) -> None:
    """And a target that is in use already keeps what it has."""
    await target.records.add([record(9000), record(3)])
    await target.records.add([record(4, student=None)])

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy.copy(source, target, stop)
    with pytest.raises(CopyDiffers, match=r"req-0000000[34]"):
        await copy.copy(source, target)
    async with target.engine.begin() as connection:
        gone = requests.delete().where(requests.c.request_id.in_(["req-00000003", "req-00000004"])).returning(requests)
        await rollup.add(connection, [dict(row) for row in (await connection.execute(gone)).mappings()], sign=-1)
    await copy.copy(source, target)
    assert await target.records.count() == 4502
    await check(target)


async def test_what_went_missing_is_noticed(source: Database, target: Database) -> None:
    """A row that can't be stored, because another one has its place, is no silent loss."""
    await copy.copy(source, target)
    async with source.engine.connect() as connection:
        assert (await connection.execute(select(keys))).all() == []
    async with target.engine.begin() as connection:
        await connection.execute(requests.update().where(requests.c.request_id == "req-00000007").values(status=500))
    with pytest.raises(CopyDiffers, match=r"requests: the row .*req-00000007.* is another one there"):
        await copy.copy(source, target)


def test_on_the_command_line(
    tmp_path: Path, postgres_databases: PostgresDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """001-56: `lumni db upgrade`, `status`, `copy`, in the order in which one types them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    run = CliRunner().invoke

    async def fill() -> None:
        database = await Database.open(Settings(data_dir=tmp_path / ".lumni"))
        await database.records.add([record(n) for n in range(100)])
        await database.close()

    assert "There is no lumni.db" in run(app, ["db", "status"]).stderr
    assert "DATABASE_URL names no target" in run(app, ["db", "copy"]).stderr
    assert "is at revision" in run(app, ["db", "upgrade"]).stdout
    in_thread(fill())
    status = run(app, ["db", "status"]).stdout
    assert "rows of requests: 100" in status
    assert "up to date: True" in status
    url = postgres_databases.empty()
    monkeypatch.setenv("DATABASE_URL", url)
    assert "up to date: False" in run(app, ["db", "status"]).stdout
    done = run(app, ["db", "copy"])
    assert done.exit_code == 0, done.output
    assert re.search(r"\d+ rows are there and the same, [\d,]+ a second", done.stdout)
    assert "rows of requests: 100" in run(app, ["db", "status"]).stdout
    postgres_databases.drop(url)
