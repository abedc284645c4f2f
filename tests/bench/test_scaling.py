"""What holds for workers that have a bounded share of a core each."""

import sys
import time
from pathlib import Path

import pytest

from bench.processes import Process
from bench.shares import PERIOD_US, NoShares, shares

SHARE = 0.2
BUSY = "import threading\nfor _ in range(2): threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()"


def test_a_process_has_no_more_than_its_share(tmp_path: Path) -> None:
    """Show 5: however many threads it has; afterwards it is free again."""
    with Process([sys.executable, "-c", BUSY], tmp_path, {}) as process:
        try:
            with shares([process.pid], SHARE):
                before, began = process.cpu_seconds(), time.monotonic()
                while process.cpu_seconds() - before < 5 * SHARE * PERIOD_US / 1e6:
                    assert process.running
                    time.sleep(0.01)
                spent, passed = process.cpu_seconds() - before, time.monotonic() - began
        except NoShares as reason:
            pytest.skip(str(reason))
        # What a period still has to give, and the clock's own steps of 10 ms, may come on top.
        assert spent <= SHARE * (passed + 2 * PERIOD_US / 1e6) + 0.02
        before = process.cpu_seconds()
        while process.cpu_seconds() - before < 0.2:
            assert process.running


def test_what_cannot_be_bounded_is_told() -> None:
    """Show 5: a process that there isn't, a system without quotas: a reason, no measurement of something else."""
    with pytest.raises(NoShares, match="no CPU quota can be set here"), shares([2**22 + 1], SHARE):
        pass
