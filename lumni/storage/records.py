"""The repository of request records: the only SQL about them."""

from collections.abc import Sequence
from operator import itemgetter

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.storage import rollup
from lumni.storage.bulk import copy_in, insert_new
from lumni.storage.errors import RecordsRefused, refuses_data
from lumni.storage.rows import Row, classification_row, clean_text, record_of, request_row, selection_row
from lumni.storage.tables import model_selections, requests, task_classifications
from lumni.types import RequestRecord


class RecordRepository:
    """Request records, stored once each however often they are added."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, records: Sequence[RequestRecord]) -> int:
        """As ``add_rows``, of records."""
        try:
            rows = [request_row(record) for record in records]
        except Exception as error:
            if refuses_data(error):
                raise RecordsRefused(f"these can be no rows ({type(error).__name__})") from error
            raise
        return await self.add_rows(rows)

    async def add_rows(self, rows: Sequence[Row]) -> int:
        """Store all rows of requests in one transaction; the number of those that were new.

        A row whose ``request_id`` is already stored changes nothing in any table. Raises ``RecordsRefused`` when
        the data can't be stored at all, and the driver's own errors when the database is away.
        """
        if not rows:
            return 0
        try:
            return await self._add(_once(rows))
        except Exception as error:
            if refuses_data(error):
                raise RecordsRefused(f"the database refuses these records ({type(error).__name__})") from error
            raise

    async def _add(self, rows: Sequence[Row]) -> int:
        async with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql" and await copy_in(connection, _parts(rows)):
                fresh = rows
            else:
                new = await insert_new(connection, requests, rows)
                fresh = [row for row in rows if row["request_id"] in new]
                for table, details in _parts(fresh).items():
                    if table is not requests:
                        await insert_new(connection, table, details)
            await rollup.add(connection, fresh)
        return len(fresh)

    async def get(self, request_id: str) -> RequestRecord | None:
        """The record of one request."""
        query = select(requests).where(requests.c.request_id == clean_text(request_id))
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else record_of(row)

    async def count(self) -> int:
        """How many requests are on record."""
        async with self._engine.connect() as connection:
            return (await connection.execute(select(func.count()).select_from(requests))).scalar_one()

    async def recent(self, limit: int = 100) -> list[RequestRecord]:
        """The latest records, the newest first."""
        query = select(requests).order_by(requests.c.created_at.desc(), requests.c.request_id.desc()).limit(limit)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [record_of(row) for row in rows]


def _once(rows: Sequence[Row]) -> list[Row]:
    """One row an id, the first of an id counting, ordered: writers that share ids then can't deadlock."""
    by_id: dict[str, Row] = {}
    for row in rows:
        by_id.setdefault(row["request_id"], row)
    return sorted(by_id.values(), key=itemgetter("created_at", "request_id"))


def _parts(rows: Sequence[Row]) -> dict[Table, Sequence[Row]]:
    """These rows of ``requests`` with the rows that go with them, by table; no empty ones."""
    classified = [detail for row in rows if (detail := classification_row(row)) is not None]
    selected = [detail for row in rows if (detail := selection_row(row)) is not None]
    parts: dict[Table, Sequence[Row]] = {requests: rows, task_classifications: classified, model_selections: selected}
    return {table: part for table, part in parts.items() if part}
