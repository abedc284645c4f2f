"""Locks between processes, by files. On Windows, where Lumni is one process, they always succeed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


@contextmanager
def opened_alone(path: Path) -> Iterator[IO[bytes]]:
    """The file, to be read and written by nobody else meanwhile; made if it isn't there. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)  # closing gives it back
        yield file


class Role:
    """What one of several processes does, until it ends: whoever has the lock of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: IO[bytes] | None = None

    def is_mine(self) -> bool:
        """Whether this process has it, or gets it now."""
        if self._held is None:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._held = self._path.open("ab")
                if fcntl is not None:
                    fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            self.leave()
        return self._held is not None

    def leave(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None
