"""The nouns of quota: pools, their windows, what a request draws on them, and what a store answers.

Times are seconds and wall-clock times are Unix time, unless a name ends in ``_ms``. Amounts are whole requests and
whole tokens. Stores keep time in whole milliseconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

Kind = Literal["requests", "tokens", "input_tokens", "output_tokens"]
Style = Literal["fixed", "sliding", "refilling"]
Provenance = Literal["configured", "catalogue", "learned"]

MINUTE, HOUR, DAY = 60, 3600, 86400
MONTH = 31 * DAY  # of a sliding window: the longest month, so that no calendar month can be exceeded
KINDS: dict[str, Kind] = {"r": "requests", "t": "tokens", "i": "input_tokens", "o": "output_tokens"}

TRANSIT_MS = 5000  # after so long a request that was reserved has been sent, and counted by its provider
AT_ONCE_MS = 1  # a window of requests so short holds what is in flight, and nothing else

_FINE = 1000  # a window of at most so many requests is logged to the millisecond: its log stays that short by itself
_BUCKETS = 600  # every other log is rounded up to a 600th of its period: 0.1 s of a minute, 144 s of a day


class Amounts(NamedTuple):
    """What one call takes: its estimate when reserved, its real use when settled."""

    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0

    def of(self, kind: Kind) -> int:
        if kind == "requests":
            return self.requests
        if kind == "tokens":
            return self.input_tokens + self.output_tokens
        return self.input_tokens if kind == "input_tokens" else self.output_tokens

    @property
    def by_kind(self) -> dict[Kind, int]:
        """All that :meth:`of` would say."""
        requests, prompt, completion = self
        return {
            "requests": requests,
            "tokens": prompt + completion,
            "input_tokens": prompt,
            "output_tokens": completion,
        }

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def minus(self, other: "Amounts") -> "Amounts":
        return Amounts(self[0] - other[0], self[1] - other[1], self[2] - other[2])

    def covers(self, other: "Amounts") -> bool:
        """Whether this is at least ``other`` in every part."""
        return all(mine >= theirs for mine, theirs in zip(self, other, strict=True))


NOTHING = Amounts(0)
ONE_REQUEST = Amounts()


@dataclass(frozen=True)
class Window:
    """At most ``limit`` of ``kind`` in ``period`` seconds; ``limit`` ``None`` is unknown: counted, never refused.

    * ``sliding``: in any ``period`` seconds. Right for every provider whose style nobody knows, since whoever keeps
      it also keeps a fixed window at any anchor and a bucket of the same size and rate.
    * ``fixed``: from one reset to the next. A day or month with a ``zone`` (IANA) resets at that zone's midnight;
      else resets are at ``anchor + n * period``. Calls within ``guard`` seconds of a reset count on both sides of it,
      because the provider's clock isn't ours.
    * ``refilling``: a bucket of ``limit`` that refills by ``limit / period`` a second. A burst of 100 with one a
      second is ``limit=100, period=100``.

    Learning can only lower a limit whose ``provenance`` is ``configured``; one from the catalogue may rise too.
    """

    kind: Kind
    period: float
    limit: int | None
    style: Style = "sliding"
    provenance: Provenance = "configured"
    zone: str = ""
    anchor: float = 0.0
    guard: float = 0.5

    def __post_init__(self) -> None:
        if self.period < 0.001 or (self.limit is not None and self.limit < 0) or self.guard < 0:
            raise ValueError(
                f"a window needs a period of at least 1 ms, a limit and a guard that are not negative: {self}"
            )
        if self.style == "refilling" and self.limit is None:
            raise ValueError(f"a refilling window needs a limit to refill to: {self}")

    @cached_property
    def key(self) -> str:
        """The window's name inside its pool: initial of its kind and period in milliseconds (``r60000``)."""
        return f"{self.kind[0]}{self.period_ms}"

    @cached_property
    def period_ms(self) -> int:
        return round(self.period * 1000)

    @cached_property
    def guard_ms(self) -> int:
        return round(self.guard * 1000)

    @cached_property
    def lands(self) -> bool:
        """Whether what is in flight counts from when it arrives, not from when it is over: requests do."""
        return self.kind == "requests" and self.period_ms > AT_ONCE_MS

    @cached_property
    def width_ms(self) -> int:
        """Resolution of the log; times are rounded up to it, so that nothing is forgotten early."""
        fine = self.kind == "requests" and self.limit is not None and self.limit <= _FINE
        return 1 if fine else max(1, self.period_ms // _BUCKETS)

    @classmethod
    def learned(cls, key: str) -> "Window":
        """A window that only the provider told us about: sliding, until somebody configures it."""
        return cls(KINDS[key[0]], int(key[1:]) / 1000, None, provenance="learned")


@dataclass(frozen=True)
class Pool:
    """What a provider really limits: an account and a model, or a whole account.

    No two windows of a pool share kind and period.
    """

    id: str
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        if len({window.key for window in self.windows}) != len(self.windows):
            raise ValueError(f"pool {self.id!r} has two windows of the same kind and period")


def transit_ms(windows: Iterable[Window]) -> int:
    """When a request that was reserved has surely been counted by a pool's provider, after so many milliseconds.

    Five seconds, and a tenth of the shortest window's period if that is less: there, to wait longer would cost more
    than the refusal of a call that was under way for so much longer than the one before.
    """
    return min([TRANSIT_MS, *(window.period_ms // 10 for window in windows if window.lands)])


class Draw(NamedTuple):
    """One candidate: calling ``deployment`` takes ``need`` from every one of ``pools``."""

    deployment: str
    pools: tuple[Pool, ...]
    need: Amounts = ONE_REQUEST


class Reservation(NamedTuple):
    """Held capacity. It counts as used until it is settled or released, or until it expires with its process.

    Its requests count as made ``transit_ms`` after it, its tokens when it is settled.
    """

    id: str
    draw: Draw
    at_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Granted:
    """The first candidate that fits, by its place in what was asked.

    ``states`` are its windows right after; only filled when it was spent at once, by a lease of 0 seconds.
    """

    index: int
    reservation: Reservation
    states: "tuple[WindowState, ...]" = ()


Reason = Literal["full", "blocked", "too_large"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a candidate doesn't fit, named by the window that holds it up longest.

    ``wait`` is the number of seconds after which it fits if nothing else happens; ``None``: never, it is too large.
    ``earliest`` is the same if all calls in flight were given back at once: nothing can make it fit sooner.
    ``window`` is ``None`` when the provider refused the pool without saying which window.
    """

    deployment: str
    pool: str
    window: str | None
    reason: Reason
    wait: float | None
    earliest: float | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing fits now: one refusal a candidate, in the order asked."""

    refusals: tuple[Refusal, ...]

    @property
    def wait(self) -> float | None:
        """Seconds until the first candidate fits by itself; ``None`` if none ever does."""
        return min((r.wait for r in self.refusals if r.wait is not None), default=None)

    @property
    def earliest(self) -> float | None:
        return min((r.earliest for r in self.refusals if r.earliest is not None), default=None)


@dataclass(frozen=True, slots=True)
class Correction:
    """What a provider said about one window, or (``kind`` ``None``) about a pool without naming the window.

    ``refused`` means that it turned a call down: no request remains, and the window is closed for ``reset_in`` seconds,
    or until its natural reset (at most an hour) when none was given. Without ``refused``, ``remaining`` only ever
    lowers what we think is left: our own calls are counted exactly, and headers of concurrent answers arrive in any
    order.
    ``reset_in=0`` alone reopens what was closed.
    """

    kind: Kind | None = None
    period: float | None = None
    limit: int | None = None
    remaining: int | None = None
    reset_in: float | None = None
    refused: bool = False

    @property
    def key(self) -> str:
        """As ``Window.key``; empty for the whole pool."""
        return f"{self.kind[0]}{round(self.period * 1000)}" if self.kind and self.period else ""


@dataclass(frozen=True, slots=True)
class WindowState:
    """One row of the quota table.

    ``left`` and ``limit`` are ``None`` when unknown. ``reset_in`` is the time until the window is as new, if nothing
    else happens; ``blocked_in`` the time until a refusal of the provider ends (0 when it isn't blocked).
    """

    pool: str
    window: str
    kind: Kind
    period: float
    limit: int | None
    used: int
    reserved: int
    reset_in: float
    blocked_in: float
    provenance: Provenance

    @property
    def left(self) -> int | None:
        if self.blocked_in > 0:
            return 0
        return None if self.limit is None else max(0, self.limit - self.used - self.reserved)
