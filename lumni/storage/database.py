"""The database as the rest of the program sees it: opened once, asked through repositories, closed at the end."""

import asyncio
from datetime import UTC, datetime
from typing import Self

from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.settings import Settings
from lumni.storage import migrate, months
from lumni.storage.audit import AuditRepository
from lumni.storage.contents import ContentRepository
from lumni.storage.engine import BUSY_SECONDS, SQLITE_BEGIN, address, connection_errors, make_engine, make_sqlite_file
from lumni.storage.errors import unavailable
from lumni.storage.experiments import ExperimentRepository
from lumni.storage.learning import LearningRepository
from lumni.storage.ledger import LedgerRepository
from lumni.storage.people import PeopleRepository
from lumni.storage.records import RecordRepository
from lumni.storage.rules import RulesRepository
from lumni.storage.settings import SettingsRepository
from lumni.storage.states import StateRepository
from lumni.storage.usage import UsageRepository

WAL_RETRY_SECONDS = 0.05


class Database:
    """SQLite or PostgreSQL, with its schema up to date."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.records = RecordRepository(engine)
        self.people = PeopleRepository(engine)
        self.usage = UsageRepository(engine)
        self.experiments = ExperimentRepository(engine)
        self.rules = RulesRepository(engine)
        self.ledger = LedgerRepository(engine)
        self.audit = AuditRepository(engine)
        self.contents = ContentRepository(engine)
        self.learning = LearningRepository(engine)
        self.settings = SettingsRepository(engine)
        self.states = StateRepository(engine)

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Connect and migrate. Raises ``StorageError``, whose message says what to do."""
        engine = make_engine(settings)
        database = cls(engine)
        try:
            if engine.dialect.name == "sqlite":
                await _prepare_sqlite(engine)
            await migrate.upgrade(engine)
            await months.make_if_allowed(engine, datetime.now(UTC))
        except connection_errors() as error:
            await engine.dispose()
            raise unavailable(error, database.address) from error
        except BaseException:
            await engine.dispose()
            raise
        return database

    @property
    def address(self) -> str:
        """Where the data are, fit to be shown."""
        return address(self.engine)

    async def ping(self) -> None:
        """One round trip. Raises ``StorageUnavailable``."""
        try:
            async with self.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except connection_errors() as error:
            raise unavailable(error, self.address) from error

    async def close(self) -> None:
        """Give all connections back; further use would open new ones."""
        await self.engine.dispose()


async def _prepare_sqlite(engine: AsyncEngine) -> None:
    """Create the file and switch it to WAL, a lasting property of the file.

    SQLite refuses the switch at once, without its usual patience, while another process makes it: hence the retries.
    """
    await asyncio.to_thread(make_sqlite_file, engine)
    async with asyncio.timeout(BUSY_SECONDS), engine.connect() as connection:
        await connection.execution_options(**{SQLITE_BEGIN: ""})
        while True:
            try:
                await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            except OperationalError as error:
                if "locked" not in str(error.orig):
                    raise
                await asyncio.sleep(WAL_RETRY_SECONDS)
            else:
                return
