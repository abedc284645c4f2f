"""Runs one server for a test session and outlives it by a moment, to stop the server and remove its files.

Started as a program of its own by ``tests.services.server``: when the tests end, even killed, the pipe on its standard
input closes. Each line it reads (``prepare``, ``start``, ``check``, ``kill``) is answered by one line: the fault, or an
empty string, as JSON. Only the standard library is needed.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 120


class Keeper:
    """One server and its folder.

    ``spec`` has ``root`` (the folder, removed at the end), ``prepare`` and ``serve`` (commands), ``uid`` and ``gid``
    (or null), ``stop`` and ``kill`` (the polite signal and the rude one).
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.root: str = spec["root"]
        self.server: subprocess.Popen[bytes] | None = None
        self.as_user: dict[str, Any] = {}
        if spec["uid"] is not None:
            os.chown(self.root, spec["uid"], spec["gid"])
            self.as_user = {"user": spec["uid"], "group": spec["gid"], "extra_groups": []}

    def run(self) -> None:
        try:
            for line in sys.stdin:
                print(self.obey(line.strip()), flush=True)
        except BrokenPipeError:
            pass
        finally:
            self.end(self.spec["stop"])
            shutil.rmtree(self.root, ignore_errors=True)

    def obey(self, command: str) -> str:
        try:
            if command == "prepare":
                subprocess.run(self.spec["prepare"], check=True, capture_output=True, cwd=self.root, **self.as_user)
            elif command == "start":
                self.start()
            elif command == "check" and (self.server is None or self.server.poll() is not None):
                return json.dumps(self.log())
            elif command == "kill":
                self.end(self.spec["kill"])
        except subprocess.CalledProcessError as error:
            return json.dumps(error.stderr.decode(errors="replace"))
        except OSError as error:
            return json.dumps(str(error))
        return json.dumps("")

    def start(self) -> None:
        with open(os.path.join(self.root, "log"), "ab") as log:  # noqa: PTH118, PTH123  (pathlib would double the start-up time)
            self.server = subprocess.Popen(
                self.spec["serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                preexec_fn=_die_with_parent(self.spec["stop"]),  # safe here: this program has one thread
                **self.as_user,
            )

    def log(self) -> str:
        with open(os.path.join(self.root, "log"), errors="replace") as log:  # noqa: PTH118, PTH123
            return log.read() or "the server ended without a word"

    def end(self, how: int) -> None:
        if self.server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.server.send_signal(how)
        try:
            self.server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
        self.server = None


def _die_with_parent(how: int) -> Any:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, how)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the end of the pipe is the only end
        signal.signal(ignored, signal.SIG_IGN)
    Keeper(json.loads(sys.argv[1])).run()
