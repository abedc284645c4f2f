"""One breaker a deployment: after some failures in a row it isn't called for a while, then one probe decides.

    closed --3 failures in a row--> open --600 s--> half-open --probe answered--> closed
                                     ^                  |
                                     +---probe failed---+

Only the deployment's health counts. Quota that is used up, requests that are wrong everywhere and clients that leave
are no failures: they change nothing, but a probe that ends so is no probe, and the next call is one.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from lumni.types import Json, Outcome

State = Literal["closed", "open", "half_open"]

FAILURES = frozenset({Outcome.UNAVAILABLE, Outcome.TIMEOUT, Outcome.CUT})
WITHHELD_FOR = 3600.0  # seconds: nobody knows when it will be given back, so nobody need wait for it
TAKEN_OUT = {Outcome.AUTH: "the account's key was refused", Outcome.NOT_FOUND: "the provider has no such model"}
HISTORY = 50
DUMPED = (
    "failures", "opened_at", "recovery", "reason", "cause", "relapses", "last_failure", "last_error", "last_error_at",
    "since",
)  # fmt: skip


class Event(NamedTuple):
    """One line of a breaker's history. ``at`` is Unix time."""

    at: float
    outcome: str
    state: State
    detail: str = ""


@dataclass(slots=True)
class Breaker:
    """State of one deployment. Times are Unix time in seconds."""

    failures: int = 0
    successes: int = 0
    total_failures: int = 0
    opened_at: float | None = None
    recovery: float = 600.0
    probe_until: float = 0.0
    reason: str = ""
    cause: str = ""  # the outcome that opened it
    relapses: int = 0  # probes that failed since it opened
    last_failure: float | None = None
    last_error: str = ""
    last_error_at: float | None = None
    since: float | None = None  # of the present state; None: as long as we know
    history: deque[Event] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def state(self, now: float) -> State:
        if self.opened_at is None:
            return "closed"
        return "open" if now < self.opened_at + self.recovery else "half_open"

    def opens_in(self, now: float) -> float:
        """Seconds until a call may be made: 0 when closed; the rest of a running probe's time when half-open."""
        if self.opened_at is None:
            return 0.0
        return max(0.0, self.opened_at + self.recovery - now, self.probe_until - now)


class Breakers:
    """The breakers of all deployments in one process.

    ``threshold`` failures in a row open one for ``recovery`` seconds. A probe that hasn't ended after ``probe_time``
    seconds is given up, so that a lost one can't keep its deployment out. ``clock`` returns Unix time.
    """

    def __init__(
        self, clock: Callable[[], float], *, threshold: int = 3, recovery: float = 600.0, probe_time: float = 120.0
    ) -> None:
        if threshold < 1 or recovery < 0:
            raise ValueError("a breaker needs at least one failure, and time that doesn't run backwards")
        self._clock = clock
        self._threshold = threshold
        self._recovery = recovery
        self._probe_time = probe_time
        self._breakers: dict[str, Breaker] = {}
        self._opened: set[str] = set()  # and not closed since
        self._withheld: Mapping[str, str] = {}

    def withhold(self, reasons: Mapping[str, str]) -> None:
        """Keep these deployments, and no others any more, from being called, whatever their breakers say."""
        self._withheld = {deployment: f"taken out of service: {why}" for deployment, why in reasons.items()}

    def withheld(self, deployment: str) -> str:
        """Why an admin keeps it from being called; empty if nobody does."""
        return self._withheld.get(deployment, "")

    def state(self, deployment: str) -> State:
        breaker = self._breakers.get(deployment)
        return breaker.state(self._clock()) if breaker else "closed"

    @property
    def all_closed(self) -> bool:
        """Whether none keeps its deployment from being called, or will while nothing fails."""
        return not (self._withheld or self._opened)

    def blocked(self, deployment: str) -> tuple[str, float] | None:
        """Why it can't be called, and for how many seconds; ``None`` when it can. Takes nothing."""
        if why := self._withheld.get(deployment):
            return why, WITHHELD_FOR
        if deployment not in self._opened:
            return None
        breaker, now = self._breakers[deployment], self._clock()
        if (wait := breaker.opens_in(now)) <= 0:
            return None
        waiting = "a probe is on its way" if breaker.state(now) == "half_open" else breaker.reason
        return waiting, wait

    def closed_for(self, deployment: str) -> float:
        """For how many seconds it can't be called; 0 when it can."""
        blocked = self.blocked(deployment)
        return blocked[1] if blocked else 0.0

    def allow(self, deployment: str) -> bool:
        """Whether to call it now. In half-open state the first who asks gets the probe, and all others no."""
        if self.blocked(deployment):
            return False
        if deployment in self._opened:
            self._breakers[deployment].probe_until = self._clock() + self._probe_time
        return True

    def record(self, deployment: str, outcome: Outcome, detail: str = "") -> None:
        """Take in how a call ended. ``detail`` is shown to admins only."""
        breaker, now = self._breaker(deployment), self._clock()
        breaker.probe_until = 0.0
        if outcome is Outcome.OK:
            breaker.successes += 1
            if breaker.opened_at is not None:
                breaker.since = now
            self._close(deployment)
        elif outcome in FAILURES or outcome in TAKEN_OUT:
            breaker.last_error, breaker.last_error_at = detail or str(outcome), now
            self._fail(deployment, outcome, now)
        else:
            return
        breaker.history.append(Event(now, outcome.value, breaker.state(now), detail))

    def give_back(self, deployment: str) -> None:
        """The probe that ``allow`` gave was never sent, or nobody heard how it ended: the next who asks gets it."""
        if breaker := self._breakers.get(deployment):
            breaker.probe_until = 0.0

    def heard_of(self, deployment: str) -> bool:
        """Whether a call of it ever ended, well or as its own failure."""
        breaker = self._breakers.get(deployment)
        return breaker is not None and bool(breaker.successes or breaker.total_failures or breaker.failures)

    def cause(self, deployment: str) -> str:
        """The outcome that opened it; empty while it is closed."""
        breaker = self._breakers.get(deployment)
        return breaker.cause if breaker else ""

    def reset(self, deployment: str, event: str = "reset") -> None:
        """Close it by hand, or because a free call proved what had been doubted; its history stays."""
        if breaker := self._breakers.get(deployment):
            if breaker.opened_at is not None:
                breaker.since = self._clock()
            breaker.probe_until = 0.0
            self._close(deployment)
            breaker.history.append(Event(self._clock(), event, "closed"))

    def try_early(self, deployment: str, rest: float) -> bool:
        """Let the next request be the probe before its time. Whether it may.

        After probes that failed only once it has been open for ``rest`` seconds, twice as long after each of them: a
        provider that lists its models but answers nobody shall cost ever fewer requests.
        """
        breaker, now = self._breakers.get(deployment), self._clock()
        if breaker is None or breaker.opened_at is None or breaker.state(now) == "half_open":
            return False
        if breaker.relapses and now - breaker.opened_at < rest * 2.0 ** min(breaker.relapses, 30):
            return False
        breaker.opened_at = now - breaker.recovery
        breaker.history.append(Event(now, "health_check", "half_open"))
        return True

    def note(self, deployment: str, detail: str, *, keep_out: bool = False) -> None:
        """Keep the error of a free call, which counts as no failure; ``keep_out``: its time out begins again."""
        breaker, now = self._breaker(deployment), self._clock()
        breaker.last_error, breaker.last_error_at = detail, now
        if keep_out and breaker.opened_at is not None:
            breaker.opened_at = now

    def view(self, deployment: str) -> Json:
        """What an admin sees: state, counts and rate of failures, times (Unix) and history, the newest last."""
        breaker, now = self._breakers.get(deployment) or Breaker(recovery=self._recovery), self._clock()
        total = breaker.successes + breaker.total_failures
        return {
            "deployment": deployment,
            "state": breaker.state(now),
            "reason": breaker.reason,
            "consecutive_failures": breaker.failures,
            "failures": breaker.total_failures,
            "successes": breaker.successes,
            "failure_rate": round(breaker.total_failures / total, 4) if total else 0.0,
            "failure_threshold": self._threshold,
            "recovery_timeout": breaker.recovery,
            "retry_in": round(breaker.opens_in(now), 3),
            "last_failure": breaker.last_failure,
            "last_error": breaker.last_error,
            "last_error_at": breaker.last_error_at,
            "since": breaker.since,
            "history": [event._asdict() for event in breaker.history],
        }

    def dump(self) -> dict[str, Any]:
        """Open breakers and counts of failures, as JSON, for a restart."""
        return {
            name: {field: getattr(b, field) for field in DUMPED}
            for name, b in self._breakers.items()
            if b.failures or b.last_error
        }

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take up what ``dump`` wrote."""
        for name, saved in dumped.items():
            breaker = self._breakers[name] = Breaker(**saved)
            if breaker.opened_at is not None:
                self._opened.add(name)

    def _breaker(self, deployment: str) -> Breaker:
        breaker = self._breakers.get(deployment)
        if breaker is None:
            breaker = self._breakers[deployment] = Breaker(recovery=self._recovery)
        return breaker

    def _close(self, deployment: str) -> None:
        breaker = self._breakers[deployment]
        breaker.failures, breaker.relapses, breaker.opened_at = 0, 0, None
        breaker.reason = breaker.cause = ""
        self._opened.discard(deployment)

    def _fail(self, deployment: str, outcome: Outcome, now: float) -> None:
        breaker = self._breakers[deployment]
        breaker.failures += 1
        breaker.total_failures += 1
        breaker.last_failure = now
        was_open = breaker.opened_at is not None
        breaker.relapses += breaker.state(now) == "half_open"
        if outcome in TAKEN_OUT or was_open or breaker.failures >= self._threshold:
            times = f"{breaker.failures} failures in a row, the last one: {outcome}"
            if not was_open:
                breaker.since = now
            breaker.opened_at, breaker.reason, breaker.cause = now, TAKEN_OUT.get(outcome, times), str(outcome)
            self._opened.add(deployment)
