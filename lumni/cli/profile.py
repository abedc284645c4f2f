"""``lumni serve --profile FILE``: a flame graph of what a worker did, by py-spy, which looks at it from outside."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lumni.errors import LumniError

RATE = 200  # looks a second: the worker stands still for some 0.1 ms at each
WRITING_SECONDS = 60.0
_PR_SET_PTRACER, _ANYONE = 0x59616D61, -1  # prctl(2)


@contextmanager
def profiled(path: Path | None) -> Iterator[None]:
    """Watch this process inside the block and write the flame graph at its end; ``None``: nothing of that.

    Raises :class:`LumniError` if there is no py-spy.
    """
    if path is None:
        yield
        return
    program = _program()
    _let_children_look()
    command = [program, "record", "--pid", str(os.getpid()), "--rate", str(RATE), "--output", str(path)]
    # A session of its own: Ctrl-C is for us, and we tell it when it is over.
    watcher = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  (our own words)
    try:
        yield
    finally:
        watcher.send_signal(signal.SIGINT)
        try:
            watcher.wait(WRITING_SECONDS)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.wait()


def _program() -> str:
    """py-spy, from this environment or from anywhere on PATH."""
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if (program := shutil.which("py-spy", path=beside)) is None:
        raise LumniError("`--profile` needs py-spy, which isn't installed: pip install 'lumni[profile]'.")
    return program


def _let_children_look() -> None:
    """Linux lets a process look into its children, but not into its parent unless that allows it (Yama)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANYONE), 0, 0, 0)
