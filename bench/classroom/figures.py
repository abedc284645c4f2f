"""From what happened to figures: who was served, how fairly, how fast, and what the providers saw."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.classroom.client import BROKEN, LEFT, Outcome
from bench.classroom.trace import GREEDY
from bench.figures import percentile

_KINDS = {LEFT: "left", BROKEN: "broken"}


@dataclass(frozen=True, slots=True)
class Figures:
    """One gateway's class. Shares are in [0, 1], waits in seconds, from a request to its whole answer.

    ``bound`` and ``plan`` are the most and the fewest that a clairvoyant scheduler serves. ``worst_student`` is the
    smallest share of a student other than the greedy one: what she got, of her max–min fair part of ``bound`` (all
    that she asked for, as long as the greedy one asks more). ``greedy`` is the greedy one's share, of a fair part too.
    ``jain`` is Jain's index over all shares, 1 when they are alike.
    """

    asked: int
    served: int
    served_share: float
    bound: int
    plan: int
    of_clairvoyant: float
    refused: Mapping[str, int]
    tries: int
    upstream_calls: int
    upstream_over_limit: int
    upstream_over_limit_share: float
    upstream_faults: int
    worst_student: float
    greedy: float
    jain: float
    wait_p50: float
    wait_p95: float
    wait_max: float

    def public(self) -> dict[str, Any]:
        return asdict(self)


def figures(outcomes: Sequence[Outcome], lab_state: Mapping[str, Any], bound: int, plan: int) -> Figures:
    """``lab_state`` is the lab's at the end; ``bound`` and ``plan`` are of :mod:`bench.classroom.clairvoyant`."""
    served = [outcome for outcome in outcomes if outcome.served]
    refused = Counter(_KINDS.get(outcome.status, str(outcome.status)) for outcome in outcomes if not outcome.served)
    totals, waits = lab_state["totals"], [outcome.wait for outcome in served]
    shares = satisfied(Counter(o.student for o in outcomes), Counter(o.student for o in served), bound)
    return Figures(
        asked=len(outcomes),
        served=len(served),
        served_share=len(served) / max(1, len(outcomes)),
        bound=bound,
        plan=plan,
        of_clairvoyant=len(served) / max(1, bound),
        refused=dict(sorted(refused.items())),
        tries=sum(len(outcome.statuses) for outcome in outcomes),
        upstream_calls=totals["calls"],
        upstream_over_limit=totals["over_limit"],
        upstream_over_limit_share=totals["over_limit"] / max(1, totals["calls"]),
        upstream_faults=totals["faults"],
        worst_student=min((share for student, share in shares.items() if student != GREEDY), default=1.0),
        greedy=shares.get(GREEDY, 1.0),
        jain=jain(list(shares.values())),
        wait_p50=percentile(waits, 0.5),
        wait_p95=percentile(waits, 0.95),
        wait_max=max(waits, default=float("nan")),
    )


def satisfied(asked: Mapping[str, int], served: Mapping[str, int], capacity: int) -> dict[str, float]:
    """Each student's share of what max–min fairness gives her, at most 1."""
    fair = max_min(asked, capacity)
    return {student: min(1.0, served.get(student, 0) / fair[student]) if fair[student] else 1.0 for student in asked}


def max_min(asked: Mapping[str, int], capacity: int) -> dict[str, float]:
    """Max–min fair parts of ``capacity``: nobody gets more than she asks, and what that leaves goes to the others.

    Water-filling: Bertsekas and Gallager, Data Networks, section 6.5.2.
    """
    parts, left = {}, float(capacity)
    for place, (student, wish) in enumerate(sorted(asked.items(), key=lambda item: item[1])):
        parts[student] = min(float(wish), left / (len(asked) - place))
        left -= parts[student]
    return parts


def jain(shares: Sequence[float]) -> float:
    """(sum x)^2 / (n * sum x^2): Jain, Chiu, Hawe, DEC-TR-301, 1984. 1 for nobody."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0
