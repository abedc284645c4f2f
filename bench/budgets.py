"""A class rushes at a budget that covers a third of what it asks for, through several gateway processes at once.

``python -m bench.budgets`` imports 300 students; each sends requests to each of four gateways on one database. The lab
answers, at a price. What must come out: not one nano-dollar beyond the budget, every answer's cost counted, and nobody
refused while what was left would have paid for an answer.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import httpx

from bench.processes import Process

KEY = "bench-key-of-the-admin"
MODEL_LIST = """\
model_list:
  - model_name: priced
    litellm_params: {model: lumni-lab/fast}
    model_info: {id: priced, input_cost_per_token: 0.00000059, output_cost_per_token: 0.00000079}
"""
BODY = {"model": "priced", "messages": [{"role": "user", "content": "Say hello to the class."}]}
START_SECONDS = 90.0
_BASE_URL = re.compile(r"Base URL: (http://\S+)/v1")


@dataclass
class Storm:
    """What came of it. Dollars; ``left`` is what refusals said that was left, ``one`` what one answer costs."""

    cap: Decimal
    one: Decimal
    spent: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    costs: list[Decimal] = field(default_factory=list)
    left: list[Decimal] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        return len(self.costs)

    @property
    def faults(self) -> list[str]:
        """What was not as promised."""
        found = [f"neither answered nor refused for its budget: {other}" for other in self.others[:3]]
        if self.spent > self.cap:
            found.append(f"{self.spent} spent of {self.cap}")
        if self.spent != sum(self.costs):
            found.append(f"{self.spent} counted, the answers cost {sum(self.costs)}")
        if self.held:
            found.append(f"{self.held} still held at the end")
        if self.cap - self.spent >= self.one:
            found.append(f"{self.cap - self.spent} is left, which pays for an answer")
        if self.left and max(self.left) >= self.one:
            found.append(f"somebody was refused while {max(self.left)} was left")
        return found


async def storm(
    directory: Path, *, students: int, processes: int = 4, rounds: int = 1, database_url: str | None = None
) -> Storm:
    """Run it in ``directory``. Every student sends ``rounds`` requests to every process, all at once."""
    (directory / "litellm_config.yaml").write_text(MODEL_LIST, encoding="utf-8")
    environ = {
        "UNIFIED_API_KEY": KEY,
        "PYTHONUNBUFFERED": "1",
        "MAX_REQUESTS_PER_MINUTE": "0",
        "MAX_REQUESTS_PER_HOUR": "0",
        "REQUEST_TIMEOUT": "300",
        "LOG_LEVEL": "WARNING",
        **({"DATABASE_URL": database_url} if database_url else {}),
    }
    with ExitStack() as running:
        urls = []
        for number in range(processes):  # one after the other: the first one migrates
            folder = directory / f"process-{number}"
            folder.mkdir()
            environ |= {"LITELLM_CONFIG": str(directory / "litellm_config.yaml"), "DATA_DIR": str(directory / "data")}
            command = [sys.executable, "-m", "lumni", "serve", "--host", "127.0.0.1", "--port", "0"]
            process = running.enter_context(Process(command, folder, environ))
            urls.append(await _address(process))
        async with AsyncExitStack() as clients:
            limits = httpx.Limits(max_connections=200)
            made = [
                await clients.enter_async_context(httpx.AsyncClient(base_url=url, timeout=400, limits=limits))
                for url in urls
            ]
            return await _rush(made, students, rounds)


async def _rush(gateways: list[httpx.AsyncClient], students: int, rounds: int) -> Storm:
    admin = {"authorization": f"Bearer {KEY}"}
    first = gateways[0]
    one = _cost(await first.post("/v1/chat/completions", json=BODY, headers=admin))
    cap = one * students * len(gateways) * rounds / 3
    cap = cap.quantize(Decimal("1e-9")) + Decimal("7e-9")
    (await first.post("/admin/courses", json={"id": "rush"}, headers=admin)).raise_for_status()
    rows = [{"email": f"student-{number}@school.example"} for number in range(students)]
    roster = await first.put(
        "/admin/courses/rush/roster", json={"students": rows, "make_keys": True}, headers=admin, timeout=120
    )
    keys = [entry["key"] for entry in roster.raise_for_status().json()["keys"]]
    budget = (
        (await first.post("/admin/courses/rush/budgets", json={"unit": "usd", "amount": f"{cap:f}"}, headers=admin))
        .raise_for_status()
        .json()["id"]
    )
    await asyncio.sleep(1)  # until every process has heard of it
    outcome = Storm(cap, one)

    async def ask(gateway: httpx.AsyncClient, key: str) -> None:
        for _ in range(rounds):
            answer = await gateway.post("/v1/chat/completions", json=BODY, headers={"authorization": f"Bearer {key}"})
            if answer.status_code == 200:
                outcome.costs.append(_cost(answer))
            elif answer.status_code == 429 and answer.json()["error"]["code"] == "insufficient_quota":
                outcome.left.append(Decimal(answer.json()["error"]["budget"]["left"]))
            else:
                outcome.others.append(answer.text)

    began = time.monotonic()
    await asyncio.gather(*(ask(gateway, key) for key in keys for gateway in gateways))
    outcome.seconds = time.monotonic() - began
    for _ in range(100):
        [balance] = (await first.get(f"/admin/budgets/{budget}", headers=admin)).json()["balances"]
        outcome.spent, outcome.held = Decimal(balance["spent"]), Decimal(balance["reserved"])
        if not outcome.held:
            break
        await asyncio.sleep(0.1)
    return outcome


def _cost(answer: httpx.Response) -> Decimal:
    return Decimal(answer.raise_for_status().json()["lumni"]["cost"]["list"])


async def _address(process: Process) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.running:
        if found := _BASE_URL.search(process.output()):
            return found[1]
        await asyncio.sleep(0.1)
    raise RuntimeError(f"a gateway did not start:\n{process.output()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1, help="requests of each student to each process")
    parser.add_argument("--database-url", help="PostgreSQL; without it, SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(
            storm(
                Path(folder),
                students=given.students,
                processes=given.processes,
                rounds=given.rounds,
                database_url=given.database_url,
            )
        )
    told = {
        "students": given.students,
        "processes": given.processes,
        "cap_usd": str(outcome.cap),
        "spent_usd": str(outcome.spent),
        "one_answer_usd": str(outcome.one),
        "answered": outcome.answered,
        "refused": len(outcome.left),
        "seconds": round(outcome.seconds, 1),
        "faults": outcome.faults,
    }
    print(json.dumps(told, indent=2))
    sys.exit(1 if outcome.faults else 0)


if __name__ == "__main__":
    main()
