"""Alembic, run by the program itself: a start brings the schema up to date, once, however many processes start.

It is imported only where there is something to migrate: with what it brings along it takes 7 MiB.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.storage.engine import SQLITE_BEGIN
from lumni.storage.errors import SchemaTooNew

if TYPE_CHECKING:
    from alembic.config import Config

LOCK = 0x6C756D6E69  # "lumni": the advisory lock that a migrating process holds


def directory() -> Path:
    """Where the migrations are: inside an installed package, or beside it in a checkout."""
    package = Path(str(resources.files("lumni.storage")))
    for candidate in (package / "migrations", package.parents[1] / "migrations"):
        if (candidate / "env.py").is_file():
            return candidate
    raise FileNotFoundError("Lumni's migrations are missing: this installation is incomplete")


def head() -> str:
    """The revision that this version of Lumni needs: the last of its files, which begin with their numbers."""
    return revisions()[-1]


def revisions() -> list[str]:
    """All that this version knows, the oldest first."""
    return sorted(path.name.partition("_")[0] for path in (directory() / "versions").glob("[0-9]*.py"))


async def current(engine: AsyncEngine) -> str | None:
    """The revision that the database is at; ``None`` for an empty one."""
    async with engine.connect() as connection:
        return await connection.run_sync(_revision)


async def upgrade(engine: AsyncEngine, revision: str = "head") -> None:
    """Bring the schema to ``revision``. Nothing happens, and no rights are needed, if it is already there.

    Raises ``SchemaTooNew`` when a later version of Lumni has been here.
    """
    at = await current(engine)
    if at is not None and at == (head() if revision == "head" else revision):
        return
    if at is not None and at not in revisions():
        raise SchemaTooNew(
            f"The database is at revision {at}, which this version of Lumni doesn't know. "
            "Upgrade Lumni, or restore the copy of the database made before the upgrade."
        )
    from alembic import command

    await _alone(engine, lambda config: command.upgrade(config, revision))


async def downgrade(engine: AsyncEngine, revision: str) -> None:
    """Take the schema back to ``revision`` (``"base"``: drop all tables, with their data)."""
    from alembic import command

    await _alone(engine, lambda config: command.downgrade(config, revision))


async def _alone(engine: AsyncEngine, run: Callable[["Config"], None]) -> None:
    """Run in one transaction, which waits for other migrating processes."""
    async with engine.connect() as connection:
        await connection.execution_options(**{SQLITE_BEGIN: "IMMEDIATE"})
        async with connection.begin():
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            await connection.run_sync(lambda sync: run(_config(sync)))


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(directory()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision
