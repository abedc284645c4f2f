"""The key of this gateway's pseudonyms."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

NAME = "pseudonyms.key"


def pseudonym_key(folder: Path) -> bytes:
    """32 random bytes, made once and kept in ``folder``, readable by the owner alone.

    Without them nobody can tell who a pseudonym is, not even by trying all names. Gateways that shall give a student
    the same pseudonym need the same file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    made = path.with_suffix(f".{os.getpid()}.new")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
    try:
        # Several processes may start at once: a link is made by one of them, and is whole when others see it.
        with suppress(FileExistsError):
            path.hardlink_to(made)
    finally:
        made.unlink()
    return path.read_bytes()
