"""Who may come in now: what one key and one student may ask of Lumni, whatever the providers have left."""

from dataclasses import dataclass, field

from lumni.errors import PermissionDenied, RateLimited
from lumni.quota.limits import Allowance, StudentLimits
from lumni.quota.ticket import Ticket
from lumni.types import ChatRequest, Principal

LEASE_GRACE = 60.0  # seconds beyond a request's own time after which its reservation counts as lost


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that was let in: its ticket for the queue, and what the limits leave its student."""

    ticket: Ticket
    headers: dict[str, str] = field(default_factory=dict)


def person_of(principal: Principal, label: str | None) -> str:
    """Who is served: the key's student; behind a key that many share, whoever its holder says by ``user``."""
    if principal.student:
        return principal.student
    return f"{principal.key_id}/{label}" if label else principal.key_id


def tier_of(principal: Principal, label: str | None) -> str:
    """Whose limits hold: those of the key's role, but a key's label is a student."""
    return "student" if label and not principal.student else principal.role


def limits_of(principal: Principal, label: str | None) -> tuple[str, str]:
    """Whose limits a request counts against, and the tier of them."""
    return person_of(principal, label), tier_of(principal, label)


async def enter(limits: StudentLimits, request: ChatRequest, principal: Principal) -> Admission:
    """Count the request against its key's burst and its student's minute and hour.

    Raises :class:`RateLimited`, and :class:`PermissionDenied` for keys that may only look.
    """
    if principal.role == "monitor":
        raise PermissionDenied("This key is for monitoring: it may look, but ask no model.")
    person, tier = limits_of(principal, request.label)
    allowance = await limits.enter(person, tier, key=principal.key_id)
    if not allowance.allowed:
        raise _over(allowance)
    lease = request.deadline - request.received + LEASE_GRACE
    ticket = Ticket(
        person,
        request.deadline,
        weight=principal.weight,
        priority=principal.priority,
        lease=lease,
        capped=tier != "admin" or principal.concurrency is not None,
        cap=principal.concurrency,
        holder=principal.key_id if principal.concurrency is not None and principal.student is None else "",
    )
    return Admission(ticket, allowance.headers())


def _over(allowance: Allowance) -> RateLimited:
    wait = allowance.retry_after or 1.0
    return RateLimited(
        f"You have sent as many requests as you may: {allowance.words}. Send the next one in {wait:.0f} s.",
        retry_after=wait,
        headers=allowance.headers(),
    )
