"""The tables of records have a partition a month on PostgreSQL, and nothing that is checked row by row.

What is there goes to the default partitions; the program moves it to its months when it starts (lumni.storage.months).

Revises: 0008
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MOMENTS = {"requests": "created_at", "task_classifications": "timestamp", "model_selections": "timestamp"}
INDEXES = {
    "requests": (["created_at"], ["course", "created_at"], ["student", "created_at"], ["experiment"]),
    "task_classifications": (["task_type"], ["timestamp"]),
    "model_selections": (["timestamp"],),
}


def upgrade() -> None:
    for table in _details(bound=True):
        with op.batch_alter_table(table.name, copy_from=table) as batch:
            batch.drop_constraint(f"fk_{table}_request_id", type_="foreignkey")
    if op.get_context().dialect.name != "postgresql":
        return
    op.alter_column("requests", "decision", type_=sa.JSON, postgresql_using="decision::json")
    for table, moment in MOMENTS.items():
        for statement in _partitioned(table, moment):
            op.execute(statement)
        for columns in INDEXES[table]:
            op.create_index(_index(table, columns), table, columns)
        op.execute(f"ALTER TABLE {table} ATTACH PARTITION {table}_default DEFAULT")


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        for table, moment in MOMENTS.items():
            for statement in _whole(table, moment):
                op.execute(statement)
            for columns in INDEXES[table]:
                op.create_index(_index(table, columns), table, columns)
        op.alter_column("requests", "decision", type_=postgresql.JSONB, postgresql_using="decision::jsonb")
    for table in _details(bound=False):
        op.execute(f"DELETE FROM {table} WHERE request_id NOT IN (SELECT request_id FROM requests)")
        with op.batch_alter_table(table.name, copy_from=table) as batch:
            batch.create_foreign_key(
                f"fk_{table}_request_id", "requests", ["request_id"], ["request_id"], ondelete="CASCADE"
            )


def _details(*, bound: bool) -> list[sa.Table]:
    """The tables that hang on ``requests``, ``bound`` to it or not: SQLite makes them anew."""
    metadata, json = sa.MetaData(), sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    sa.Table("requests", metadata, sa.Column("request_id", sa.Text, primary_key=True))

    def table(name: str, *columns: sa.Column[Any]) -> sa.Table:
        parent = sa.ForeignKeyConstraint(
            ["request_id"], ["requests.request_id"], name=f"fk_{name}_request_id", ondelete="CASCADE"
        )
        return sa.Table(
            name, metadata, sa.Column("request_id", sa.Text, nullable=False), *columns,
            sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
            sa.PrimaryKeyConstraint("request_id", name=f"pk_{name}"),
            *([parent] if bound else ()),
            *(sa.Index(_index(name, names), *names) for names in INDEXES[name]),
        )  # fmt: skip

    return [
        table(
            "task_classifications", sa.Column("task_type", sa.Text, nullable=False),
            sa.Column("confidence", sa.Numeric(3, 2)), sa.Column("factors", json, nullable=False),
        ),
        table(
            "model_selections", sa.Column("task_type", sa.Text), sa.Column("selected_provider", sa.Text, nullable=False),
            sa.Column("selected_model", sa.Text, nullable=False), sa.Column("reason", sa.Text),
            sa.Column("benchmark_score", sa.Numeric(5, 2)),
        ),
    ]  # fmt: skip


def _index(table: str, columns: list[str]) -> str:
    return f"ix_{table}_{'_'.join(columns)}"


def _partitioned(table: str, moment: str) -> Iterator[str]:
    """The table as it is becomes the default partition of a new one of its name."""
    yield f"ALTER TABLE {table} RENAME TO {table}_default"
    yield f"ALTER TABLE {table}_default DROP CONSTRAINT pk_{table}"
    yield f"ALTER TABLE {table}_default ADD CONSTRAINT pk_{table}_default PRIMARY KEY (request_id, {moment})"
    for columns in INDEXES[table]:
        yield f"ALTER INDEX {_index(table, columns)} RENAME TO {_index(f'{table}_default', columns)}"
    yield f"CREATE TABLE {table} (LIKE {table}_default INCLUDING DEFAULTS) PARTITION BY RANGE ({moment})"
    yield f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY (request_id, {moment})"


def _whole(table: str, moment: str) -> Iterator[str]:
    yield f"CREATE TABLE {table}_whole (LIKE {table} INCLUDING DEFAULTS)"
    yield f"INSERT INTO {table}_whole SELECT DISTINCT ON (request_id) * FROM {table} ORDER BY request_id, {moment}"
    yield f"DROP TABLE {table}"
    yield f"ALTER TABLE {table}_whole RENAME TO {table}"
    yield f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY (request_id)"
