"""Keys: made, kept as hashes, compared in constant time."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from lumni.types import Principal

PREFIX = "lumni-"


def make_key() -> str:
    """A new key: 256 bits of randomness behind a prefix that secret scanners can look for."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """SHA-256 in hexadecimal. The keys are random, so neither salt nor stretching would add anything."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Keyring:
    """The keys that are known, by their hashes."""

    def __init__(self, unified_hash: str) -> None:
        self._unified = unified_hash
        # Named apart from the key itself, and no part of the hash that is compared.
        self._key_id = "unified-" + hashlib.sha256(b"lumni key id:" + unified_hash.encode()).hexdigest()[:8]

    def authenticate(self, presented: str) -> Principal | None:
        """Whose key it is, or ``None``. The time taken does not depend on how much of the key is right."""
        if hmac.compare_digest(hash_key(presented), self._unified):
            return Principal(key_id=self._key_id, role="admin")
        return None


def open_keyring(configured: str | None, data_dir: Path) -> tuple[Keyring, str | None]:
    """The keyring for the configured unified key, or for the one made at the first start.

    Returns the new key in plain text when this call made it: it is shown once and only its hash is kept, in
    ``data_dir/unified_key.sha256``, readable by the owner alone.
    """
    if configured:
        return Keyring(hash_key(configured)), None
    path = data_dir / "unified_key.sha256"
    data_dir.mkdir(parents=True, exist_ok=True)
    key = make_key()
    try:
        # Several processes may start at once: the one that creates the file made the key.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return Keyring(path.read_text(encoding="ascii").strip()), None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(hash_key(key) + "\n")
    return Keyring(hash_key(key)), key
