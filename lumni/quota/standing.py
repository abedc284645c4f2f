"""How deployments stand at one moment, and what follows from that for all requests of it."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from lumni.quota.inference import AT_ONCE
from lumni.quota.model import Amounts, WindowState
from lumni.quota.pools import Pools
from lumni.quota.strategies import perishing, sustainable

State = Literal["available", "exhausted", "broken"]


class Standing(NamedTuple):
    """What is known of a deployment now.

    ``headroom`` is the part of its scarcest window that is left, in [0, 1]: 0 is no obstacle, a request may wait for
    its turn. ``blocked`` says why it can't be called at all, ``until`` for how many seconds. ``since`` is the Unix time
    at which its state was first seen.
    """

    headroom: float = 1.0
    blocked: str = ""
    until: float | None = None
    windows: tuple[WindowState, ...] = ()
    since: float | None = None

    @property
    def state(self) -> State:
        if self.blocked:
            return "broken"
        spent = any(window.left == 0 and window.period > AT_ONCE for window in self.windows)
        return "exhausted" if spent else "available"


class Standings(dict[str, Standing]):
    """By deployment. Nobody changes them: whatever many requests ask of them is found out once."""

    def __init__(self, standings: Mapping[str, Standing], pools: Pools) -> None:
        super().__init__(standings)
        self._pools = pools
        self._supply: dict[Amounts, float] = {}
        self._perishing: dict[str, float] = {}

    def retold(self, broken: Mapping[str, tuple[str, float]]) -> "Standings":
        """The same, a moment later: why those that are out of order are, and for how many seconds."""
        later = Standings(self, self._pools)
        for id_, (why, wait) in broken.items():
            later[id_] = self[id_]._replace(blocked=why, until=wait)
        later._supply, later._perishing = self._supply, self._perishing  # which are their windows' alone
        return later

    def supply(self, need: Amounts) -> float:
        """Calls a second that all of them can sustain, if each takes ``need``."""
        if need not in self._supply:
            self._supply[need] = sum(
                sustainable(standing.windows, need) / self._sharing(id_) for id_, standing in self.items()
            )
        return self._supply[need]

    def perishing(self, id_: str) -> float:
        """How much of a deployment's quota is lost by not calling it now, in [0, 1]."""
        if id_ not in self._perishing:
            standing = self.get(id_)
            self._perishing[id_] = perishing(standing.windows if standing else ())
        return self._perishing[id_]

    def _sharing(self, id_: str) -> int:
        """How many deployments draw on the pool of its that most do."""
        return max((len(self._pools.deployments(pool.id)) for pool in self._pools.of(id_)), default=1)
