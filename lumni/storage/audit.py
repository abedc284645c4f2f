"""The repository of the audit log."""

from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.classroom import Act
from lumni.storage.rows import clean_json
from lumni.storage.tables import audit
from lumni.storage.versioned import noun_of, row_of, where


class AuditRepository:
    """Acts, added and never changed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, act: Act) -> None:
        row = {**row_of(act), "details": clean_json(act.details)}
        async with self._engine.begin() as connection:
            await connection.execute(insert(audit), [row])

    async def list(self, course: str | None, before: datetime | None, limit: int) -> list[Act]:
        """The latest first; those ``before`` a moment."""
        query = where(select(audit), audit, {"course": course}).order_by(audit.c.at.desc(), audit.c.id.desc())
        if before is not None:
            query = query.where(audit.c.at < before)
        async with self._engine.connect() as connection:
            return [noun_of(Act, row) for row in (await connection.execute(query.limit(limit))).mappings()]
