"""Several gateway processes before one Redis: the limits hold for all of them together, and no room is wasted."""

from pathlib import Path

from bench.classroom.entrants import LumniEntrant
from bench.classroom.rush import EACH_KIND, crowd, rush


def test_four_processes_share_every_kind_of_limit(valkey_url: str, tmp_path: Path) -> None:
    """Show 2, 000-13: of 200 requests at once to four processes not one comes to a full window, and none is left open.

    The windows are a minute and a day long and nobody waits for a minute, so that each is filled once.
    """
    asks = crowd(200, patience=40.0)
    held = rush(LumniEntrant(), asks, EACH_KIND, tmp_path, {"REDIS_URL": valkey_url})
    assert held.over_limit == 0
    assert held.with_room == frozenset()
    totals = {
        account: sum(counts["ok"] for counts in told["models"].values())
        for accounts in held.lab_state["profiles"].values()
        for account, told in accounts.items()
    }
    assert (totals["minute"], totals["day"], totals["shared"]) == (30, 25, 20)
    assert held.served == sum(totals.values()) < len(asks)
