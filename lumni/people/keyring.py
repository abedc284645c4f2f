"""Keys: made, kept as hashes, known again at each request without asking the database each time."""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from lumni.classroom import Rules
from lumni.people.passes import Pass, passes
from lumni.people.secret import keep
from lumni.people.store import KeySource
from lumni.types import Principal

logger = logging.getLogger(__name__)

PREFIX = "lumni-"
SHOWN = len(PREFIX) + 4
"""Characters of a key that are stored, so that people can tell their keys apart."""

FRESH = 0.5  # seconds for which the keys that were read last are used without a look at the database
PATIENCE = 2.0  # seconds that requests wait for that look, before the keys that are known have to do


def make_key() -> str:
    """A new key: 256 bits of randomness behind a prefix that secret scanners can look for."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """SHA-256 in hexadecimal. The keys are random, so neither salt nor stretching would add anything."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def utc_now() -> datetime:
    return datetime.now(UTC)


class Keyring:
    """The keys that are known, by their hashes: the unified key, and those that ``source`` holds.

    Revocation reaches every process within ``FRESH`` seconds: the first request after that time asks for the tables'
    version, one row, and all who arrive meanwhile wait for the same answer. Only a changed version makes it read the
    keys again. While the database is away, the keys that were read last go on working, without a wait.
    """

    def __init__(
        self, unified_hash: str, source: KeySource | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._unified = unified_hash
        # Named apart from the key itself, and no part of the hash that is compared.
        key_id = "unified-" + hashlib.sha256(b"lumni key id:" + unified_hash.encode()).hexdigest()[:8]
        self._admin = Principal(key_id, role="admin")
        self._source = source
        self._now = now
        self._passes: dict[str, Pass] = {}
        self._rules: Mapping[str, Rules] = {}
        self._version = -1
        self._read_at = self._expired_at = self._tried_at = -inf
        self._away = False
        self._reading: asyncio.Task[None] | None = None

    async def authenticate(self, presented: str) -> Principal | None:
        """Whose key it is, or ``None``. Raises :class:`LumniError` for a key that was known but can't be used now.

        The time taken does not depend on how much of the key is right.
        """
        digest = hash_key(presented)
        if hmac.compare_digest(digest, self._unified):
            return self._admin
        if self._source is not None:
            await self._refresh(self._source)
        # A look-up by a digest gives nothing away: nobody can choose the digest of a key.
        found = self._passes.get(digest)
        return found.check(self._now()) if found else None

    def rules(self, course: str | None) -> Rules | None:
        """What holds for a course's requests, as fresh as its keys."""
        return self._rules.get(course) if course else None

    def expire(self) -> None:
        """Look at the database before the next request: this process has just changed something."""
        self._expired_at = asyncio.get_running_loop().time()

    async def close(self) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _refresh(self, source: KeySource) -> None:
        """Wait for keys that are fresh enough for a request that arrives now, if the database answers."""
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        while self._read_at < arrived - FRESH or self._read_at <= self._expired_at:
            left = arrived + PATIENCE - loop.time()
            if left <= 0:
                self._is_away("no answer")
            if self._reading is None and not (self._away and loop.time() < self._tried_at + FRESH):
                self._reading = asyncio.create_task(self._read(source))
            if self._away or self._reading is None:
                return
            await asyncio.wait([self._reading], timeout=left)

    async def _read(self, source: KeySource) -> None:
        self._tried_at = began = asyncio.get_running_loop().time()
        try:
            if await source.version() != self._version:
                issued = await source.issued()
                self._passes, self._rules, self._version = passes(issued), issued.rules, issued.version
        except Exception as error:  # noqa: BLE001  (whatever it is, the keys that are known must go on working)
            self._is_away(type(error).__name__)
        else:
            self._read_at, self._away = began, False
        finally:
            self._reading = None

    def _is_away(self, why: str) -> None:
        if not self._away:
            logger.warning("the keys can't be read (%s); those known so far go on working", why)
        self._away = True


def open_keyring(configured: str | None, data_dir: Path, source: KeySource | None = None) -> tuple[Keyring, str | None]:
    """The keyring for the configured unified key, or for the one made at the first start.

    Returns the new key in plain text when this call made it: it is shown once and only its hash is kept, in
    ``data_dir/unified_key.sha256``, readable by the owner alone.
    """
    if configured:
        return Keyring(hash_key(configured), source), None
    key = make_key()
    kept, made = keep(data_dir / "unified_key.sha256", lambda: hash_key(key))
    return Keyring(kept, source), key if made else None
