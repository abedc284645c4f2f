"""The repository of what was used: sums over the records of any range, grouped in any way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Integer, Select, and_, case, cast, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.storage.rollup import BUCKET
from lumni.storage.rows import clean_text, record_of
from lumni.storage.tables import contents, requests, usage_metrics
from lumni.types import Outcome, RequestRecord

Group = Literal["student", "model", "provider", "assignment", "course", "day"]
GROUPS: tuple[Group, ...] = ("student", "model", "provider", "assignment", "course", "day")
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Where:
    """Which records: those that have all of this. ``since`` counts, ``until`` is the first moment that doesn't.

    A ``user`` is a student, or, behind a key that many share, the label that its holder gave.
    """

    since: datetime | None = None
    until: datetime | None = None
    user: str | None = None
    student: str | None = None
    key_id: str | None = None
    course: str | None = None
    assignment: str | None = None
    model: str | None = None
    provider: str | None = None


@dataclass(slots=True)
class Used:
    """Sums over records. Costs are nano-USD of those whose price is known; ``unpriced`` had tokens, but no price."""

    requests: int = 0
    ok: int = 0
    cached: int = 0
    rate_limited: int = 0
    disconnected: int = 0
    cut: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    list_cost: int = 0
    billed_cost: int = 0
    unpriced: int = 0

    def add(self, other: "Used") -> None:
        for field in fields(Used):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


Key = tuple[str | date | None, ...]


class UsageRepository:
    """Reads only."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"

    async def sums(self, where: Where, groups: Sequence[Group] = (), zone: str = "UTC") -> dict[Key, Used]:
        """The sums of each group, in the order of the groups' values; ``()`` is the one group without ``groups``.

        Days are those of ``zone``, an IANA time zone, whatever its clocks do.
        """
        columns = [self._quarter() if name == "day" else _column(name) for name in groups]
        query = select(*columns, *_sums()).where(_matches(where)).group_by(*columns)
        found: dict[Key, Used] = {}
        async with self._engine.connect() as connection:
            async for row in await connection.stream(query):
                key = tuple(
                    _day(value, zone) if name == "day" else value
                    for name, value in zip(groups, row[: len(groups)], strict=True)
                )
                found.setdefault(key, Used()).add(Used(*(int(value or 0) for value in row[len(groups) :])))
        return dict(sorted(found.items(), key=lambda entry: [str(value or "") for value in entry[0]]))

    async def exists(self, where: Where) -> bool:
        """Whether there is any record of it."""
        async with self._engine.connect() as connection:
            query = select(requests.c.request_id).where(_matches(where)).limit(1)
            return (await connection.execute(query)).first() is not None

    def pages(self, where: Where) -> "Pages":
        """The records themselves, the oldest first, page by page: ``async for``."""
        return Pages(self._engine, where)

    async def duplicates(self, where: Where) -> dict[str | None, tuple[int, int]]:
        """By student: requests whose prompt's keyed hash is on record, and how many of them had been asked before."""
        asked = requests.join(contents, requests.c.request_id == contents.c.request_id)
        person = _column("student")
        each = (
            select(person.label("person"), contents.c.prompt_hash, func.count().label("times"))
            .select_from(asked)
            .where(_matches(where))
            .group_by(person, contents.c.prompt_hash)
            .subquery()
        )
        query = select(each.c.person, func.sum(each.c.times), func.count()).group_by(each.c.person)
        async with self._engine.connect() as connection:
            return {row[0]: (int(row[1]), int(row[1]) - row[2]) for row in await connection.execute(query)}

    async def active(self, since: datetime) -> int:
        """How many people asked something since then: students, and labels behind shared keys."""
        person = func.coalesce(requests.c.student, requests.c.label, requests.c.key_id)
        query = select(func.count(func.distinct(person))).where(requests.c.created_at >= since)
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).scalar_one()

    async def history(self, since: datetime | None = None) -> list[dict[str, Any]]:
        """``usage_metrics`` since a border of a quarter of an hour, by provider and model: exact, and quick."""
        c = usage_metrics.c
        figures = [c[name] for name in _HISTORY]
        query = select(c.provider, c.model, *(func.sum(figure).label(figure.name) for figure in figures))
        query = query.where(c.timestamp >= since if since else true()).group_by(c.provider, c.model)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query.order_by(c.provider, c.model))).mappings().all()
        return [{**row, **{name: int(row[name] or 0) for name in _HISTORY}} for row in rows]

    def _quarter(self) -> ColumnElement[int]:
        """Quarters of an hour since 1970."""
        created = requests.c.created_at
        if self._sqlite:
            return cast(func.strftime("%s", created), Integer).op("/")(int(BUCKET.total_seconds()))
        return cast(func.floor(func.extract("epoch", created).op("/")(int(BUCKET.total_seconds()))), Integer)


_HISTORY = (
    "requests", "calls", "prompt_tokens", "completion_tokens", "errors", "rate_limit_hits", "cached", "list_cost",
    "billed_cost", "unpriced", "latency_ms",
)  # fmt: skip


class Pages:
    """Iterates over records by key, so that no transaction is held open between two pages."""

    def __init__(self, engine: AsyncEngine, where: Where) -> None:
        self._engine = engine
        self._where = where
        self._after: tuple[datetime, str] | None = None

    def __aiter__(self) -> "Pages":
        return self

    async def __anext__(self) -> list[RequestRecord]:
        c = requests.c
        query: Select[Any] = select(requests).where(_matches(self._where)).order_by(c.created_at, c.request_id)
        if self._after:
            at, id_ = self._after
            query = query.where(or_(c.created_at > at, and_(c.created_at == at, c.request_id > id_)))
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query.limit(_PAGE))).mappings().all()
        if not rows:
            raise StopAsyncIteration
        self._after = (rows[-1]["created_at"], rows[-1]["request_id"])
        return [record_of(row) for row in rows]


def _column(name: Group) -> ColumnElement[Any]:
    if name == "student":
        return func.coalesce(requests.c.student, requests.c.label).label("student")
    column: ColumnElement[Any] = requests.c[name]
    return column


def _sums() -> Iterator[ColumnElement[Any]]:
    """In the order of the fields of ``Used``."""
    c = requests.c
    yield func.count()
    for outcome in (Outcome.OK, Outcome.CACHED, Outcome.RATE_LIMITED, Outcome.DISCONNECTED, Outcome.CUT):
        yield func.sum(case((c.outcome == str(outcome), 1), else_=0))
    for column in (c.prompt_tokens, c.completion_tokens, c.list_cost, c.billed_cost):
        yield func.sum(column)
    unpriced = and_(c.list_cost.is_(None), or_(c.prompt_tokens != 0, c.completion_tokens != 0))
    yield func.sum(case((unpriced, 1), else_=0))


def _matches(where: Where) -> ColumnElement[bool]:
    c = requests.c
    found: list[ColumnElement[bool]] = []
    if where.since is not None:
        found.append(c.created_at >= where.since)
    if where.until is not None:
        found.append(c.created_at < where.until)
    if where.user is not None:
        user = clean_text(where.user)
        found.append(or_(c.student == user, and_(c.student.is_(None), c.label == user)))
    given = {name: getattr(where, name) for name in ("student", "key_id", "course", "assignment", "model", "provider")}
    found += [c[name] == clean_text(value) for name, value in given.items() if value is not None]
    return and_(true(), *found)


def _day(quarter: int, zone: str) -> date:
    return (datetime.fromtimestamp(0, ZoneInfo("UTC")) + quarter * BUCKET).astimezone(ZoneInfo(zone)).date()
