"""Who may come in now: what one key and one student may ask of Lumni, whatever the providers have left."""

import asyncio
from dataclasses import dataclass, field

from lumni.errors import LimitsUnavailable, PermissionDenied, RateLimited
from lumni.quota.limits import Allowance
from lumni.quota.service import Quota
from lumni.quota.ticket import Ticket
from lumni.types import ChatRequest, Principal

STRANDED_PATIENCE = 10.0  # seconds that a request waits for Redis when nothing is known of the limits
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


class Door:
    """What one request passes: first its key's burst, and behind the response cache its student's minute and hour."""

    def __init__(self, quota: Quota, request: ChatRequest, principal: Principal) -> None:
        self._quota = quota
        self._request = request
        self._principal = principal
        self._person, self._tier = limits_of(principal, request.label)
        self._key = principal.key_id
        self._allowance: Allowance | None = None

    async def knock(self, *, burst_only: bool) -> None:
        """Count the request against its key's burst, and unless ``burst_only`` in the same moment against the rest.

        Raises :class:`RateLimited`, :class:`PermissionDenied` for keys that may only look, and
        :class:`LimitsUnavailable` when nothing is known of any limit.
        """
        quota, request = self._quota, self._request
        if self._principal.role == "monitor":
            raise PermissionDenied("This key is for monitoring: it may look, but ask no model.")
        if quota.stranded and not await quota.shared_within(min(STRANDED_PATIENCE, _left(request))):
            raise LimitsUnavailable(
                "The limits are kept in Redis, which the gateway can't reach yet; without it nobody knows what is "
                "left. Ask again in a moment.",
                retry_after=STRANDED_PATIENCE,
            )
        if not burst_only:
            self._allowance = await self._count()
        elif not (allowance := await quota.students.burst(self._key, self._tier)).allowed:
            raise _over(allowance)
        else:
            self._key = ""

    async def enter(self) -> Admission:
        """Count what isn't counted yet. Raises :class:`RateLimited`."""
        request, principal = self._request, self._principal
        allowance = self._allowance or await self._count()
        ticket = Ticket(
            self._person,
            request.deadline,
            weight=principal.weight,
            priority=principal.priority,
            lease=request.deadline - request.received + LEASE_GRACE,
            capped=self._tier != "admin" or principal.concurrency is not None,
            cap=principal.concurrency,
            holder=principal.key_id if principal.concurrency is not None and principal.student is None else "",
        )
        return Admission(ticket, allowance.headers())

    async def _count(self) -> Allowance:
        quota, request = self._quota, self._request
        allowance = await quota.students.enter(self._person, self._tier, key=self._key)
        if allowance.retry_after is not None and not await quota.shared_within(0):
            # This process only knows its part of the student's limit: she may be well within the whole.
            await quota.shared_within(min(allowance.retry_after, _left(request)))
            allowance = await quota.students.enter(self._person, self._tier, key=self._key)
        if not allowance.allowed:
            raise _over(allowance)
        return allowance


def _left(request: ChatRequest) -> float:
    return max(0.0, request.deadline - asyncio.get_running_loop().time())


def _over(allowance: Allowance) -> RateLimited:
    wait = allowance.retry_after or 1.0
    return RateLimited(
        f"You have sent as many requests as you may: {allowance.words}. Send the next one in {wait:.0f} s.",
        retry_after=wait,
        headers=allowance.headers(),
    )
