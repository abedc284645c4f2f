"""The repository of how providers stood."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.storage.rows import clean_text
from lumni.storage.tables import provider_states
from lumni.storage.versioned import noun_of, row_of, where
from lumni.types import ProviderState


class StateRepository:
    """One row for each deployment and moment."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        dialect: Any = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._new = dialect.insert(provider_states).on_conflict_do_nothing()

    async def add(self, states: Sequence[ProviderState], keep_from: datetime) -> None:
        """Those of a moment, unless another process was first; what is older than ``keep_from`` goes."""
        rows = [
            {name: clean_text(value) if isinstance(value, str) else value for name, value in row_of(state).items()}
            for state in states
        ]
        async with self._engine.begin() as connection:
            await connection.execute(self._new, rows)
            await connection.execute(provider_states.delete().where(provider_states.c.at < keep_from))

    async def list(self, provider: str | None, before: datetime | None, limit: int) -> list[ProviderState]:
        """The latest first; those ``before`` a moment."""
        query = where(select(provider_states), provider_states, {"provider": provider})
        if before is not None:
            query = query.where(provider_states.c.at < before)
        query = query.order_by(provider_states.c.at.desc(), provider_states.c.deployment).limit(limit)
        async with self._engine.connect() as connection:
            return [noun_of(ProviderState, row) for row in (await connection.execute(query)).mappings()]
