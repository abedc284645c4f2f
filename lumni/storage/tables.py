"""The tables, as both databases have them. A change here needs a migration; a test compares the two."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect


class UTCDateTime(TypeDecorator[datetime]):
    """A moment: ``timestamptz`` in PostgreSQL, UTC as sortable text in SQLite. Naive times are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone is not a moment")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _json(*, none_as_null: bool = False) -> JSON:
    return JSON(none_as_null=none_as_null).with_variant(JSONB(none_as_null=none_as_null), "postgresql")


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# On PostgreSQL, requests, task_classifications and model_selections have a partition a month (lumni.storage.months) and
# the moment in their primary keys. It is part of a record: the same request always comes with the same one.
requests = Table(
    "requests",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("created_at", UTCDateTime, nullable=False),
    Column("client_request_id", Text),
    Column("surface", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("student", Text),
    Column("course", Text),
    Column("label", Text),
    Column("assignment", Text),
    Column("requested_model", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error_code", Text),
    Column("task_type", Text),
    Column("confidence", Double),
    Column("factors", _json(), nullable=False),
    Column("deployment", Text),
    Column("provider", Text),
    Column("model", Text),
    Column("reason", Text),
    Column("benchmark_score", Double),
    Column("cached", Boolean, nullable=False),
    Column("finish_reason", Text),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("usage_estimated", Boolean, nullable=False),
    Column("list_cost", BigInteger),
    Column("billed_cost", BigInteger),
    Column("latency_ms", Double, nullable=False),
    Column("queued_ms", Double, nullable=False, server_default="0"),
    Column("ttft_ms", Double),
    Column("attempts", _json(), nullable=False),
    # Not JSONB: it is the larger part of a record and read whole or not at all; to make a tree of it takes PostgreSQL
    # longer than all the rest of the row.
    Column("decision", JSON(none_as_null=True)),
    Column("prompt", Text),
    Column("experiment", Text),
    Column("variant", Text),
    Index(None, "created_at"),
    Index(None, "course", "created_at"),
    Index(None, "student", "created_at"),
    Index(None, "experiment"),
)

task_classifications = Table(
    "task_classifications",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("task_type", Text, nullable=False),
    Column("confidence", Numeric(3, 2, asdecimal=False)),
    Column("factors", _json(), nullable=False),
    Column("timestamp", UTCDateTime, nullable=False),
    Index(None, "task_type"),
    Index(None, "timestamp"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("created_at", UTCDateTime, nullable=False),
    Column("value", Integer, nullable=False),
    Column("weight", Double, nullable=False),
)

model_selections = Table(
    "model_selections",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("task_type", Text),
    Column("selected_provider", Text, nullable=False),
    Column("selected_model", Text, nullable=False),
    Column("reason", Text),
    Column("benchmark_score", Numeric(5, 2, asdecimal=False)),
    Column("timestamp", UTCDateTime, nullable=False),
    Index(None, "timestamp"),
)

usage_metrics = Table(
    "usage_metrics",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("timestamp", UTCDateTime, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("course", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("rate_limit_hits", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("list_cost", BigInteger, nullable=False),
    Column("billed_cost", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("cost_usd", Numeric(10, 6, asdecimal=False), nullable=False),
    Column("latency_ms", BigInteger, nullable=False),
    UniqueConstraint("timestamp", "provider", "model", "course"),
    Index(None, "provider", "model"),
)

courses = Table(
    "courses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("starts_at", UTCDateTime),
    Column("ends_at", UTCDateTime),
    Column("time_zone", Text, nullable=False),
    Column("models", _json(none_as_null=True)),
    Column("privacy", Text, nullable=False),
    Column("weight", Double, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("claim_round", Integer, nullable=False),
    Column("retention_days", Integer),
    Column("selection_weights", _json(none_as_null=True)),
)

students = Table(
    "students",
    metadata,
    Column("id", Text, primary_key=True),
    Column("course", ForeignKey("courses.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("email", Text),
    Column("name", Text),
    Column("section", Text),
    Column("external_id", Text),
    Column("claimed_at", UTCDateTime),
    Column("left_at", UTCDateTime),
    UniqueConstraint("course", "email"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("course", ForeignKey("courses.id", ondelete="CASCADE")),
    Column("student", ForeignKey("students.id", ondelete="CASCADE")),
    Column("name", Text),
    Column("models", _json(none_as_null=True)),
    Column("concurrency", Integer),
    Column("starts_at", UTCDateTime),
    Column("expires_at", UTCDateTime),
    Column("revoked_at", UTCDateTime),
    Column("previous_hash", Text),
    Column("previous_until", UTCDateTime),
    Column("assignment", Text),
    UniqueConstraint("hash"),
    Index(None, "course"),
    Index(None, "student"),
)

assignments = Table(
    "assignments",
    metadata,
    Column("course", ForeignKey("courses.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("starts_at", UTCDateTime),
    Column("ends_at", UTCDateTime),
    Column("models", _json(none_as_null=True)),
)

exams = Table(
    "exams",
    metadata,
    Column("id", Text, primary_key=True),
    Column("course", ForeignKey("courses.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("starts_at", UTCDateTime, nullable=False),
    Column("ends_at", UTCDateTime, nullable=False),
    Column("name", Text),
    Column("model", Text),
    Column("seed", BigInteger),
    Column("temperature", Double),
)

budgets = Table(
    "budgets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("course", ForeignKey("courses.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("unit", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("period", Text, nullable=False),
    Column("per", Text, nullable=False),
    Column("who", Text),
    Column("assignment", Text),
    Column("carry_over", Boolean, nullable=False),
    Column("economy", Boolean, nullable=False),
)

budget_top_ups = Table(
    "budget_top_ups",
    metadata,
    Column("budget", ForeignKey("budgets.id", ondelete="CASCADE"), primary_key=True),
    Column("who", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

budget_balances = Table(
    "budget_balances",
    metadata,
    Column("budget", ForeignKey("budgets.id", ondelete="CASCADE"), primary_key=True),
    Column("who", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("spent", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("carried", BigInteger, nullable=False),
)

budget_holds = Table(
    "budget_holds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("budget", ForeignKey("budgets.id", ondelete="CASCADE"), primary_key=True),
    Column("who", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("expires_at", UTCDateTime, nullable=False),
    Column("lapsed", Boolean, nullable=False),
    Index(None, "expires_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", UTCDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("course", Text),
    Column("details", _json(), nullable=False),
    Index(None, "at"),
)

runtime_settings = Table(
    "runtime_settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),  # JSON as text: SQLite gives a number back as one, not as JSON
    Column("changed_at", UTCDateTime, nullable=False),
    Column("changed_by", Text, nullable=False),
)

provider_states = Table(
    "provider_states",
    metadata,
    Column("at", UTCDateTime, primary_key=True),
    Column("deployment", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", UTCDateTime),
    Column("headroom", Double, nullable=False),
    Column("failure_rate", Double, nullable=False),
    Column("reason", Text),
    Column("last_error", Text),
)

contents = Table(
    "contents",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("created_at", UTCDateTime, nullable=False),
    Column("course", Text, nullable=False),
    Column("student", Text),
    Column("privacy", Text, nullable=False),
    Column("prompt_hash", Text, nullable=False),
    Column("answer_hash", Text, nullable=False),
    Column("prompt", Text),
    Column("answer", Text),
    Index(None, "student"),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("course", ForeignKey("courses.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("weights", Text, nullable=False),
    Column("slope", Double, nullable=False),
    Column("shift", Double, nullable=False),
    Column("figures", _json(), nullable=False),
)

blind_pairs = Table(
    "blind_pairs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", UTCDateTime, nullable=False),
    Column("fast_request", Text, nullable=False, unique=True),
    Column("powerful_request", Text, nullable=False, unique=True),
    Column("first", Text, nullable=False),
    Column("choice", Text),
    Column("voted_at", UTCDateTime),
)

people_version = Table(
    "people_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)
