"""Who asks for capacity, where they stand, and what they are told when there is none."""

from dataclasses import dataclass

from lumni.quota.model import Refusal, Refused


@dataclass(slots=True)
class Ticket:
    """Who asks for capacity. ``deadline`` is in seconds of the event loop's clock, ``lease`` in seconds.

    ``priority`` is the course's: a higher one is served first. ``weight`` is the student's share relative to others'.
    ``capped``: the queue's bound of concurrent calls holds for this student, or ``cap`` in its place. They are counted
    for the ``holder``, where that is another: a key that several share.
    """

    student: str
    deadline: float
    weight: float = 1.0
    priority: int = 0
    lease: float = 120.0
    capped: bool = True
    cap: int | None = None
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """``position`` counts from 1 of the ``waiting`` for the same pools.

    ``eta`` in seconds is an estimate, ``None`` when nobody can say.
    """

    position: int
    waiting: int
    eta: float | None


@dataclass(frozen=True, slots=True)
class Standby:
    """A request that waits, and for how many seconds it has."""

    student: str
    waited: float


class NoCapacity(Exception):
    """Nothing became free in time. The gateway makes its 429 from this.

    ``wait`` is in how many seconds it may be worth asking again; ``None``: never, the request is larger than every
    window. ``share`` is what part of recent capacity went to this student, in [0, 1]. ``at_cap``: it was the student's
    own cap of concurrent requests, not a provider's limit, that the request waited for.
    """

    def __init__(self, refusals: tuple[Refusal, ...], place: Place, share: float, *, at_cap: bool) -> None:
        super().__init__("no capacity in time")
        self.refusals = refusals
        self.place = place
        self.share = share
        self.at_cap = at_cap
        self.wait = place.eta if at_cap or not refusals else Refused(refusals).wait
