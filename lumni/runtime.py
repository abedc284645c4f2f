"""Settings that admins change while the gateway runs, in place of what the sources of configuration say."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from lumni.errors import InvalidRequest, LumniError, NotFound
from lumni.settings import Settings

logger = logging.getLogger(__name__)

CHANGEABLE = (
    "routing_strategy",
    "classify_tasks",
    "auto_detect_tasks",
    "benchmark_selection",
    "selection_weights",
    "disabled_deployments",
    "max_requests_per_minute",
    "max_requests_per_hour",
    "default_rate_limit_capacity",
    "default_rate_limit_refill_rate",
)


@dataclass(frozen=True, slots=True)
class Changed:
    """A setting as somebody changed it. ``value`` is JSON; ``changed_by`` a key's id."""

    name: str
    value: Any
    changed_at: datetime
    changed_by: str


def checked(name: str, value: Any) -> Any:
    """The value as JSON, read as the setting's own. Raises :class:`LumniError`, whose message says what to do."""
    if name not in CHANGEABLE:
        raise NotFound(f"There is no setting {name!r} that can be changed while the gateway runs.")
    try:
        return plain(Settings.model_validate({name: value}), name)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or name
        raise InvalidRequest(f"{where}: {first['msg']}.", param=where) from None


def plain(settings: Settings, name: str) -> Any:
    """A setting as JSON."""
    return settings.model_dump(mode="json", include={name})[name]


def effective(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings as they are with ``changes``. What this version can't read is left out, and told: a change that
    another one took keeps no gateway from starting."""
    known = {}
    for name, value in changes.items():
        try:
            known[name] = checked(name, value)
        except LumniError as error:
            logger.warning("the changed setting %s is left out: %s", name, error)
    changed = Settings.model_validate(known)
    return settings.model_copy(update={name: getattr(changed, name) for name in known})
