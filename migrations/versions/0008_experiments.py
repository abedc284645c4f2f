"""Which prompt and which variant of an experiment a request got, and what people thought of its answer.

Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("prompt", "experiment", "variant"):
        op.add_column("requests", sa.Column(name, sa.Text))
    op.create_index("ix_requests_experiment", "requests", ["experiment"])
    op.create_table(
        "feedback",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Integer, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("feedback")
    op.drop_index("ix_requests_experiment", "requests")
    for name in ("variant", "experiment", "prompt"):
        op.drop_column("requests", name)
