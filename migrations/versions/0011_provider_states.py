"""How providers stood, every five minutes.

Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_states",
        sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("deployment", sa.Text, primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True)),
        sa.Column("headroom", sa.Double, nullable=False),
        sa.Column("failure_rate", sa.Double, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("last_error", sa.Text),
    )


def downgrade() -> None:
    op.drop_table("provider_states")
