"""Assignments, exams, budgets with their balances, the audit log, and content where a course asks for it.

Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _of(table: str, column: str, parent: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{parent}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    op.add_column("courses", sa.Column("retention_days", sa.Integer))
    op.add_column("keys", sa.Column("assignment", sa.Text))
    op.create_table(
        "assignments",
        sa.Column("course", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True)),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.Column("models", _json()),
        sa.PrimaryKeyConstraint("course", "id", name="pk_assignments"),
        _of("assignments", "course", "courses"),
    )
    op.create_table(
        "exams",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("course", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("seed", sa.BigInteger),
        sa.Column("temperature", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_exams"),
        _of("exams", "course", "courses"),
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("course", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("per", sa.Text, nullable=False),
        sa.Column("who", sa.Text),
        sa.Column("assignment", sa.Text),
        sa.Column("carry_over", sa.Boolean, nullable=False),
        sa.Column("economy", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
        _of("budgets", "course", "courses"),
    )
    op.create_table(
        "budget_top_ups",
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("budget", "who", "period", name="pk_budget_top_ups"),
        _of("budget_top_ups", "budget", "budgets"),
    )
    op.create_table(
        "budget_balances",
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("carried", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("budget", "who", "period", name="pk_budget_balances"),
        _of("budget_balances", "budget", "budgets"),
    )
    op.create_table(
        "budget_holds",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lapsed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", "budget", name="pk_budget_holds"),
        _of("budget_holds", "budget", "budgets"),
    )
    op.create_index("ix_budget_holds_expires_at", "budget_holds", ["expires_at"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("course", sa.Text),
        sa.Column("details", _json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_table(
        "contents",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("course", sa.Text, nullable=False),
        sa.Column("student", sa.Text),
        sa.Column("privacy", sa.Text, nullable=False),
        sa.Column("prompt_hash", sa.Text, nullable=False),
        sa.Column("answer_hash", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text),
        sa.Column("answer", sa.Text),
        sa.PrimaryKeyConstraint("request_id", name="pk_contents"),
    )
    op.create_index("ix_contents_student", "contents", ["student"])


def downgrade() -> None:
    for table in (
        "contents", "audit", "budget_holds", "budget_balances", "budget_top_ups", "budgets", "exams", "assignments",
    ):
        op.drop_table(table)
    op.drop_column("keys", "assignment")
    op.drop_column("courses", "retention_days")
