"""What is asked of a gateway, and how it is asked."""

import json
import subprocess
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bench.targets import Target

MODEL, PACED_MODEL = "bench", "bench-paced"
PACE_MS = 5.0
CONTENT_CHUNKS = 98
# The first and the last word of the provider's content.
FIRST_WORD, LAST_WORD = "Alpha", "omega."
PROMPT = (
    "A reader sends a question to a model through a gateway, and would like to know how much later the answer is "
    "there than without the gateway. Explain in simple words which work a gateway does for a request, which of it has "
    "to happen before the first word can be passed on, and which of it can wait until the answer has been given. "
)


class Kind(StrEnum):
    """The three kinds of answers."""

    PLAIN = "plain"
    BURST = "burst"  # a stream, all chunks at once
    PACED = "paced"  # a stream, PACE_MS between two chunks


@dataclass(frozen=True)
class Load:
    """Closed loop over ``connections``, or open loop with ``rate`` requests a second; for ``seconds``."""

    name: str
    kind: Kind
    seconds: float
    connections: int = 16
    rate: float | None = None

    def body(self) -> bytes:
        """The request."""
        messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": PROMPT}]
        body = {"model": PACED_MODEL if self.kind is Kind.PACED else MODEL, "messages": messages, "max_tokens": 200}
        return json.dumps(body if self.kind is Kind.PLAIN else {**body, "stream": True}).encode()


@dataclass(frozen=True)
class Run:
    """What came of a load: of all answers the number, the faulty ones, and the times in milliseconds."""

    requests: int
    errors: int
    error: str
    reconnects: int
    seconds: float
    latency_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0


def run(loadgen: Path, target: Target, load: Load, directory: Path) -> Run:
    """Put the load on the target; ``cpu_ms`` is the target's CPU for one request of it. Times only in the open loop."""
    body = directory / f"{load.name}.json"
    body.write_bytes(load.body())
    command = [str(loadgen), "-p", str(target.port), "-u", target.path(load.kind is Kind.PACED), "-k", target.key]
    command += [
        "-b",
        str(body),
        "-c",
        str(load.connections),
        "-d",
        str(load.seconds),
        "-a",
        FIRST_WORD,
        "-z",
        LAST_WORD,
    ]
    if load.kind is not Kind.PLAIN:
        command += ["-e", str(CONTENT_CHUNKS)]
    if load.rate is not None:
        command += ["-r", str(load.rate), "-s"]
    before = target.settled_cpu_seconds()
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    spent = target.settled_cpu_seconds() - before
    outcome = json.loads(printed)
    return Run(**outcome, cpu_ms=1000 * spent / max(1, outcome["requests"]))
