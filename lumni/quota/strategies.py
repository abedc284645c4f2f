"""In which order candidates are tried. Pure: what is known of each goes in, places come out, the best first.

Every order is total and stable: equal candidates keep the order in which they came (the plan's).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, inf, log
from typing import Literal, NamedTuple

from lumni.quota.model import HOUR, ONE_REQUEST, Amounts, Kind, WindowState

Strategy = Literal["priority", "round_robin", "least_used", "least_latency", "lowest_cost", "quality", "adaptive"]

SHORT = 2.0  # seconds: a window so short is new before one looks again
SCARCITY_RATIO = 20.0  # of the most to the least valuable use of a scarce call: U / L of the pricing formula below


@dataclass(frozen=True, slots=True)
class Contender:
    """What is known of a candidate now.

    ``latency`` in seconds and ``cost`` in nano-USD of this request: ``None`` when unknown, which sorts last.
    ``quality`` in [0, 1]; ``used`` counts its recent requests; ``windows`` are those of its pools.
    """

    deployment: str
    priority: int = 0
    used: float = 0.0
    latency: float | None = None
    cost: int | None = None
    quality: float = 0.5
    windows: tuple[WindowState, ...] = ()


def order(
    strategy: Strategy,
    contenders: Sequence[Contender],
    *,
    turn: int = 0,
    need: Amounts | None = None,
    gain: float = 0.5,
) -> list[int]:
    """Places of ``contenders``, the first to try first.

    ``turn`` counts the requests of the same candidates, for ``round_robin``. ``need`` and ``gain`` are for
    ``adaptive``: what the request takes, and in [0, 1] how much a strong model is expected to improve its answer.
    """
    places = range(len(contenders))
    if strategy == "round_robin":
        return [(place + turn) % len(contenders) for place in places]
    keys: Mapping[str, Callable[[Contender], float]] = {
        "priority": lambda s: s.priority,
        "least_used": lambda s: s.used,
        "least_latency": lambda s: inf if s.latency is None else s.latency,
        "lowest_cost": lambda s: inf if s.cost is None else s.cost,
        "quality": lambda s: -s.quality,
        "adaptive": lambda s: shadow_price(s.windows, need or Amounts()) - gain * s.quality,
    }
    key = keys[strategy]
    return sorted(places, key=lambda place: key(contenders[place]))


def shadow_price(windows: Sequence[WindowState], need: Amounts) -> float:
    """What taking ``need`` from a deployment's pools costs those who come later, in [0, 1].

    It is the highest price of its windows, because the scarcest one decides how many calls are left:

        price = (R^z - 1) / (R - 1),   z = max(0, 1 - left / (limit * time)),   R = U / L

    ``left`` is what remains once this call is made, as a part of ``limit``; ``time`` is the part of the window's period
    until it is new. So z is how far the pool is behind an even pace: 0 while what is left would last to the reset (then
    it is worth nothing to save it: unused quota is lost), 1 when nothing is left. The exponential in z is the threshold
    of the online knapsack problem (Zhou, Chakrabarty and Lukose 2008, "Budget constrained bidding in keyword auctions
    and online knapsack problems"), where a request is worth taking if its value exceeds a price that rises from the
    least value L to the greatest U as the knapsack fills; it is within ln(U / L) + 1 of a clairvoyant one. Here the
    value is ``gain * quality``, and 1 is the greatest that it can be.
    """
    return weigh(gauges_of(windows), need.by_kind)[1]


class Gauge(NamedTuple):
    """A window as far as no request changes it: ``left`` of ``limit``, and the part of its period until it is new."""

    kind: Kind
    limit: int
    left: int
    time: float


def gauges_of(windows: Iterable[WindowState]) -> tuple[Gauge, ...]:
    """Those of the windows that may be short: with a known limit, or refused by their provider."""
    return tuple(
        Gauge(window.kind, window.limit or 0, left, min(1.0, window.reset_in / window.period))
        for window in windows
        if (left := window.left) is not None
    )


def weigh(gauges: Iterable[Gauge], takes: Mapping[Kind, int]) -> tuple[float, float]:
    """:func:`headroom` and :func:`shadow_price` in one go, for a need by its kinds."""
    scarcest, price = 1.0, 0.0
    for kind, limit, left, time in gauges:
        part = (left - takes[kind]) / limit if left > takes[kind] else 0.0
        if part < scarcest:
            scarcest = part
        if part < time:
            price = max(price, scarcity(1 - part / time))
    return scarcest, price


def perishing(windows: Sequence[WindowState]) -> float:
    """How much of a deployment's quota is lost by not calling it now, in [0, 1]: its scarcest window's left part.

    A full bucket gains nothing more, and a second that goes by unused is gone; the emptier a window, the less it loses.
    """
    return min((_perishing(window) for window in windows), default=1.0)


def sustainable(windows: Sequence[WindowState], need: Amounts) -> float:
    """Calls a second that the windows of up to an hour allow in the long run; infinite without limits."""
    known = ((w.limit, w.period, need.of(w.kind)) for w in windows if w.limit is not None and w.period <= HOUR)
    return min((limit / period / amount for limit, period, amount in known if amount), default=inf)


def _perishing(window: WindowState) -> float:
    if window.period <= SHORT and not window.blocked_in:
        return 1.0  # as old as what is known of it
    return headroom([window], ONE_REQUEST)


def headroom(windows: Sequence[WindowState], need: Amounts) -> float:
    """The scarcest window's part that is left after ``need``, in [0, 1]; 0 when it doesn't fit, 1 without limits."""
    return weigh(gauges_of(windows), need.by_kind)[0]


def scarcity(behind: float) -> float:
    """The price at z = ``behind``, in [0, 1]."""
    return expm1(behind * log(SCARCITY_RATIO)) / (SCARCITY_RATIO - 1)
