"""How long a request stood in line for quota.

Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", sa.Column("queued_ms", sa.Double, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("requests", "queued_ms")
