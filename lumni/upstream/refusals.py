"""What providers said they don't know: the next requests leave it out, and save a call."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from lumni.catalogue.model import Deployment
from lumni.types import ChatRequest, Outcome
from lumni.upstream import parameters
from lumni.upstream.failures import AttemptFailed, Failure

T = TypeVar("T")
TRIES = 3
SECONDS = 3600.0
NAMES = 32
LENGTH = 64
_NOTHING: frozenset[str] = frozenset()


class Refusals:
    """Names of parameters by deployment, in memory. Forgets each after an hour: providers learn too.

    Clients choose the names, so only so many of them are kept, and no long ones. ``clock`` returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, dict[str, float]] = {}

    def of(self, deployment: str) -> frozenset[str]:
        if deployment not in self._until:
            return _NOTHING
        now = self._clock()
        return frozenset(name for name, until in self._until[deployment].items() if until > now)

    def learn(self, deployment: str, names: Iterable[str]) -> None:
        known = self._until.setdefault(deployment, {})
        for name in names:
            if len(name) <= LENGTH:
                known.pop(name, None)
                known[name] = self._clock() + SECONDS
        while len(known) > NAMES:
            del known[next(iter(known))]

    async def spare(
        self, request: ChatRequest, deployment: Deployment, ask: Callable[[frozenset[str]], Awaitable[T]]
    ) -> T:
        """Ask without what was refused before; if more optional parameters are named as refused, ask without them too.

        ``ask`` raises :class:`AttemptFailed`, and so does this.
        """
        refused = self.of(deployment.id)
        for _ in range(TRIES):
            try:
                return await ask(refused)
            except AttemptFailed as failed:
                if failed.failure.outcome is not Outcome.BAD_REQUEST:
                    raise
                named = parameters.refused(request.body, failed.failure.detail) - refused
                if not named:
                    raise
                if parameters.is_lasting(failed.failure.detail):
                    self.learn(deployment.id, named)
                refused |= named
        raise AttemptFailed(Failure(Outcome.BAD_REQUEST, 400, detail="the provider keeps refusing parameters"))
