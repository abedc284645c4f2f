"""Migrations and models agree, run once however many start them, and lead back."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, inspect, text

from lumni.budget import Ask, Balance, Bounds, Budget, Draw, TopUp
from lumni.calibration import BlindPair, Calibration
from lumni.classroom import Act, Assignment, Content, Course, Exam, Rules, Student, VirtualKey
from lumni.settings import Settings
from lumni.storage import migrate, months
from lumni.storage.database import Database
from lumni.storage.engine import make_engine
from lumni.storage.errors import SchemaTooNew
from lumni.storage.tables import metadata
from tests.storage.samples import START, record

ROOT = Path(__file__).parents[2]
OPEN = """
import asyncio, sys
from pydantic import SecretStr
from lumni.settings import Settings
from lumni.storage.database import Database

async def main():
    sys.stdin.readline()
    await (await Database.open(Settings(database_url=SecretStr(sys.argv[1])))).close()

print("here", flush=True)
asyncio.run(main())
"""


@pytest.fixture
def empty(empty_database_url: str) -> Settings:
    return Settings(database_url=SecretStr(empty_database_url))


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True, "include_name": months.is_table}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, metadata))


def tables(connection: Connection) -> set[str]:
    there = set(inspect(connection).get_table_names()) - {"alembic_version"}
    return {name for name in there if months.is_table(name, "table")}


def test_the_files_names_are_alembics_revisions_in_its_order() -> None:
    """A start knows from them alone whether there is anything to do."""
    scripts = ScriptDirectory(str(migrate.directory()))
    assert migrate.revisions() == [script.revision for script in scripts.walk_revisions()][::-1]
    assert migrate.head() == scripts.get_current_head()


def test_a_start_that_migrates_nothing_spares_itself_alembic(tmp_path: Path) -> None:
    """It and what it brings along would stay in memory for ever."""
    url = f"sqlite:///{tmp_path / 'lumni.db'}"
    for expected in ("True", "False"):
        done = subprocess.run(
            [sys.executable, "-c", OPEN + "print('alembic' in sys.modules)", url],
            input="\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout.split() == ["here", expected], done.stderr


async def test_the_migrated_schema_is_the_one_in_the_code(database: Database) -> None:
    """Every table, column, type, key and index: the code's tables need no further migration."""
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(tables) == set(metadata.tables)
    assert await migrate.current(database.engine) == migrate.head() is not None


async def test_a_difference_would_be_found(database: Database) -> None:
    """The test above can fail: a missing index and another type are told."""
    async with database.engine.connect() as connection:
        await connection.execute(text("DROP INDEX ix_requests_created_at"))
        assert "ix_requests_created_at" in str(await connection.run_sync(differences))
        await connection.rollback()


async def test_down_and_up_again_with_data_inside(empty: Settings) -> None:
    database = await Database.open(empty)
    await database.records.add([record(number) for number in range(10)])
    await migrate.downgrade(database.engine, "base")
    async with database.engine.connect() as connection:
        assert await connection.run_sync(tables) == set()
    assert await migrate.current(database.engine) is None
    await migrate.upgrade(database.engine)
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    assert await database.records.count() == 0
    assert await database.records.add([record()]) == 1
    await database.close()


async def test_a_class_survives_the_way_to_the_version_before_budgets_and_back(empty: Settings) -> None:
    """Issue 5, show 4: what that version knew is there afterwards, what it didn't is gone; all can be used again."""
    database = await Database.open(empty)
    course, student = Course("cs1", "cs1", START, retention_days=30), Student("s-1", "cs1", START, email="ada@b.c")
    key = VirtualKey("k-1", "hash", "lumni-abcd", "student", START, "cs1", "s-1", assignment="hw-1")
    budget = Budget("b-1", "cs1", START, "usd", 5, per="student")
    await database.people.add_course(course)
    await database.people.enrol([student], {}, [key])
    await database.rules.add_assignment(Assignment("hw-1", "cs1", "Homework", START))
    await database.rules.add_exam(Exam("e-1", "cs1", START, START, START + timedelta(hours=1)))
    await database.rules.add_budget(budget)
    await database.rules.top_up(TopUp("b-1", "s-1", "total", 3))
    draw = Draw(Balance("b-1", "s-1", "total"), 5, 1, 0)
    await database.ledger.post([Ask("h-1", (draw,), Bounds(1, 1), START)], [])
    assert await database.rules.add_calibration(Calibration("cs1", 1, START, "local", "w-1", figures={"votes": 20}))
    await database.learning.add_pair(BlindPair("pair-1", START, "req-1", "req-2", "fast"))
    await database.audit.add(Act("a-1", START, "local", "admin", "course.add", "cs1"))
    await database.contents.add([Content("req-1", START, "cs1", "s-1", "full", "h", "h", "asked", "got")])
    await database.records.add([record(assignment="hw-1")])
    await migrate.downgrade(database.engine, "0004")
    await migrate.upgrade(database.engine)
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    issued = await database.people.issued()
    assert issued.keys == (replace(key, assignment=None),)
    assert issued.rules == {"cs1": Rules(replace(course, retention_days=None))}
    kept = await database.records.get(record().request_id)
    assert kept is not None
    assert (kept.assignment, kept.prompt_tokens) == (None, record().prompt_tokens)
    assert await database.rules.add_budget(budget)
    [answer], _ = await database.ledger.post([Ask("h-1", (draw,), Bounds(1, 1), START)], [])
    assert answer.verdict.tokens == 1
    await database.close()


async def test_opening_again_keeps_the_data(empty: Settings) -> None:
    for number in range(3):
        database = await Database.open(empty)
        await database.records.add([record(number)])
        assert await database.records.count() == number + 1
        await database.close()


async def test_processes_that_start_at_once_migrate_once(empty: Settings, empty_database_url: str) -> None:
    """001-61: four processes open the same new database at the same moment, and all succeed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPEN, empty_database_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "here\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        errors = [(await asyncio.to_thread(process.communicate))[1] for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    database = await Database.open(empty)
    async with database.engine.connect() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalars().all() == [
            migrate.head()
        ]
    await database.close()


async def test_a_migration_that_fails_leaves_nothing_behind(empty: Settings) -> None:
    """On SQLite too: a table in the way stops it, and those made before it are gone again."""
    database = Database(make_engine(empty))
    async with database.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE model_selections (x INTEGER)"))
    with pytest.raises(Exception, match="model_selections"):
        await migrate.upgrade(database.engine)
    async with database.engine.connect() as connection:
        assert await connection.run_sync(tables) == {"model_selections"}
    await database.close()


async def test_a_database_of_a_later_version_is_left_alone(empty: Settings) -> None:
    database = await Database.open(empty)
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(SchemaTooNew, match="Upgrade Lumni"):
        await Database.open(empty)


def test_developers_may_use_alembic_itself(empty_database_url: str, tmp_path: Path) -> None:
    """``alembic`` reads DATABASE_URL as the server does, and finds nothing left to generate."""
    environment = {"DATABASE_URL": empty_database_url, "PATH": "", "HOME": str(tmp_path)}
    for command in (["upgrade", "head"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "No new upgrade operations" in done.stdout


@pytest.mark.parametrize("database", ["postgresql://db/x", "sqlite:///x.db"])
def test_the_statements_can_be_printed(database: str, tmp_path: Path) -> None:
    """For people who let nobody but themselves change their database."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head", "--sql"],
        cwd=ROOT,
        env={"DATABASE_URL": database, "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("JSONB" in done.stdout) == database.startswith("postgresql")
    assert all(f"CREATE TABLE {name}" in done.stdout for name in metadata.tables)
