"""Sums of the records, by provider, model, course and quarter of an hour.

Revises: 0006
"""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COUNTS = (
    "requests", "calls", "tokens", "prompt_tokens", "completion_tokens", "errors", "rate_limit_hits", "cached",
    "list_cost", "billed_cost", "unpriced", "latency_ms",
)  # fmt: skip
NO_ERROR = ("ok", "cached", "rate_limited", "disconnected", "skipped")
LARGEST = 2**63 - 1


def upgrade() -> None:
    op.create_table(
        "usage_metrics",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("provider", "model", "course")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS[:-1]),
        sa.Column("cost_usd", sa.Numeric(10, 6), nullable=False),
        sa.Column("latency_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_usage_metrics"),
        sa.UniqueConstraint("timestamp", "provider", "model", "course", name="uq_usage_metrics_timestamp_provider_model_course"),
    )
    op.create_index("ix_usage_metrics_provider_model", "usage_metrics", ["provider", "model"])
    op.create_index("ix_requests_course_created_at", "requests", ["course", "created_at"])
    op.create_index("ix_requests_student_created_at", "requests", ["student", "created_at"])
    if not context.is_offline_mode():
        _sum_up(op.get_bind())


def downgrade() -> None:
    op.drop_index("ix_requests_student_created_at", "requests")
    op.drop_index("ix_requests_course_created_at", "requests")
    op.drop_table("usage_metrics")


def _sum_up(connection: sa.Connection) -> None:
    """What the records of before add up to."""
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    moment = sa.DateTime(timezone=True)
    requests = sa.table(
        "requests", sa.column("created_at", moment), sa.column("provider"), sa.column("model"), sa.column("course"),
        sa.column("outcome"), sa.column("prompt_tokens"), sa.column("completion_tokens"), sa.column("cached"),
        sa.column("list_cost"), sa.column("billed_cost"), sa.column("latency_ms"), sa.column("attempts", json),
    )  # fmt: skip
    metrics = sa.table("usage_metrics", sa.column("timestamp", moment), *map(sa.column, _columns()))
    created, start = requests.c.created_at, None
    while True:
        # Day by day, without a cursor: while one is open, PostgreSQL lets no later migration alter the table.
        first = sa.select(sa.func.min(created)) if start is None else sa.select(sa.func.min(created)).where(created >= start)
        if (found := connection.execute(first).scalar()) is None:
            return
        day = _quarter(found).replace(hour=0, minute=0)
        start = day + timedelta(days=1)
        query = sa.select(requests).where(created >= day, created < start).order_by(created)
        for quarter, rows in groupby(connection.execute(query).mappings(), lambda row: _quarter(row["created_at"])):
            if values := list(_sums(quarter, rows)):
                connection.execute(metrics.insert(), values)


def _columns() -> Iterator[str]:
    yield from ("provider", "model", "course", *COUNTS, "cost_usd")


def _quarter(moment: datetime) -> datetime:
    utc = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
    return utc.replace(minute=utc.minute - utc.minute % 15, second=0, microsecond=0)


def _sums(quarter: datetime, rows: Any) -> Iterator[dict[str, Any]]:
    sums: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in rows:
        course = row["course"] or ""
        answered = sums.setdefault((row["provider"] or "", row["model"] or "", course), dict.fromkeys(COUNTS, 0))
        tokens = row["prompt_tokens"] + row["completion_tokens"]
        answered["requests"] += 1
        answered["tokens"] += tokens
        answered["prompt_tokens"] += row["prompt_tokens"]
        answered["completion_tokens"] += row["completion_tokens"]
        answered["cached"] += bool(row["cached"])
        answered["list_cost"] += row["list_cost"] or 0
        answered["billed_cost"] += row["billed_cost"] or 0
        answered["unpriced"] += row["list_cost"] is None and bool(row["prompt_tokens"] or row["completion_tokens"])
        answered["latency_ms"] += round(row["latency_ms"])
        for attempt in row["attempts"]:
            if attempt["outcome"] != "skipped":
                key = (attempt["provider"] or "", attempt["model"] or "", course)
                called = sums.setdefault(key, dict.fromkeys(COUNTS, 0))
                called["calls"] += 1
                called["errors"] += attempt["outcome"] not in NO_ERROR
                called["rate_limit_hits"] += attempt["outcome"] == "rate_limited"
        if not row["attempts"]:
            answered["errors"] += row["outcome"] not in NO_ERROR
            answered["rate_limit_hits"] += row["outcome"] == "rate_limited"
    for (provider, model, course), figures in sums.items():
        held = {name: max(-LARGEST, min(LARGEST, value)) for name, value in figures.items()}
        usd = max(0.0, min(9999.999999, figures["list_cost"] / 1e9))
        names = {"timestamp": quarter, "provider": provider, "model": model, "course": course}
        yield {**names, **held, "cost_usd": usd}
