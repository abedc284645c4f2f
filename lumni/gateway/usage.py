"""Who used what: sums over the records for those who may see them, as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lumni.errors import InvalidRequest, NotFound, PermissionDenied
from lumni.money import to_usd
from lumni.people import rights
from lumni.people.times import moment
from lumni.storage.database import Database
from lumni.storage.usage import Group, Key, Used, Where
from lumni.types import Json, Principal


class Usage:
    """Answers from the records of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mine(self, actor: Principal, question: Where, groups: Sequence[Group] = ()) -> Json:
        """What ``actor``'s own requests used: a student's with any of her keys, else those with this key."""
        own = replace(question, student=actor.student, key_id=None if actor.student else actor.key_id)
        return await self._report(own, groups, actor.course) | {"user": actor.student}

    async def visible(self, actor: Principal, question: Where, groups: Sequence[Group] = ()) -> Json:
        """What is ``actor``'s to see: everything for admins and monitors, a teacher's course, a student's own."""
        if actor.role == "student":
            return await self.mine(actor, question, groups)
        course = question.course if actor.role == "monitor" else rights.scope(actor, question.course)
        return await self._report(replace(question, course=course), groups, course)

    async def of(self, actor: Principal, user: str, question: Where, groups: Sequence[Group] = ()) -> Json:
        """What one user used: a student, or a label behind a shared key. Oneself, one's course's students, or anyone.

        Raises :class:`NotFound` for who is not on record, :class:`PermissionDenied` for others.
        """
        if actor.student and actor.student == user:
            return await self.mine(actor, question, groups)
        if actor.role not in ("admin", "teacher", "monitor"):
            raise PermissionDenied("You may see your own usage only: GET /v1/usage/me.")
        course = actor.course if actor.role == "teacher" else question.course
        mine = replace(question, user=user, course=course)
        student = await self._database.people.student(user)
        known = student is not None and course in (None, student.course)
        if not known and not await self._database.usage.exists(Where(user=user, course=course)):
            raise NotFound("There is no such user here.", param="user_id")
        zone_of = student.course if known and student else course
        return await self._report(mine, groups, zone_of) | {"user": user}

    async def _report(self, where: Where, groups: Sequence[Group], course: str | None) -> Json:
        zone = await self.zone(course)
        sums = await self._database.usage.sums(where, groups, zone)
        total = Used()
        for used in sums.values():
            total.add(used)
        report: Json = {
            "object": "usage",
            "since": where.since,
            "until": where.until,
            "time_zone": zone,
            "course": where.course,
            "assignment": where.assignment,
            "total": used_json(total),
        }
        if groups:
            report["groups"] = [group_json(groups, key, used) for key, used in sums.items()]
        return report

    async def zone(self, course: str | None) -> str:
        """The time zone in which a course's days are counted; UTC without one."""
        found = await self._database.people.course(course) if course else None
        return found.time_zone if found else "UTC"

    async def range(self, actor: Principal, course: str | None, since: str | None, until: str | None) -> Where:
        """From a date up to and with another, in the time zone of the course. Raises :class:`InvalidRequest`."""
        zone = await self.zone(course or actor.course)
        begin = moment(since, zone, "since") if since is not None else None
        end = moment(until, zone, "until", end=True) if until is not None else None
        if begin and end and begin > end:
            raise InvalidRequest("until: lies before since.", param="until")
        return Where(since=begin, until=end)

    async def summary(self, now: datetime) -> Json:
        """The whole system: today, seven days with today, and all time; days are UTC's."""
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        usage, week = self._database.usage, today - timedelta(days=6)
        spans = {
            name: await usage.history(since) for name, since in (("today", today), ("7 days", week), ("all", None))
        }
        counts = await self._database.people.counts()
        return {
            "usage": {
                "today": history_json(spans["today"]),
                "last_7_days": history_json(spans["7 days"]),
                "all_time": history_json(spans["all"]),
            },
            "providers": _by("provider", spans["7 days"]),
            "models": _by("model", spans["7 days"]),
            "people": {
                "courses": len(await self._database.people.courses()),
                "students": sum(counts.values()),
                "active_today": await usage.active(today),
            },
        }


def used_json(used: Used) -> Json:
    """Costs are US dollars as decimal strings, ``null`` if no price is known."""
    failed = used.requests - used.ok - used.cached - used.rate_limited - used.disconnected - used.cut
    return {
        "requests": used.requests,
        "answered": used.ok + used.cached,
        "cached": used.cached,
        "rate_limited": used.rate_limited,
        "disconnected": used.disconnected,
        "cut": used.cut,
        "failed": failed,
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
        "cost": cost_json(used.list_cost, used.billed_cost, used.unpriced, used.requests),
    }


def cost_json(list_cost: int, billed_cost: int, unpriced: int, requests: int) -> Json:
    """Of requests whose price nobody knows there is no cost: they are counted beside it, and alone they are no 0."""
    unknown = 0 < unpriced == requests
    return {
        "list": None if unknown else f"{to_usd(list_cost):f}",
        "billed": None if unknown else f"{to_usd(billed_cost):f}",
        "currency": "USD",
        "unpriced_requests": unpriced,
    }


def group_json(groups: Sequence[Group], key: Key, used: Used) -> Json:
    return {**dict(zip(groups, map(_shown, key), strict=True)), **used_json(used)}


def _shown(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def history_json(rows: Sequence[Mapping[str, Any]]) -> Json:
    """Rows of ``usage_metrics`` added up. ``latency_ms`` is the mean of the requests."""
    sums = {
        name: sum(row[name] for row in rows) for name in (rows[0] if rows else ()) if name not in ("provider", "model")
    }
    count = sums.get("requests", 0)
    return {
        "requests": count,
        "calls": sums.get("calls", 0),
        "errors": sums.get("errors", 0),
        "rate_limit_hits": sums.get("rate_limit_hits", 0),
        "cached": sums.get("cached", 0),
        "prompt_tokens": sums.get("prompt_tokens", 0),
        "completion_tokens": sums.get("completion_tokens", 0),
        "total_tokens": sums.get("prompt_tokens", 0) + sums.get("completion_tokens", 0),
        "cost": cost_json(sums.get("list_cost", 0), sums.get("billed_cost", 0), sums.get("unpriced", 0), count),
        "latency_ms": round(sums["latency_ms"] / count, 1) if count else None,
    }


def _by(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Json]:
    """The same by provider or model, the most used first; without what nothing answered."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row[name]:
            groups.setdefault(row[name], []).append(row)
    shown = [{name: value, **history_json(members)} for value, members in groups.items()]
    return sorted(shown, key=lambda entry: (-entry["total_tokens"], entry[name]))
