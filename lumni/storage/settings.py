"""The repository of settings that were changed while the gateway ran."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.runtime import Changed
from lumni.storage.rows import clean_json
from lumni.storage.tables import runtime_settings
from lumni.storage.versioned import row_of


class SettingsRepository:
    """Changed settings, one row each."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        dialect: Any = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._insert = dialect.insert

    async def list(self) -> list[Changed]:
        async with self._engine.connect() as connection:
            query = select(runtime_settings).order_by(runtime_settings.c.name)
            rows = (await connection.execute(query)).mappings().all()
        return [Changed(**{**row, "value": orjson.loads(row["value"])}) for row in rows]

    async def change(self, kept: Sequence[Changed], forgotten: Sequence[str]) -> None:
        """Keep some in place of earlier changes, forget others: all or nothing."""
        async with self._engine.begin() as connection:
            await connection.execute(runtime_settings.delete().where(runtime_settings.c.name.in_(forgotten)))
            for changed in kept:
                row = row_of(changed) | {"value": orjson.dumps(clean_json(changed.value)).decode()}
                new = self._insert(runtime_settings).values(row)
                rest = {name: new.excluded[name] for name in row if name != "name"}
                await connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=rest))
