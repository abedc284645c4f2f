"""The only wiring: everything that outlives a request is made here, started here and stopped here."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lumni.catalogue.load import load_catalogue
from lumni.catalogue.model import Catalogue
from lumni.catalogue.scores import known_scores
from lumni.gateway.pipeline import Pipeline
from lumni.gateway.quotas import QuotaFile, make_quota
from lumni.people.keyring import Keyring, open_keyring
from lumni.quota.memory import MemoryStore
from lumni.quota.service import Quota
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.writer import RecordWriter
from lumni.telemetry.log import LogSink
from lumni.upstream.client import Upstream


@dataclass(frozen=True)
class Services:
    """What a process needs to serve. ``new_key`` is the unified key in plain text if this start made it."""

    settings: Settings
    catalogue: Catalogue
    keyring: Keyring
    new_key: str | None
    quota: Quota
    quota_file: QuotaFile
    upstream: Upstream
    database: Database
    writer: RecordWriter
    pipeline: Pipeline
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    async def start(cls, settings: Settings) -> "Services":
        """Open everything, or raise an error that says what to do. What was opened is closed again then."""
        catalogue = load_catalogue(settings, os.environ)
        configured = settings.unified_api_key.get_secret_value() if settings.unified_api_key else None
        keyring, new_key = open_keyring(configured, settings.data_dir)
        upstream = Upstream(catalogue, settings)
        await upstream.start()
        database = await Database.open(settings)
        writer = RecordWriter(database.records.add)
        writer.start()
        quota = make_quota(settings, catalogue, MemoryStore())
        quota_file = QuotaFile(quota, settings.data_dir / "quota.json")
        quota_file.load()
        quota_file.start()
        pipeline = Pipeline(catalogue, quota, upstream, [writer, LogSink()], known_scores())
        return cls(settings, catalogue, keyring, new_key, quota, quota_file, upstream, database, writer, pipeline)

    async def stop(self) -> None:
        """Write what is still to be written, then close."""
        await self.quota.close()
        await self.quota_file.close()
        await self.writer.close()
        await self.database.close()
        await self.upstream.close()
