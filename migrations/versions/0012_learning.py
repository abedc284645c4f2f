"""What a course teaches the classifier: its corrections, blind pairs with their votes, and its own selection weights.

Revises: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("courses", sa.Column("selection_weights", json))
    op.create_table(
        "calibrations",
        sa.Column("course", sa.Text, sa.ForeignKey("courses.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("weights", sa.Text, nullable=False),
        sa.Column("slope", sa.Double, nullable=False),
        sa.Column("shift", sa.Double, nullable=False),
        sa.Column("figures", json, nullable=False),
    )
    op.create_table(
        "blind_pairs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fast_request", sa.Text, nullable=False, unique=True),
        sa.Column("powerful_request", sa.Text, nullable=False, unique=True),
        sa.Column("first", sa.Text, nullable=False),
        sa.Column("choice", sa.Text),
        sa.Column("voted_at", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    op.drop_table("blind_pairs")
    op.drop_table("calibrations")
    op.drop_column("courses", "selection_weights")
