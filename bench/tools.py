"""The provider and the load generator: two small C programs, compiled when they are needed.

In Python each would cost as much CPU as the gateways that are measured, on the same cores.
"""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent
COMPILERS = ("gcc", "cc", "clang")


class NoCompiler(Exception):
    """There is no C compiler on PATH."""

    def __init__(self) -> None:
        super().__init__(
            f"The benchmark needs a C compiler ({', '.join(COMPILERS)}) and found none. It has no other load "
            "generator: one in Python would drown what is measured. On Debian or Ubuntu: apt-get install gcc"
        )


class Tools(NamedTuple):
    """Paths of the compiled programs."""

    provider: Path
    loadgen: Path


def compiler() -> str | None:
    """The first C compiler on PATH."""
    return next((found for name in COMPILERS if (found := shutil.which(name))), None)


def build(directory: Path) -> Tools:
    """Compile both into ``directory``. Raises :class:`NoCompiler`, or ``CalledProcessError`` if one doesn't compile."""
    found = compiler()
    if found is None:
        raise NoCompiler
    directory.mkdir()
    for name in Tools._fields:
        subprocess.run([found, "-O2", "-w", "-o", str(directory / name), str(SOURCES / f"{name}.c")], check=True)
    return Tools(*(directory / name for name in Tools._fields))
