"""Deployments that asked to be left alone for a while: a ``retry-after`` holds for every request, not just one."""

from collections.abc import Callable
from typing import NamedTuple

from lumni.catalogue.model import Deployment
from lumni.types import Outcome


class Pause(NamedTuple):
    """``until`` is in seconds of the clock given to :class:`Pauses`."""

    until: float
    reason: str


class Pauses:
    """In memory, one process. ``clock`` returns seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pauses: dict[str, Pause] = {}

    def pause(self, deployment: Deployment) -> float:
        """Seconds until ``deployment`` may be called; 0 when it may be called now."""
        pause = self._pauses.get(deployment.id)
        return max(0.0, pause.until - self._clock()) if pause else 0.0

    def learn(self, deployment: Deployment, outcome: Outcome, retry_after: float | None) -> None:
        """Take in how an attempt ended. An answer ends a pause; a failure that names a time begins one."""
        if outcome is Outcome.OK:
            self._pauses.pop(deployment.id, None)
        elif retry_after:
            reason = f"{outcome}: the provider asked to wait"
            self._pauses[deployment.id] = Pause(self._clock() + retry_after, reason)

    def current(self) -> dict[str, Pause]:
        """The pauses that are still on, by deployment id; ``until`` counts from now."""
        now = self._clock()
        self._pauses = {id_: pause for id_, pause in self._pauses.items() if pause.until > now}
        return {id_: pause._replace(until=pause.until - now) for id_, pause in self._pauses.items()}
