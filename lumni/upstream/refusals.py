"""What providers said they don't know: the next requests leave it out, and save a call."""

from collections.abc import Callable, Iterable

SECONDS = 3600.0
NAMES = 32
LENGTH = 64


class Refusals:
    """Names of parameters by deployment, in memory. Forgets each after an hour: providers learn too.

    Clients choose the names, so only so many of them are kept, and no long ones. ``clock`` returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, dict[str, float]] = {}

    def of(self, deployment: str) -> frozenset[str]:
        now = self._clock()
        return frozenset(name for name, until in self._until.get(deployment, {}).items() if until > now)

    def learn(self, deployment: str, names: Iterable[str]) -> None:
        known = self._until.setdefault(deployment, {})
        for name in names:
            if len(name) <= LENGTH:
                known.pop(name, None)
                known[name] = self._clock() + SECONDS
        while len(known) > NAMES:
            del known[next(iter(known))]
