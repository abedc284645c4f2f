"""How many calls each student has under way."""

from lumni.quota.ticket import Ticket


class Running:
    """``per_student`` is the cap of who has none of her own."""

    def __init__(self, per_student: int) -> None:
        self._per_student = per_student
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """Of how many students calls are under way."""
        return len(self._counts)

    def at_cap(self, ticket: Ticket) -> bool:
        return ticket.capped and self._counts.get(_holder(ticket), 0) >= self._cap(ticket)

    def begin(self, ticket: Ticket) -> None:
        holder = _holder(ticket)
        self._counts[holder] = self._counts.get(holder, 0) + 1

    def end(self, ticket: Ticket) -> None:
        holder = _holder(ticket)
        self._counts[holder] -= 1
        if not self._counts[holder]:
            del self._counts[holder]

    def freed(self, ended: Ticket, waiting: Ticket) -> bool:
        """Whether the end of a call was what ``waiting`` waits for."""
        holder = _holder(waiting)
        return holder == _holder(ended) and self._counts.get(holder, 0) == self._cap(waiting) - 1

    def _cap(self, ticket: Ticket) -> int:
        return self._per_student if ticket.cap is None else ticket.cap


def _holder(ticket: Ticket) -> str:
    """For whom running calls are counted."""
    return ticket.holder or ticket.student
