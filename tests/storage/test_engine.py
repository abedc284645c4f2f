"""Addresses: all usual spellings work, what is wrong is said, and a password is never shown."""

import asyncio
import stat
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.engine import address, make_engine
from lumni.storage.errors import BadDatabaseURL, StorageError, StorageUnavailable
from tests.services.postgres import Postgres

SECRET = "s3cr3t"


def settings(url: str) -> Settings:
    # Unchecked, so that the engine's own defence is tested and not that of the settings.
    return Settings.model_construct(database_url=SecretStr(url), data_dir=Path("unused"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
@pytest.mark.parametrize("options", ["", "&sslmode=disable", "&ssl=disable&channel_binding=disable"])
async def test_every_usual_address_of_postgresql_connects(postgres: Postgres, scheme: str, options: str) -> None:
    """001-11: also by a socket, and with the options that hosting companies append."""
    engine = make_engine(settings(postgres.url().replace("postgresql", scheme, 1) + options))
    async with engine.connect() as connection:
        assert (await connection.exec_driver_sql("SELECT 1")).scalar() == 1
    await engine.dispose()


async def test_without_an_address_data_are_in_a_private_sqlite_file(tmp_path: Path) -> None:
    """000-29: one file in the data folder, for its owner only, in WAL with foreign keys checked."""
    database = await Database.open(Settings(data_dir=tmp_path / "new" / "folder"))
    async with database.engine.connect() as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "foreign_keys")
        ]
    await database.close()
    file = tmp_path / "new" / "folder" / "lumni.db"
    assert pragmas == ["wal", 1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_address_shown_has_no_user_and_no_password() -> None:
    engine = make_engine(settings(f"postgres://ada:{SECRET}@db.example:5433/school?password={SECRET}"))
    assert address(engine) == "postgresql://db.example:5433/school"
    assert SECRET not in f"{engine!r} {engine.url!r} {engine.sync_engine.pool!r} {vars(engine.sync_engine)}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        SECRET,
        f"mysql://ada:{SECRET}@db/school",
        f"postgres://ada:{SECRET}@db:port/school",
        f"postgres://ada:p@{SECRET}:1@db/school",
        f"postgres://ada:{SECRET}@[::1/school",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(BadDatabaseURL) as caught:
        make_engine(settings(url))
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "DATABASE_URL" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgres://ada:{SECRET}@127.0.0.1:1/school",
        f"postgres://ada:{SECRET}@/school?host=/nowhere/at/all",
        f"postgres://ada:{SECRET}@127.0.0.1:1/school?sslmode={SECRET}x",
        f"postgres://ada:{SECRET}@host.invalid/school",
    ],
)
async def test_a_server_out_of_reach_is_an_error_that_helps(url: str) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        await Database.open(settings(url))
    message = str(caught.value)
    assert "server runs" in message
    assert "without DATABASE_URL" in message
    assert f":{SECRET}@" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("database", "user", "hint"),
    [("missing", "postgres", "createdb"), ("postgres", "nobody_here", "user or its password")],
)
async def test_a_server_that_says_no_is_an_error_that_helps(
    postgres: Postgres, database: str, user: str, hint: str
) -> None:
    url = postgres.url(database).replace("//postgres@", f"//{user}:{SECRET}@")
    with pytest.raises(StorageUnavailable, match=hint) as caught:
        await Database.open(settings(url))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_folder_that_cannot_be_made_is_an_error_that_helps(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageUnavailable, match="folder exists"):
        await Database.open(Settings(data_dir=tmp_path / "file"))


async def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lumni.db").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(StorageError):
        await Database.open(Settings(data_dir=tmp_path))


async def test_ping_tells_whether_the_database_is_there() -> None:
    with Postgres() as server:
        database = await Database.open(settings(server.url()))
        await database.ping()
        await asyncio.to_thread(server.kill)
        with pytest.raises(StorageUnavailable):
            await database.ping()
        await asyncio.to_thread(server.start)
        await database.ping()
        await database.close()
