"""What was cleared of caches that processes keep each in its own memory: told by a file that they share."""

import os
from contextlib import suppress
from pathlib import Path


class Clearings:
    """A line for each clearing, with what the cleared names begin with. A look at it costs a millionth of a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = self._size()

    def tell(self, prefix: str) -> None:
        """Raises ``OSError``."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = f"{prefix}\n".encode()
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, line)  # appended at once: processes can't write over each other
        finally:
            os.close(file)

    def heard(self) -> list[str]:
        """What was told since the last time, by whomever."""
        size = self._size()
        if size == self._read:
            return []
        told = b""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._read if size > self._read else 0)  # else somebody has begun it anew
            told = file.read()
        whole = told[: told.rfind(b"\n") + 1]
        self._read = size - len(told) + len(whole)
        return whole.decode().splitlines()

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
