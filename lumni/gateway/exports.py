"""Records as files: CSV for spreadsheets, JSON lines for programs, Parquet for data frames."""

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import orjson

from lumni.errors import LumniError
from lumni.money import to_usd
from lumni.storage.database import Database
from lumni.storage.usage import Where
from lumni.types import Json, RequestRecord

COLUMNS: dict[str, Callable[[RequestRecord], Any]] = {
    "request_id": lambda r: r.request_id,
    "created_at": lambda r: r.created_at,
    "course": lambda r: r.course,
    "assignment": lambda r: r.assignment,
    "student": lambda r: r.student,
    "label": lambda r: r.label,
    "key_id": lambda r: r.key_id,
    "surface": lambda r: r.surface,
    "requested_model": lambda r: r.requested_model,
    "task_type": lambda r: r.task_type,
    "provider": lambda r: r.provider,
    "model": lambda r: r.model,
    "outcome": lambda r: str(r.outcome),
    "status": lambda r: r.status,
    "error_code": lambda r: r.error_code,
    "stream": lambda r: r.stream,
    "cached": lambda r: r.cached,
    "finish_reason": lambda r: r.finish_reason,
    "prompt_tokens": lambda r: r.prompt_tokens,
    "completion_tokens": lambda r: r.completion_tokens,
    "list_cost_usd": lambda r: None if r.list_cost is None else f"{to_usd(r.list_cost):f}",
    "billed_cost_usd": lambda r: None if r.billed_cost is None else f"{to_usd(r.billed_cost):f}",
    "latency_ms": lambda r: r.latency_ms,
    "queued_ms": lambda r: r.queued_ms,
    "ttft_ms": lambda r: r.ttft_ms,
    "attempts": lambda r: len(r.attempts),
    "rate_limited_attempts": lambda r: sum(attempt.outcome == "rate_limited" for attempt in r.attempts),
}
FORMULA = tuple("=+-@\t\r")  # what spreadsheets would run
Write = Callable[[list[Json]], None]


async def export_records(database: Database, where: Where, kind: str, to: Path | None) -> int:
    """Write all records of ``where``, the oldest first; their number. ``kind`` is ``csv``, ``json`` or ``parquet``.

    An empty cell is unknown. Raises :class:`LumniError` for what can't be written.
    """
    if kind == "parquet" and to is None:
        raise LumniError("Parquet needs a file: lumni export --parquet records.parquet")
    number = 0
    with ExitStack() as opened:
        try:
            write = opened.enter_context(_WRITERS[kind](to))
        except OSError as error:
            raise LumniError(f"{to} can't be written: {error.strerror}.") from None
        async for page in database.usage.pages(where):
            write([{name: value(record) for name, value in COLUMNS.items()} for record in page])
            number += len(page)
    return number


@contextmanager
def _csv(to: Path | None) -> Iterator[Write]:
    with _text(to) as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)

        def write(rows: list[Json]) -> None:
            writer.writerows([_cell(value) for value in row.values()] for row in rows)

        yield write


@contextmanager
def _json(to: Path | None) -> Iterator[Write]:
    with _text(to) as out:
        yield lambda rows: out.writelines(orjson.dumps(row).decode() + "\n" for row in rows)


@contextmanager
def _parquet(to: Path | None) -> Iterator[Write]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        message = "Parquet needs pyarrow, which is not installed: pip install 'lumni[parquet]', or use --csv or --json."
        raise LumniError(message) from None
    whole, text = pyarrow.int64(), pyarrow.string()
    kinds = {
        **dict.fromkeys(COLUMNS, text),
        **dict.fromkeys(("created_at",), pyarrow.timestamp("us", tz="UTC")),
        **dict.fromkeys(("stream", "cached"), pyarrow.bool_()),
        **dict.fromkeys(("status", "prompt_tokens", "completion_tokens", "attempts", "rate_limited_attempts"), whole),
        **dict.fromkeys(("latency_ms", "queued_ms", "ttft_ms"), pyarrow.float64()),
    }
    schema = pyarrow.schema(list(kinds.items()))
    with pyarrow.parquet.ParquetWriter(str(to), schema) as writer:
        yield lambda rows: writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


_WRITERS = {"csv": _csv, "json": _json, "parquet": _parquet}


@contextmanager
def _text(to: Path | None) -> Iterator[TextIO]:
    if to is None:
        yield sys.stdout
        return
    with to.open("w", encoding="utf-8", newline="") as file:
        yield file


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return value.isoformat() if hasattr(value, "isoformat") else value
