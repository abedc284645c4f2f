"""Signed receipts: proof, checkable without the gateway, of what was asked and answered, when, by which model.

A receipt is a JSON object; its ``signature`` is Ed25519 (RFC 8032) over the other fields as JSON with sorted keys and
no spaces, in UTF-8. Hashes are SHA-256: of ``messages`` in that same spelling, and of the text of the first choice.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lumni.errors import InvalidRequest

VERSION = 1
FIELDS = frozenset(
    {
        "version", "request_id", "time", "model", "prompt_sha256", "answer_sha256", "prompt_tokens",
        "completion_tokens", "key", "signature",
    }
)  # fmt: skip


class Signer:
    """Signs with a key made of 32 secret bytes."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The receipt with these fields."""
        receipt = {"version": VERSION, **fields, "key": self.public_key}
        return {**receipt, "signature": base64.b64encode(self._key.sign(spelled(receipt))).decode()}


def verify(receipt: Mapping[str, Any], public_key: str) -> None:
    """Raises :class:`InvalidRequest`, which says why, unless ``public_key`` (base64) has signed just this."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if set(receipt) != FIELDS or receipt["version"] != VERSION:
        raise InvalidRequest("This is no receipt of a version that this program knows.")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        signature = base64.b64decode(receipt["signature"], validate=True)
    except (ValueError, TypeError):
        raise InvalidRequest("The public key or the signature is no base64 of Ed25519's.") from None
    signed = {name: value for name, value in receipt.items() if name != "signature"}
    try:
        key.verify(signature, spelled(signed))
    except InvalidSignature:
        raise InvalidRequest("The signature is wrong: the receipt was changed, or another gateway made it.") from None


def spelled(value: Any) -> bytes:
    """JSON in the one spelling that is signed and hashed; half a surrogate pair is an escape."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def hash_of(content: Any) -> str:
    """SHA-256, hexadecimal: of a text itself, of everything else as JSON."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else spelled(content)
    return hashlib.sha256(data).hexdigest()
