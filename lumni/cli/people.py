"""What ``lumni course``, ``student`` and ``key`` have in common: the services, and how results are shown."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from lumni.people.service import People

T = TypeVar("T")
Json = dict[str, Any]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="A config.json or a model list.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def with_people(config: Path | None, work: "Callable[[People], Awaitable[T]]") -> T:
    """What ``work`` returns, over the database that the settings name. Errors end the command with their message."""
    import asyncio

    from lumni.cli.failure import explained

    with explained():
        return asyncio.run(_work(config, work))


async def _work(config: Path | None, work: "Callable[[People], Awaitable[T]]") -> T:
    import os

    from lumni.catalogue.load import load_catalogue
    from lumni.services import make_people
    from lumni.settings import Settings
    from lumni.storage.database import Database

    settings = Settings.load(config)
    catalogue = load_catalogue(settings, os.environ)
    database = await Database.open(settings)
    try:
        return await work(make_people(settings, catalogue, database))
    finally:
        await database.close()


def show_table(rows: Sequence[Json], columns: Mapping[str, str], *, as_json: bool) -> None:
    """Rows as a table; ``columns`` are headings by the field that they show."""
    if as_json:
        show_json(rows)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns.values())
    for row in rows:
        table.add_row(*(escape(_cell(row[name])) for name in columns))
    Console().print(table)


def show_one(row: Json, *, as_json: bool) -> None:
    """One thing, a line for each field that is known."""
    if as_json:
        show_json(row)
        return
    for name, value in row.items():
        if value not in (None, []):
            typer.echo(f"{name.replace('_', ' ')}: {_cell(value)}")


def show_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
