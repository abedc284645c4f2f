"""Who did what: an entry for every administrative act and for every look at content."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from secrets import token_hex
from typing import Any, Protocol

from lumni.classroom import Act
from lumni.people import rights
from lumni.types import Principal

MOST_SHOWN = 1000


class AuditStore(Protocol):
    """``lumni.storage.audit`` says what each method does."""

    async def add(self, act: Act) -> None: ...
    async def list(self, course: str | None, before: datetime | None, limit: int) -> list[Act]: ...


class Audit:
    """The audit log. Entries are added and never changed.

    ``changed`` is called after each act that may change what requests may do.
    """

    def __init__(self, store: AuditStore, now: Callable[[], datetime], changed: Callable[[], None]) -> None:
        self._store = store
        self._now = now
        self._changed = changed

    async def done(
        self, actor: Principal, action: str, subject: str, course: str | None = None, **details: Any
    ) -> None:
        """Note an act that was just done. ``details`` must not tell who a student is."""
        self._changed()
        await self.note(actor, action, subject, course, **details)

    async def note(
        self, actor: Principal, action: str, subject: str, course: str | None = None, **details: Any
    ) -> None:
        """The same for what changed nothing, such as a look at content."""
        await self._store.add(self.act(actor, action, subject, course, **details))

    def act(self, actor: Principal, action: str, subject: str, course: str | None = None, **details: Any) -> Act:
        """An entry for what is done now, to be stored with it. ``details`` must not tell who a student is."""
        told = {name: _plain(value) for name, value in details.items()}
        return Act(f"a-{token_hex(8)}", self._now(), actor.key_id, actor.role, action, subject, course, told)

    async def list(
        self, actor: Principal, course: str | None = None, before: datetime | None = None, limit: int = 100
    ) -> list[Act]:
        """The latest first: of a course, or all that ``actor`` manages."""
        return await self._store.list(rights.scope(actor, course), before, max(1, min(limit, MOST_SHOWN)))


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value
