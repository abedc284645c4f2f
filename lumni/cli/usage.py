"""``lumni usage`` and ``lumni export``: what was used, and the records of it."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from lumni.cli.people import AsJson, Config, Json, show_json, show_table

if TYPE_CHECKING:
    from lumni.storage.database import Database
    from lumni.storage.usage import Group

T = TypeVar("T")

Since = Annotated[str | None, typer.Option(help="From this day on, such as 2026-09-01.")]
Until = Annotated[str | None, typer.Option(help="Up to and with this day.")]
Course = Annotated[str | None, typer.Option(help="Only this course's; its time zone counts.")]
Assignment = Annotated[str | None, typer.Option(help="Only for this assignment.")]


class By(StrEnum):
    """What sums can be grouped by."""

    STUDENT = "student"
    MODEL = "model"
    PROVIDER = "provider"
    ASSIGNMENT = "assignment"
    COURSE = "course"
    DAY = "day"


class Format(StrEnum):
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def with_database(config: Path | None, work: "Callable[[Database], Awaitable[T]]") -> T:
    """What ``work`` returns, over the database that the settings name. Errors end the command with their message."""
    import asyncio

    from lumni.cli.failure import explained

    async def run() -> T:
        from lumni.settings import Settings
        from lumni.storage.database import Database

        database = await Database.open(Settings.load(config))
        try:
            return await work(database)
        finally:
            await database.close()

    with explained():
        return asyncio.run(run())


def usage(
    user: Annotated[str | None, typer.Option(help="Only this student's, or this label's behind a shared key.")] = None,
    course: Course = None,
    assignment: Assignment = None,
    since: Since = None,
    until: Until = None,
    by: Annotated[list[By] | None, typer.Option(help="Sums for each of these; may be given several times.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what was used: requests, tokens, cost, in all and by student, model, provider, assignment, course or day."""
    groups = cast("tuple[Group, ...]", tuple(dict.fromkeys(group.value for group in by or ())))

    async def work(database: "Database") -> Json:
        from dataclasses import replace

        from lumni.gateway.usage import Usage
        from lumni.people.service import LOCAL_ADMIN

        reader = Usage(database)
        question = await reader.range(LOCAL_ADMIN, course, since, until)
        question = replace(question, course=course, assignment=assignment)
        if user:
            return await reader.of(LOCAL_ADMIN, user, question, groups)
        return await reader.visible(LOCAL_ADMIN, question, groups)

    report = with_database(config, work)
    if as_json:
        show_json(_printable(report))
        return
    rows = [_flat(row) for row in [*report.get("groups", []), {**dict.fromkeys(groups), **report["total"]}]]
    if groups:
        rows[-1][groups[0]] = "all"
    show_table(rows, {**{name: name for name in groups}, **_COLUMNS}, as_json=False)
    if unpriced := report["total"]["cost"]["unpriced_requests"]:
        typer.echo(f"{unpriced} requests have no known price: they are in no cost.")


def report(
    course: Course = None,
    assignment: Assignment = None,
    since: Since = None,
    until: Until = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show everyone's report card: tokens, cost, cache hits, retries, waste, P95, 429s; and the class's medians."""

    async def work(database: "Database") -> Json:
        from dataclasses import replace

        from lumni.gateway.report import report
        from lumni.gateway.usage import Usage
        from lumni.people.service import LOCAL_ADMIN

        question = await Usage(database).range(LOCAL_ADMIN, course, since, until)
        return await report(database, replace(question, course=course, assignment=assignment))

    found = with_database(config, work)
    if as_json:
        show_json(_printable(found))
        return
    median = {"student": "class median", **(found["class_median"] or dict.fromkeys(_CARD))}
    show_table([*map(_card, found["students"]), median], {"student": "student", **_CARD}, as_json=False)


def export(
    to: Annotated[Path | None, typer.Argument(help="The file; without one CSV and JSON go to the terminal.")] = None,
    kind: Annotated[
        Format, typer.Option("--format", "-f", help="csv, json (one record a line) or parquet.")
    ] = Format.CSV,
    csv: Annotated[bool, typer.Option("--csv", help="The same as --format csv.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="The same as --format parquet.")] = False,
    course: Course = None,
    assignment: Assignment = None,
    student: Annotated[str | None, typer.Option(help="Only this student's.")] = None,
    since: Since = None,
    until: Until = None,
    config: Config = None,
) -> None:
    """Write the records of requests for grading or research: pseudonyms, models, tokens, costs, times; no content."""
    asked = [found for found, on in ((Format.CSV, csv), (Format.JSON, json), (Format.PARQUET, parquet)) if on]
    kind = asked[0] if asked else kind

    async def work(database: "Database") -> int:
        from dataclasses import replace

        from lumni.gateway.exports import export_records
        from lumni.gateway.usage import Usage
        from lumni.people.service import LOCAL_ADMIN

        question = await Usage(database).range(LOCAL_ADMIN, course, since, until)
        question = replace(question, course=course, assignment=assignment, student=student)
        return await export_records(database, question, kind.value, to)

    number = with_database(config, work)
    if to:
        typer.echo(f"{number} records are in {to}.", err=True)


_COLUMNS = {
    "requests": "requests", "answered": "answered", "cached": "cached", "rate_limited": "429s", "failed": "failed",
    "prompt_tokens": "prompt", "completion_tokens": "answer", "list": "list USD", "billed": "billed USD",
}  # fmt: skip


_CARD = {
    "requests": "requests", "tokens": "tokens", "list_usd": "list USD", "cache_hits": "hits", "retries": "retries",
    "failed": "failed", "aborted_streams": "aborted", "duplicates": "twice", "p95_ms": "P95 ms", "refused": "429s",
    "median_wait_s": "waited s",
}  # fmt: skip


def _card(card: Json) -> Json:
    return {**card, **card["waste"], **card["rate_limits"], "list_usd": card["cost"]["list"]}


def _flat(row: Json) -> Json:
    cost = row["cost"]
    return {**row, "list": cost["list"] or "unknown", "billed": cost["billed"] or "unknown"}


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
