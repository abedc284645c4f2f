"""One file of the spool."""

import os
from pathlib import Path

READ_BYTES = 256 * 1024


class Segment:
    """Lines appended at one end and read from the other. A line is in the kernel's care once ``append`` returns.

    Nothing is synced to the disk: what is here outlives a killed process, not a power cut.
    """

    def __init__(self, path: Path) -> None:
        """Raises ``OSError``. A file that is there already is read from its beginning."""
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.size = os.fstat(self._file).st_size
        self._read = 0  # where the next line to be read begins
        self.torn = False  # ends with a part of a line: nothing may come after it

    def append(self, line: bytes) -> None:
        """Add a line. Raises ``OSError``; then nothing of it is here, or a part that no reader takes for a line."""
        data = line + b"\n"
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            if written:
                self.torn = True
                os.ftruncate(self._file, self.size)
                self.torn = False
            raise
        self.size += written

    def read(self, limit: int) -> list[bytes]:
        """The next lines, at most ``limit``; none at the end. A part of a line at the end is none."""
        lines: list[bytes] = []
        size = READ_BYTES
        while len(lines) < limit and self._read < self.size:
            data = os.pread(self._file, size, self._read)
            whole, end, _ = data.rpartition(b"\n")
            if not end:
                if len(data) < size:
                    self._read = self.size
                    break
                size *= 4  # a line longer than that
                continue
            found = whole.split(b"\n")[: limit - len(lines)]
            self._read += sum(map(len, found)) + len(found)
            lines += filter(None, found)
        return lines

    @property
    def drained(self) -> bool:
        """Whether every line has been read."""
        return self._read >= self.size

    def clear(self) -> None:
        """Forget all lines."""
        os.ftruncate(self._file, 0)
        self.size = self._read = 0
        self.torn = False

    def close(self) -> None:
        os.close(self._file)

    def remove(self) -> None:
        """Close and delete it."""
        self.close()
        self.path.unlink(missing_ok=True)
