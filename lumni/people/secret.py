"""What only this gateway can compute: pseudonyms and claim codes, keyed by a secret that is not in the database."""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: without I, L, O and U, which people misread."""

MISREAD = str.maketrans("ILO", "110", "- ")


class Secret:
    """HMAC-SHA256 under one key; each use has a name of its own, so that no two can be confused."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def digest(self, use: str, *parts: str) -> bytes:
        """32 bytes for ``parts``, which may hold anything."""
        spelled = b"".join(len(text).to_bytes(8, "big") + text for text in map(_bytes, (use, *parts)))
        return hmac.digest(self._key, spelled, hashlib.sha256)

    def pseudonym(self, course: str, email: str) -> str:
        """A student's name to records and other services: 80 bits, another one in each course."""
        return "s-" + base64.b32encode(self.digest("pseudonym", course, email)[:10]).decode().lower()

    def claim_code(self, course: str, claim_round: int) -> str:
        """The code that a class is told for claiming keys: 40 bits, such as ``7Q2M-0XKD``."""
        number = int.from_bytes(self.digest("claim", course, str(claim_round))[:5], "big")
        letters = "".join(ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))
        return f"{letters[:4]}-{letters[4:]}"


def same_code(typed: str, code: str) -> bool:
    """Whether somebody typed this code: case, dashes, spaces, and O for 0 don't matter."""
    plain = typed.strip().upper().translate(MISREAD)
    return hmac.compare_digest(_bytes(plain), _bytes(code.translate(MISREAD)))


def open_secret(configured: str | None, data_dir: Path) -> Secret:
    """The configured secret, or the one made at the first start: ``data_dir/secret.key``, for its owner alone."""
    return Secret(configured or keep(data_dir / "secret.key", lambda: secrets.token_urlsafe(32))[0])


def keep(path: Path, make: Callable[[], str]) -> tuple[str, bool]:
    """The text in a file that only its owner may read, and whether this call made it.

    Of several processes that start at once one makes it; none ever sees half of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return path.read_text(encoding="ascii").strip(), False
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    text = make()
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text + "\n")
        os.link(beside, path)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip(), False
    finally:
        beside.unlink(missing_ok=True)
    return text, True


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
