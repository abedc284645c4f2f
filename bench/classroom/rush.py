"""Everybody at once before several gateway processes that share one store: do the limits hold, is any room wasted?"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.classroom.accounts import GROUP, Account
from bench.classroom.client import Outcome, attend
from bench.classroom.entrants import Entrant, Running
from bench.classroom.lab import Lab, start_lab
from bench.classroom.trace import Ask

# One account of each kind of limit: requests a minute, tokens a minute, requests a day, one quota for two models.
EACH_KIND = (
    Account("minute", "fireworks", "fireworks_ai", ("accounts/fireworks/models/gpt-oss-20b",), {"rpm": 30}),
    Account("tokens", "together", "together_ai", ("openai/gpt-oss-20b",), {"tpm": 6_000}),
    Account("day", "mistral", "mistral", ("mistral-small-latest",), {"rpd": 25, "kind": "fixed"}),
    Account(
        "shared",
        "openrouter",
        "openrouter",
        ("nvidia/nemotron-nano-9b-v2:free", "meta-llama/llama-3.2-3b-instruct:free"),
        {"rpm": 20},
    ),
)
_LOOK_EVERY = 0.1
_SETTLED = 3.0  # seconds after the start in which answers are still on their way


@dataclass(frozen=True)
class Rush:
    """What came of it. ``idle`` is, for each account, for how many seconds without a break it had room for one more
    request while somebody waited; ``with_room`` are the accounts that still had it when the waiting were about to
    leave.
    """

    outcomes: Sequence[Outcome]
    lab_state: Mapping[str, Any]
    idle: Mapping[str, float]
    with_room: frozenset[str]

    @property
    def over_limit(self) -> int:
        over: int = self.lab_state["totals"]["over_limit"]
        return over

    @property
    def served(self) -> int:
        return sum(outcome.served for outcome in self.outcomes)


def crowd(number: int, patience: float, *, students: int = 40, max_tokens: int = 100) -> list[Ask]:
    """``number`` requests at once; each leaves after ``patience`` seconds."""
    text = "What is a token? Answer in two sentences, please."
    return [
        Ask(i, f"student-{i % students:02d}", 0.0, text, max_tokens, stream=False, patience=patience)
        for i in range(1, number + 1)
    ]


def rush(
    entrant: Entrant,
    asks: Sequence[Ask],
    accounts: Sequence[Account],
    directory: Path,
    environ: Mapping[str, str],
    *,
    processes: int = 4,
    largest_need: int = 200,
) -> Rush:
    """Spread ``asks`` over ``processes`` gateways. ``environ`` names their store; they share nothing else.

    There must be more of them than the accounts can serve, so that somebody waits to the end. An account has room
    when all of its windows would admit one request of ``largest_need`` tokens.
    """
    directory.mkdir(exist_ok=True)
    with _running(entrant, accounts, directory, environ, processes) as (lab, gateways):
        watch = Watch(accounts, largest_need)
        outcomes = asyncio.run(_rush(lab, gateways, asks, watch))
        return Rush(outcomes, lab.state(), watch.longest, watch.with_room)


@contextlib.contextmanager
def _running(
    entrant: Entrant, accounts: Sequence[Account], directory: Path, environ: Mapping[str, str], processes: int
) -> Iterator[tuple[Lab, list[Running]]]:
    with contextlib.ExitStack() as stack:
        lab = start_lab(accounts, directory / "lab", flaky=False)
        stack.callback(lab.process.stop)
        folders = [directory / f"gateway-{number}" for number in range(processes)]
        with ThreadPoolExecutor(processes) as pool:  # each takes seconds to start
            starting = [pool.submit(entrant.start, accounts, lab, folder, environ) for folder in folders]
        for future in starting:
            if future.exception() is None:
                stack.callback(future.result().process.stop)
        yield lab, [future.result() for future in starting]


async def _rush(lab: Lab, gateways: Sequence[Running], asks: Sequence[Ask], watch: "Watch") -> list[Outcome]:
    start, count = time.time() + 1.0, len(gateways)
    groups = [
        asyncio.ensure_future(attend(asks[place::count], gateway.url, gateway.key, GROUP, start))
        for place, gateway in enumerate(gateways)
    ]
    while not all(group.done() for group in groups):
        await asyncio.sleep(_LOOK_EVERY)
        now = time.time()
        patient = min(ask.patience for ask in asks)
        if start + _SETTLED < now < start + patient - 1.0 and not any(group.done() for group in groups):
            watch.look(await asyncio.to_thread(lab.state), now)
    return [outcome for group in groups for outcome in group.result()]


class Watch:
    """Looks at the lab's windows while somebody waits, and keeps each account's longest stretch with room.

    An account that was never called has room.
    """

    def __init__(self, accounts: Sequence[Account], largest_need: int) -> None:
        self._accounts = accounts
        self._need = largest_need
        self._since: dict[str, float] = {}
        self.longest = {account.name: 0.0 for account in accounts}

    @property
    def with_room(self) -> frozenset[str]:
        """The accounts that had room at the last look."""
        return frozenset(self._since)

    def look(self, lab_state: Mapping[str, Any], now: float) -> None:
        """``now`` in seconds."""
        for account in self._accounts:
            pools = lab_state["profiles"].get(account.profile, {}).get(account.name, {}).get("pools", {})
            self._see(account.name, [window for windows in pools.values() for window in windows], now)

    def _see(self, name: str, windows: Sequence[Mapping[str, Any]], now: float) -> None:
        if all(window["remaining"] >= (1 if window["limit"][0] == "R" else self._need) for window in windows):
            self.longest[name] = max(self.longest[name], now - self._since.setdefault(name, now))
        else:
            self._since.pop(name, None)
