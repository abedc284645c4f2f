"""A real server for tests, run under a keeper that stops it and removes its files, whatever happens to the tests."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

READY_SECONDS = 180
LONGEST_SOCKET_FOLDER = 80  # bytes; the kernel allows 107 for the whole path of a socket


class Unavailable(Exception):
    """This machine has no such server; the message says how to get one."""


class User(NamedTuple):
    uid: int
    gid: int


class Server:
    """One server process with a folder of its own, ``root``. Also a context manager that closes it."""

    def __init__(
        self,
        root: Path,
        serve: Sequence[str | Path],
        ready: Callable[[], bool],
        *,
        prepare: Sequence[str | Path] = (),
        user: User | None = None,
        stop: signal.Signals = signal.SIGTERM,
        kill: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.root = root
        self._ready = ready
        spec = {
            "root": str(root),
            "prepare": [str(word) for word in prepare],
            "serve": [str(word) for word in serve],
            "uid": user.uid if user else None,
            "gid": user.gid if user else None,
            "stop": int(stop),
            "kill": int(kill),
        }
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests, which then close the pipe
        )
        try:
            if prepare:
                self._tell("prepare")
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start (again) and wait until it answers."""
        self._tell("start")
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            self._tell("check")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server did not become ready:\n{(self.root / 'log').read_text()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it without mercy; its data stay, ``start`` brings it back."""
        self._tell("kill")

    def close(self) -> None:
        """Stop it and remove its folder."""
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()
        self._keeper.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, command: str) -> None:
        stdin, stdout = self._keeper.stdin, self._keeper.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the keeper has no pipes")
        stdin.write(f"{command}\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer or (fault := json.loads(answer)):
            raise RuntimeError(f"{command} failed: {fault if answer else 'the keeper is gone'}")


def make_root(name: str) -> Path:
    """A new private folder whose path is short enough for a socket inside."""
    base = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix=f"lumni-{name}-", dir=base if len(base) < LONGEST_SOCKET_FOLDER else "/tmp"))


def on_path(*names: str) -> Path | None:
    """The first of these programs that is installed."""
    return next((Path(found) for name in names if (found := shutil.which(name))), None)
