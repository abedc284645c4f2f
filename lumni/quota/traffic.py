"""What deployments did of late: how often each was called and how quickly it answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

MEMORY = 0.2  # weight of the newest latency in the moving average
HALF_LIFE = 600.0  # seconds in which a call counts half
DEMAND_HALF_LIFE = 10.0  # … and a request, where it matters how many come now


@dataclass(slots=True)
class _Lane:
    calls: float = 0.0
    at: float = 0.0
    latency: float | None = None


@dataclass(slots=True)
class Traffic:
    """Calls and latencies by deployment. Times are seconds of any one clock."""

    _lanes: dict[str, _Lane] = field(default_factory=dict)
    _turns: dict[tuple[str, ...], int] = field(default_factory=dict)
    _asked: float = 0.0
    _asked_at: float = 0.0

    def asked(self, now: float) -> None:
        """A request came, whatever becomes of it."""
        self._asked, self._asked_at = self._recently(now) + 1, now

    def demand(self, now: float) -> float:
        """Requests a second of late."""
        return self._recently(now) * log(2) / DEMAND_HALF_LIFE

    def _recently(self, now: float) -> float:
        return float(self._asked * 0.5 ** (max(0.0, now - self._asked_at) / DEMAND_HALF_LIFE))

    def called(self, deployment: str, now: float) -> None:
        lane = self._lanes.setdefault(deployment, _Lane())
        lane.calls, lane.at = self.calls(deployment, now) + 1, now

    def answered(self, deployment: str, seconds: float) -> None:
        """Take in the time to a whole answer, or to a stream's first content."""
        lane = self._lanes.setdefault(deployment, _Lane())
        lane.latency = seconds if lane.latency is None else lane.latency + MEMORY * (seconds - lane.latency)

    def calls(self, deployment: str, now: float) -> float:
        """Recent calls, older ones counting less."""
        lane = self._lanes.get(deployment)
        return float(lane.calls * 0.5 ** (max(0.0, now - lane.at) / HALF_LIFE)) if lane else 0.0

    def latency(self, deployment: str) -> float | None:
        """Average seconds of late; ``None`` when it never answered."""
        lane = self._lanes.get(deployment)
        return lane.latency if lane else None

    def turn(self, deployments: tuple[str, ...]) -> int:
        """How many times these candidates were asked for before: round robin goes on from there."""
        turn = self._turns.get(deployments, 0)
        if len(self._turns) > 1000:
            self._turns.clear()
        self._turns[deployments] = turn + 1
        return turn

    def next_turn(self, deployments: tuple[str, ...]) -> int:
        """What :meth:`turn` would say, without counting."""
        return self._turns.get(deployments, 0)

    def dump(self) -> dict[str, Any]:
        return {name: lane.latency for name, lane in self._lanes.items() if lane.latency is not None}

    def load(self, dumped: Mapping[str, Any]) -> None:
        self._lanes |= {name: _Lane(latency=float(latency)) for name, latency in dumped.items()}
