"""A bounded share of a core for a process: what many cores would give can then be measured on few."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

PERIOD_US = 100_000


class NoShares(Exception):
    """The kernel's CPU quotas (control groups) can't be set here; says why."""


@contextlib.contextmanager
def shares(pids: Iterable[int], share: float) -> Iterator[None]:
    """Until the block ends each process, with all of its threads, has at most ``share`` of one core.

    Raises :class:`NoShares`: it takes Linux and, in most places, root.
    """
    with contextlib.ExitStack() as stack:
        for pid in pids:
            try:
                stack.enter_context(_group(pid, round(share * PERIOD_US)))
            except OSError as error:
                raise NoShares(f"no CPU quota can be set here ({error}); as root on Linux it can") from error
        yield


@contextlib.contextmanager
def _group(pid: int, quota_us: int) -> Iterator[None]:
    parent, version = _hierarchy()
    group = parent / f"lumni-bench-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        if version == 2:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with contextlib.suppress(OSError):  # it has ended by itself
            (parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _hierarchy() -> tuple[Path, int]:
    """Where control groups with CPU quotas are, and the version of their interface (cgroups(7))."""
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, options = line.split(" ")[:4]
        if kind == "cgroup" and "cpu" in options.split(","):
            return Path(place), 1
        if kind == "cgroup2" and "cpu" in (Path(place) / "cgroup.subtree_control").read_text().split():
            return Path(place), 2
    raise OSError("no control groups for CPU are mounted")
