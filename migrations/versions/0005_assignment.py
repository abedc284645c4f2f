"""Which assignment a request was made for.

Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("requests", sa.Column("assignment", sa.Text))


def downgrade() -> None:
    op.drop_column("requests", "assignment")
