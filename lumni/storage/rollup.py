"""``usage_metrics``: sums of the records by provider, model, course and quarter of an hour.

They change in the transaction that adds or removes the records, so that they are their sum at any moment. A quarter of
an hour, because days and months of every time zone of today begin at the border of one.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Insert, Integer, case, cast, func, literal
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from lumni.money import NANO_PER_USD
from lumni.storage.rows import INT64, clean_int
from lumni.storage.tables import usage_metrics
from lumni.types import Outcome

BUCKET = timedelta(minutes=15)
KEY = ("timestamp", "provider", "model", "course")
FIGURES = (
    "requests",
    "calls",
    "tokens",
    "prompt_tokens",
    "completion_tokens",
    "errors",
    "rate_limit_hits",
    "cached",
    "list_cost",
    "billed_cost",
    "unpriced",
    "latency_ms",
)
LARGEST_USD = 9999.999999  # what DECIMAL(10,6) holds
_NO_ERROR = {str(outcome) for outcome in (Outcome.OK, Outcome.CACHED, Outcome.RATE_LIMITED, Outcome.DISCONNECTED,
                                          Outcome.SKIPPED)}  # fmt: skip

Key = tuple[datetime, str, str, str]
Figures = dict[str, int]


def bucket(moment: datetime) -> datetime:
    """The beginning of its quarter of an hour, in UTC."""
    utc = moment.astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % 15, second=0, microsecond=0)


def rolled_up(rows: Iterable[Mapping[str, Any]], sign: int = 1) -> dict[Key, Figures]:
    """The sums of these rows of ``requests``, to be added; with ``sign`` -1 to be taken away.

    What answered a request has its tokens, costs and time; each call counts where it was made, with its errors and
    refusals. A request that nothing answered counts with no provider, and there what went wrong before any call.
    """
    sums: dict[Key, Figures] = {}
    quarters: dict[datetime, datetime] = {}
    for row in rows:
        moment = row["created_at"].replace(second=0, microsecond=0)
        if (quarter := quarters.get(moment)) is None:
            quarter = quarters[moment] = bucket(moment)
        course = row["course"] or ""
        key = (quarter, row["provider"] or "", row["model"] or "", course)
        if (answered := sums.get(key)) is None:
            answered = sums[key] = dict.fromkeys(FIGURES, 0)
        asked, got, price = row["prompt_tokens"], row["completion_tokens"], row["list_cost"]
        answered["requests"] += 1
        answered["prompt_tokens"] += asked
        answered["completion_tokens"] += got
        answered["tokens"] += asked + got
        answered["cached"] += bool(row["cached"])
        answered["list_cost"] += price or 0
        answered["billed_cost"] += row["billed_cost"] or 0
        answered["unpriced"] += price is None and bool(asked or got)
        answered["latency_ms"] += round(row["latency_ms"])
        for attempt in row["attempts"]:
            if attempt["outcome"] != Outcome.SKIPPED:
                key = (quarter, attempt["provider"] or "", attempt["model"] or "", course)
                if (called := sums.get(key)) is None:
                    called = sums[key] = dict.fromkeys(FIGURES, 0)
                called["calls"] += 1
                _count(called, attempt["outcome"])
        if not row["attempts"]:
            _count(answered, row["outcome"])
    if sign != 1:
        return {key: {name: sign * value for name, value in figures.items()} for key, figures in sums.items()}
    return sums


def _count(figures: Figures, outcome: str) -> None:
    figures["rate_limit_hits"] += outcome == Outcome.RATE_LIMITED
    figures["errors"] += outcome not in _NO_ERROR


async def add(connection: AsyncConnection, rows: Iterable[Mapping[str, Any]], sign: int = 1) -> None:
    """Add these rows of ``requests`` to the sums, or with ``sign`` -1 take them away, in the connection's transaction.

    In the order of the keys: writers that share some can't deadlock.
    """
    sums = rolled_up(rows, sign)
    if not sums:
        return
    values = [
        {
            **dict(zip(KEY, key, strict=True)),
            **{name: clean_int(value) for name, value in figures.items()},
            "cost_usd": max(0.0, min(LARGEST_USD, figures["list_cost"] / NANO_PER_USD)),
        }
        for key, figures in sorted(sums.items())
    ]
    await connection.execute(_added(connection.dialect.name), values)


@cache
def _added(dialect: str) -> Insert:
    """Adds figures to those that are there."""
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(usage_metrics)
    summed = {name: _held(usage_metrics.c[name], insert.excluded[name], dialect) for name in FIGURES}
    usd = summed["list_cost"] / literal(float(NANO_PER_USD))
    summed["cost_usd"] = case((usd > LARGEST_USD, LARGEST_USD), (usd < 0, 0.0), else_=usd)
    added: Insert = insert.on_conflict_do_update(index_elements=KEY, set_=summed)
    return added


def _held(old: ColumnElement[int], new: ColumnElement[int], dialect: str) -> ColumnElement[int]:
    """Their sum, held within 64 bits."""
    if dialect == "postgresql":
        whole = cast(old, postgresql.NUMERIC) + cast(new, postgresql.NUMERIC)
        return cast(func.greatest(-INT64, func.least(INT64, whole)), BigInteger)
    # An overflow makes SQLite's sum a float, which the limits replace.
    return cast(func.max(-INT64, func.min(INT64, old + new)), Integer)
