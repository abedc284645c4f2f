"""One row a request, and what was thought about it.

Revises: nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("client_request_id", sa.Text),
        sa.Column("surface", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("student", sa.Text),
        sa.Column("course", sa.Text),
        sa.Column("label", sa.Text),
        sa.Column("requested_model", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("task_type", sa.Text),
        sa.Column("confidence", sa.Double),
        sa.Column("factors", _json(), nullable=False),
        sa.Column("deployment", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("benchmark_score", sa.Double),
        sa.Column("cached", sa.Boolean, nullable=False),
        sa.Column("finish_reason", sa.Text),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("usage_estimated", sa.Boolean, nullable=False),
        sa.Column("list_cost", sa.BigInteger),
        sa.Column("billed_cost", sa.BigInteger),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("ttft_ms", sa.Double),
        sa.Column("attempts", _json(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_requests"),
    )
    op.create_index("ix_requests_created_at", "requests", ["created_at"])

    op.create_table(
        "task_classifications",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("task_type", sa.Text, nullable=False),
        sa.Column("confidence", sa.Numeric(3, 2)),
        sa.Column("factors", _json(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_task_classifications"),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["requests.request_id"],
            name="fk_task_classifications_request_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_task_classifications_task_type", "task_classifications", ["task_type"])
    op.create_index("ix_task_classifications_timestamp", "task_classifications", ["timestamp"])

    op.create_table(
        "model_selections",
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("task_type", sa.Text),
        sa.Column("selected_provider", sa.Text, nullable=False),
        sa.Column("selected_model", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("benchmark_score", sa.Numeric(5, 2)),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_model_selections"),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.request_id"], name="fk_model_selections_request_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_model_selections_timestamp", "model_selections", ["timestamp"])


def downgrade() -> None:
    op.drop_table("model_selections")
    op.drop_table("task_classifications")
    op.drop_table("requests")
