"""Who may change settings at run time: admins, and every change is in the audit log."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from lumni.errors import InvalidRequest
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.runtime import Changed, checked
from lumni.types import Principal


class SettingsStore(Protocol):
    """``lumni.storage.settings`` says what each method does."""

    async def list(self) -> list[Changed]: ...
    async def change(self, kept: Sequence[Changed], forgotten: Sequence[str]) -> None: ...


class SettingsDesk:
    """``unknown`` picks the names that mean no deployment, account or provider."""

    def __init__(
        self,
        store: SettingsStore,
        now: Callable[[], datetime],
        unknown: Callable[[Iterable[str]], tuple[str, ...]],
        audit: Audit,
    ) -> None:
        self._store = store
        self._now = now
        self._unknown = unknown
        self._audit = audit

    async def list(self, actor: Principal) -> list[Changed]:
        """What was changed."""
        rights.admin(actor)
        return await self._store.list()

    async def change(self, actor: Principal, changes: Mapping[str, Any]) -> None:
        """All of it or nothing; ``None`` gives a setting back to the configuration.

        Raises :class:`InvalidRequest`, :class:`NotFound`.
        """
        rights.admin(actor)
        values = {name: checked(name, value) if value is not None else None for name, value in changes.items()}
        if unknown := self._unknown(values.get("disabled_deployments") or ()):
            raise InvalidRequest(
                f"disabled_deployments: {unknown[0]} is no deployment or provider here. GET /v1/providers lists them.",
                param="disabled_deployments",
            )
        kept = [Changed(name, value, self._now(), actor.key_id) for name, value in values.items() if value is not None]
        await self._store.change(kept, [name for name, value in values.items() if value is None])
        for name, value in values.items():
            await self._audit.done(actor, "setting.change", name, value=value)
