"""``lumni db``: the tables brought up to date, looked at, moved to another database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lumni.cli.people import AsJson, Config, Json, show_one, show_table
from lumni.cli.usage import with_database

if TYPE_CHECKING:
    from lumni.settings import Settings
    from lumni.storage.copy import Copied
    from lumni.storage.database import Database

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database: up to date, its state, moving it.")


@app.command()
def upgrade(config: Config = None) -> None:
    """Bring the tables up to date, as each start of the gateway does."""

    async def work(database: "Database") -> str:
        from lumni.storage import migrate

        return f"{database.address} is at revision {await migrate.current(database.engine)}."

    typer.echo(with_database(config, work))


@app.command()
def status(config: Config = None, as_json: AsJson = False) -> None:
    """Where the data are, the revision of the tables, how many rows there are. Changes nothing."""
    import asyncio

    from lumni.cli.failure import explained

    with explained():
        show_one(asyncio.run(_status(config)), as_json=as_json)


async def _status(config: Path | None) -> Json:
    from lumni.settings import Settings
    from lumni.storage import migrate
    from lumni.storage.copy import count
    from lumni.storage.database import Database
    from lumni.storage.engine import SQLITE_FILE, connection_errors, make_engine
    from lumni.storage.errors import StorageUnavailable, unavailable
    from lumni.storage.months import partitions

    settings = Settings.load(config)
    database = Database(make_engine(settings))
    file = Path(database.engine.url.database or "") if database.engine.dialect.name == "sqlite" else None
    try:
        if file is not None and not file.is_file():
            raise StorageUnavailable(f"There is no {SQLITE_FILE} at {database.address} yet: `lumni serve` makes it.")
        at, newest = await migrate.current(database.engine), migrate.head()
        rows = await count(database) if at == newest else {}
        parts = await partitions(database.engine) if at == newest else []
    except connection_errors() as error:
        raise unavailable(error, database.address) from None
    finally:
        await database.close()
    spool = settings.data_dir / "spool"
    waiting = sum(path.stat().st_size for path in spool.rglob("*.jsonl")) if spool.is_dir() else 0
    return {
        "database": database.address,
        "revision": at,
        "newest revision": newest,
        "up to date": at == newest,
        "bytes in the spool": waiting,
        **{f"rows of {name}": number for name, number in rows.items()},
        **{
            f"partition {part.month or 'of other months'}": f"{part.requests} requests, {part.size / 2**20:.1f} MiB"
            for part in parts
            if part.month or part.requests
        },
    }


@app.command()
def prune(
    before: Annotated[str, typer.Option(help="The first month to keep, such as 2026-09.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    config: Config = None,
) -> None:
    """Delete the records of all months before one, with their sums, content and feedback. Months are those of UTC.

    On PostgreSQL their partitions are dropped. Export first what you need (`lumni export`).
    """
    from datetime import UTC, datetime

    try:
        month = datetime.strptime(before, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(f"{before} is no month: write it as 2026-09.", param_hint="--before") from None
    if not yes:
        typer.confirm(f"Records of before {before} can't be brought back. Delete?", abort=True)

    async def work(database: "Database") -> int:
        from lumni.people.audit import Audit
        from lumni.people.keyring import utc_now
        from lumni.people.service import LOCAL_ADMIN
        from lumni.storage import months

        act = Audit(database.audit, utc_now, lambda: None).act(LOCAL_ADMIN, "records.prune", before)
        return await months.prune(database.engine, month, act)

    typer.echo(f"{with_database(config, work)} requests deleted.")


@app.command()
def copy(
    source: Annotated[
        Path | None, typer.Argument(help="The SQLite file. Default: lumni.db in the data folder.")
    ] = None,
    config: Config = None,
) -> None:
    """Copy an SQLite file into the database that DATABASE_URL names, and compare. Stop the gateway before.

    What is there already is left alone, so a copy that was broken off is simply begun again.
    """
    import asyncio
    import time

    from lumni.cli.failure import explained
    from lumni.settings import Settings

    began = time.monotonic()
    with explained():
        done = asyncio.run(_copy(Settings.load(config), source))
    seconds = max(time.monotonic() - began, 1e-3)
    rows = sum(table.rows for table in done)
    shown: list[Json] = [
        {"table": table.table, "rows": table.rows, "new": table.new, "checksum": f"{table.checksum:016x}"}
        for table in done
    ]
    show_table(shown, {"table": "table", "rows": "rows", "new": "new", "checksum": "checksum"}, as_json=False)
    typer.echo(f"{rows:,} rows are there and the same, {rows / seconds:,.0f} a second.")


async def _copy(settings: "Settings", source: Path | None) -> "list[Copied]":
    import sys

    from pydantic import SecretStr
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lumni.errors import LumniError
    from lumni.storage import copy
    from lumni.storage.database import Database
    from lumni.storage.engine import SQLITE_FILE

    file = source or settings.data_dir / SQLITE_FILE
    if settings.database_url is None:
        raise LumniError("DATABASE_URL names no target: set it to the PostgreSQL that the data shall move to.")
    if not file.is_file():
        raise LumniError(f"There is no {file} to copy from.")
    address = SecretStr(f"sqlite:///{file.absolute()}")
    old = await Database.open(settings.model_copy(update={"database_url": address}))
    try:
        new = await Database.open(settings)
        try:
            if new.address == old.address:
                raise LumniError("Source and target are the same file.")
            total = copy.to_copy(await copy.count(old))
            columns = (TextColumn("copying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=Console(file=sys.stderr)) as progress:
                task = progress.add_task("copying", total=total)
                return await copy.copy(old, new, lambda rows: progress.advance(task, rows))
        finally:
            await new.close()
    finally:
        await old.close()
