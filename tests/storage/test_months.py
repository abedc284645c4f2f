"""Records of PostgreSQL in partitions by month: each once, moved without loss, deleted as a whole."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from typer.testing import CliRunner

from lumni.__main__ import app
from lumni.classroom import Act, Content
from lumni.settings import Settings
from lumni.storage import migrate, months
from lumni.storage.database import Database
from lumni.storage.errors import refuses_data
from lumni.storage.months import MOMENTS
from lumni.storage.tables import audit, contents, feedback, model_selections, requests, task_classifications
from lumni.storage.usage import Where
from lumni.types import RequestRecord
from tests.services.databases import PostgresDatabases, execute, in_thread
from tests.storage.samples import record
from tests.storage.test_rollup import check, stored

DETAILS = (task_classifications, model_selections)
ACT = Act("a-1", datetime(2026, 3, 1, tzinfo=UTC), "local", "admin", "records.prune", "2026-03", None, {"x": 1})


@pytest.fixture
async def server(postgres_databases: PostgresDatabases) -> AsyncIterator[Database]:
    url = postgres_databases.create()
    database = await Database.open(Settings(database_url=SecretStr(url)))
    try:
        yield database
    finally:
        await database.close()
        postgres_databases.drop(url)


def monthly(*numbers: int, **changes: Any) -> list[RequestRecord]:
    """Three records of each of these months of 2026: of its first and last moment, and between."""
    moments = [
        moment
        for number in numbers
        for month in [datetime(2026, number, 1, tzinfo=UTC)]
        for moment in (month, month + timedelta(days=10), months.after(month) - timedelta(microseconds=1))
    ]
    return [record(created_at=at, request_id=f"r-{at.isoformat()}", **changes) for at in moments]


async def in_months(database: Database) -> dict[str | None, int]:
    return {part.month: part.requests for part in await months.partitions(database.engine) if part.requests}


async def test_this_month_and_the_next_ones_are_ready(server: Database) -> None:
    """Issue 5: partitions are made ahead of their time, on opening, and what is written goes there."""
    now = datetime.now(UTC)
    await server.records.add([record(number, created_at=now) for number in range(3)])
    ready = [months.after(months.month_of(now), number) for number in range(months.AHEAD + 1)]
    assert {f"{month:%Y-%m}" for month in ready} <= {part.month for part in await months.partitions(server.engine)}
    assert await in_months(server) == {f"{now:%Y-%m}": 3}


async def test_a_record_is_stored_once_wherever_its_month_is(server: Database) -> None:
    """Before its month is made, after its rows were moved there, and in any batch: by all tables, and by the sums."""
    await months.make(server.engine, datetime(2026, 5, 20, tzinfo=UTC))
    records = monthly(1, 2, 5, 6, 12)
    assert await server.records.add(records[4:]) == 11
    assert await server.records.add(records) == 4
    assert (await in_months(server))[None] == 6
    assert await months.make(server.engine, datetime(2026, 5, 20, tzinfo=UTC)) == 2
    assert await in_months(server) == {f"2026-{month:02}": 3 for month in (1, 2, 5, 6, 12)}
    assert await server.records.add(records[::-1]) == 0
    assert await server.records.count() == 15
    for table in DETAILS:
        assert len(await stored(server, table)) == 15
    await check(server)
    assert [await server.records.get(one.request_id) for one in records] == records
    march = Where(since=datetime(2026, 2, 28, tzinfo=UTC), until=datetime(2026, 6, 1, tzinfo=UTC))
    assert (await server.usage.sums(march))[()].requests == 4


async def test_months_are_made_while_others_write(server: Database) -> None:
    """Nothing gets lost between the default partition and the month that is cut out of it."""
    batches = [monthly(*range(1, 7)), monthly(*range(3, 10)), monthly(*range(1, 13))]

    async def write(batch: list[RequestRecord]) -> int:
        return sum([await server.records.add(batch[start : start + 3]) for start in range(0, len(batch), 3)])

    async def make() -> int:
        return sum([await months.make(server.engine, datetime(2026, n, 1, tzinfo=UTC)) for n in range(1, 10)])

    *written, _ = await asyncio.gather(*(write(batch) for batch in batches), make())
    assert sum(written) == await server.records.count() == 36
    await months.make(server.engine, datetime.now(UTC))
    assert await in_months(server) == {f"2026-{month:02}": 3 for month in range(1, 13)}
    await check(server)


@pytest.mark.parametrize(("code", "refused"), [("23514", False), ("23505", True), ("22P05", True), ("40P01", False)])
def test_a_row_without_its_partition_is_tried_again(code: str, refused: bool) -> None:
    """A month may be made between a row's routing and its storing: that is nothing about the data."""
    error = asyncpg.PostgresError()
    error.sqlstate = code
    wrapped = IntegrityError("INSERT", None, error) if code[:2] == "23" else error
    assert (refuses_data(error), refuses_data(wrapped)) == (refused, refused)


async def test_who_may_make_no_tables_can_open_and_write(
    server: Database, postgres_databases: PostgresDatabases, caplog: pytest.LogCaptureFixture
) -> None:
    """001-61: a database that is up to date needs no right to create tables; others cut out the months later."""
    url = postgres_databases.create()
    for statement in ("DROP TABLE requests_y{0}, task_classifications_y{0}, model_selections_y{0}",):
        execute(url, statement.format(f"{datetime.now(UTC):%Ym%m}"))
    execute(url, "CREATE ROLE writer LOGIN")
    execute(url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO writer")
    execute(url, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO writer")
    try:
        database = await Database.open(Settings(database_url=SecretStr(url.replace("postgres@", "writer@"))))
        assert "can't be made (42501)" in caplog.text
        assert await database.records.add([record(1, created_at=datetime.now(UTC))]) == 1
        assert await in_months(database) == {None: 1}
        await database.close()
        owner = await Database.open(Settings(database_url=SecretStr(url)))
        assert await in_months(owner) == {f"{datetime.now(UTC):%Y-%m}": 1}
        await owner.close()
    finally:
        execute(url, "DROP OWNED BY writer")
        execute(url, "DROP ROLE writer")
        postgres_databases.drop(url)


async def test_old_months_go_as_a_whole(database: Database) -> None:
    """Issue 5: with their sums, content and feedback, on both databases; the rest stays, and the act is on record."""
    await months.make(database.engine, datetime(2026, 2, 1, tzinfo=UTC))
    records = monthly(1, 2, 3, 4, student="s-1")
    await database.records.add(records)
    for one in records:
        await database.experiments.give(one.request_id, 1, 1.0, datetime(2026, 9, 1, tzinfo=UTC))
    kept = [Content(one.request_id, one.created_at, "ai-101", "s-1", "hash", "h", "h") for one in records]
    await database.contents.add(kept)
    assert await months.prune(database.engine, datetime(2026, 3, 1, tzinfo=UTC), ACT) == 6
    assert (
        await months.prune(database.engine, datetime(2026, 3, 31, tzinfo=UTC), Act(**{**fields(ACT), "id": "a"})) == 0
    )
    left = {one.request_id for one in records[6:]}
    for table in (*MOMENTS, feedback, contents):
        assert {row["request_id"] for row in await stored(database, table)} == left
    await check(database)
    [act, _] = sorted(await stored(database, audit), key=lambda row: -int(row["details"]["requests"]))
    assert (act["action"], act["subject"], act["details"]) == ("records.prune", "2026-03", {"x": 1, "requests": 6})
    assert await database.records.add(records[:1]) == 1


def fields(act: Act) -> dict[str, Any]:
    return {name: getattr(act, name) for name in Act.__slots__}


async def test_the_months_survive_the_way_down_and_up(empty_database_url: str) -> None:
    """Issue 5, show 4: to the version before partitions and back with data inside; each record once, cascades again."""
    database = await Database.open(Settings(database_url=SecretStr(empty_database_url)))
    records = [*monthly(1, 2, 12), record(1, created_at=datetime.now(UTC))]
    await database.records.add(records)
    before = [await stored(database, table) for table in MOMENTS]
    await migrate.downgrade(database.engine, "0008")
    async with database.engine.begin() as connection:
        names = (await connection.execute(select(requests.c.request_id))).scalars().all()
        assert sorted(names) == sorted(one.request_id for one in records)
        await connection.execute(text("DELETE FROM requests WHERE request_id = :id"), {"id": records[0].request_id})
        assert (await connection.execute(text("SELECT count(*) FROM model_selections"))).scalar() == 9
        await connection.rollback()
    await database.close()
    database = await Database.open(Settings(database_url=SecretStr(empty_database_url)))
    for table, rows in zip(MOMENTS, before, strict=True):
        assert sorted(await stored(database, table), key=by_id) == sorted(rows, key=by_id)
    assert await database.records.add(records) == 0
    if database.engine.dialect.name == "postgresql":
        assert None not in await in_months(database)
    await database.close()


def by_id(row: dict[str, Any]) -> str:
    return str(row["request_id"])


def test_on_the_command_line(
    tmp_path: Path, postgres_databases: PostgresDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 5: `lumni db status` tells of the months, `lumni db prune` deletes them, and asks before."""
    monkeypatch.chdir(tmp_path)
    url = postgres_databases.create()
    monkeypatch.setenv("DATABASE_URL", url)

    async def fill() -> None:
        database = await Database.open(Settings(database_url=SecretStr(url)))
        await database.records.add(monthly(1, 3))
        await database.close()

    in_thread(fill())
    run = CliRunner().invoke
    assert run(app, ["db", "upgrade"]).exit_code == 0
    assert "partition 2026-03: 3 requests" in run(app, ["db", "status"]).stdout
    assert "no month" in run(app, ["db", "prune", "--before", "soon"]).stderr
    assert run(app, ["db", "prune", "--before", "2026-03"], input="n\n").exit_code == 1
    assert "3 requests deleted" in run(app, ["db", "prune", "--before", "2026-03", "--yes"]).stdout
    status = run(app, ["db", "status"]).stdout
    assert "partition 2026-01" not in status
    assert "rows of requests: 3" in status
    assert "records.prune" in run(app, ["audit", "--json"]).stdout
    postgres_databases.drop(url)
