"""What is asked of a gateway, and how it is asked."""

import json
import subprocess
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bench.targets import MODEL, Target

PACE_MS = 5.0
SLOWLY = "Take your time."
"""What makes the provider pace a stream, whatever is between."""
CONTENT_CHUNKS = 98
LONGEST_SECONDS = 900.0
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
    """Closed loop over ``connections``, or open loop with ``rate`` requests a second; for ``seconds``.

    ``share`` asks for an open loop at that share of what the target did in the closed loop of the same round. Times are
    noted in open loops, and in closed ones that are ``timed``. Every ``abort_every``-th request is hung up on once it
    has begun to answer.
    """

    name: str
    kind: Kind
    seconds: float
    connections: int = 16
    rate: float | None = None
    share: float | None = None
    timed: bool = False
    abort_every: int = 0

    def body(self, model: str = MODEL) -> bytes:
        """The request."""
        told = f"You are brief. {SLOWLY}" if self.kind is Kind.PACED else "You are brief."
        messages = [{"role": "system", "content": told}, {"role": "user", "content": PROMPT}]
        body = {"model": model, "messages": messages, "max_tokens": 200}
        return json.dumps(body if self.kind is Kind.PLAIN else {**body, "stream": True}).encode()


@dataclass(frozen=True)
class Run:
    """What came of a load: of all answers the number, the faulty ones, and the times in milliseconds.

    ``gap_ms`` are the times between two arrivals of one answer, from its first content on.
    """

    requests: int
    errors: int
    error: str
    reconnects: int
    seconds: float
    latency_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    gap_ms: list[float] = field(default_factory=list)
    aborted: int = 0
    cpu_ms: float = 0.0


def run(loadgen: Path, target: Target, load: Load, directory: Path, number: int = 0) -> Run:
    """Put the load on the target; ``cpu_ms`` is the target's CPU for one request of it.

    A ``number`` of requests ends it instead of its seconds.
    """
    body = directory / f"{load.name}-{target.name}.json"
    body.write_bytes(load.body(target.model))
    command = [str(loadgen), "-p", str(target.port), "-u", target.chat_path, "-k", target.key, "-b", str(body)]
    command += ["-c", str(load.connections), "-d", str(load.seconds), "-a", FIRST_WORD, "-z", LAST_WORD]
    for name, value in target.headers.items():
        command += ["-h", f"{name}: {value}"]
    if load.kind is not Kind.PLAIN:
        command += ["-e", str(CONTENT_CHUNKS)]
    if load.rate is not None:
        command += ["-r", str(load.rate)]
    if load.rate is not None or load.timed:
        command += ["-s"]
    if number:
        command += ["-n", str(number), "-d", str(LONGEST_SECONDS)]
    if load.abort_every:
        command += ["-x", str(load.abort_every)]
    before = target.settled_cpu_seconds()
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    spent = target.settled_cpu_seconds() - before
    outcome = json.loads(printed)
    return Run(**outcome, cpu_ms=1000 * spent / max(1, outcome["requests"] + outcome["aborted"]))
