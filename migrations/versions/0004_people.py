"""Courses, students and keys.

Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "courses",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True)),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("models", _json()),
        sa.Column("privacy", sa.Text, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("claim_round", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_courses"),
    )
    op.create_table(
        "students",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("course", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("section", sa.Text),
        sa.Column("external_id", sa.Text),
        sa.Column("claimed_at", sa.DateTime(timezone=True)),
        sa.Column("left_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_students"),
        sa.ForeignKeyConstraint(["course"], ["courses.id"], name="fk_students_course", ondelete="CASCADE"),
        sa.UniqueConstraint("course", "email", name="uq_students_course_email"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("course", sa.Text),
        sa.Column("student", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("models", _json()),
        sa.Column("concurrency", sa.Integer),
        sa.Column("starts_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("previous_hash", sa.Text),
        sa.Column("previous_until", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["course"], ["courses.id"], name="fk_keys_course", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["student"], ["students.id"], name="fk_keys_student", ondelete="CASCADE"),
        sa.UniqueConstraint("hash", name="uq_keys_hash"),
    )
    op.create_index("ix_keys_course", "keys", ["course"])
    op.create_index("ix_keys_student", "keys", ["student"])
    op.create_table(
        "people_version",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_people_version"),
    )


def downgrade() -> None:
    op.drop_table("people_version")
    op.drop_table("keys")
    op.drop_table("students")
    op.drop_table("courses")
