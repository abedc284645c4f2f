"""Moments as people write and read them, in a course's time zone."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from lumni.errors import InvalidRequest


def known_zone(name: str) -> bool:
    """Whether it is a name of the IANA time zone database, such as ``Europe/Berlin``."""
    return name in available_timezones()


def moment(written: str, zone: str, param: str, *, end: bool = False) -> datetime:
    """``2026-09-01``, ``2026-09-01 08:00`` or with an offset, as a moment; without one it is the zone's local time.

    A date alone means its first moment, as an ``end`` the first one after it. Raises :class:`InvalidRequest`.
    """
    try:
        if len(written) == len("2026-09-01"):
            day = date.fromisoformat(written) + timedelta(days=1 if end else 0)
            return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
        parsed = datetime.fromisoformat(written)
        return (parsed.replace(tzinfo=ZoneInfo(zone)) if parsed.tzinfo is None else parsed).astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{param}: {written[:40]!r} is no date. Write 2026-09-01, or 2026-09-01 08:00."
        raise InvalidRequest(message, param=param) from None


def as_utc(at: datetime, param: str) -> datetime:
    """The same moment in UTC. Raises :class:`InvalidRequest` for what lies before the year 1 or after 9999 there."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest(f"{param}: the time is out of range.", param=param) from None


def in_utc(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with every moment in UTC."""
    return {name: as_utc(value, name) if isinstance(value, datetime) else value for name, value in values.items()}


def shown(at: datetime, zone: str) -> str:
    """For people: ``2026-09-01 08:00 CEST``."""
    try:
        local = at.astimezone(ZoneInfo(zone))
    except OverflowError:
        local = at
    return f"{local:%Y-%m-%d %H:%M %Z}"
