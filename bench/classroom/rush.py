"""Everybody at once before several gateway processes that share one store: do the limits hold, is any room wasted?

Each window is filled once: no rush may last for a minute.
"""

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


@dataclass(frozen=True)
class Rush:
    """What came of it. ``with_room`` are the accounts that, when the waiting left, would have admitted one more."""

    outcomes: Sequence[Outcome]
    lab_state: Mapping[str, Any]
    with_room: frozenset[str]

    @property
    def over_limit(self) -> int:
        over: int = self.lab_state["totals"]["over_limit"]
        return over

    @property
    def served(self) -> int:
        return sum(outcome.served for outcome in self.outcomes)


def with_room(accounts: Sequence[Account], lab_state: Mapping[str, Any], need: int) -> frozenset[str]:
    """The accounts whose every limit has room for one more request of ``need`` tokens beside all that was served."""
    return frozenset(account.name for account in accounts if _has_room(account, lab_state, need))


def _has_room(account: Account, lab_state: Mapping[str, Any], need: int) -> bool:
    told = lab_state["profiles"].get(account.profile, {}).get(account.name, {}).get("models", {})
    requests = sum(counts["ok"] for counts in told.values())
    tokens = sum(counts["prompt_tokens"] + counts["completion_tokens"] for counts in told.values())
    used_and_need = {"r": requests + 1, "t": tokens + need}  # as in rpm, rpd, tpm …
    return all(used_and_need[name[0]] <= limit for name, limit in account.amounts().items())


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

    There must be more of them than the accounts can serve, so that somebody waits to the end. ``largest_need``: tokens.
    """
    directory.mkdir(exist_ok=True)
    with _running(entrant, accounts, directory, environ, processes) as (lab, gateways):
        outcomes = asyncio.run(_rush(gateways, asks))
        state = lab.state()
    return Rush(outcomes, state, with_room(accounts, state, largest_need))


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


async def _rush(gateways: Sequence[Running], asks: Sequence[Ask]) -> list[Outcome]:
    start, count = time.time() + 1.0, len(gateways)
    groups = (
        attend(asks[place::count], gateway.url, gateway.key, GROUP, start) for place, gateway in enumerate(gateways)
    )
    return [outcome for group in await asyncio.gather(*groups) for outcome in group]
