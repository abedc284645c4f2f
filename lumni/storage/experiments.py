"""The repository of experiments: what came of each variant, and what people thought of answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Double, case, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.storage.rows import clean_text
from lumni.storage.tables import feedback, requests
from lumni.trials import UnitResult

PERSON = func.coalesce(
    requests.c.student, requests.c.key_id + "/" + func.nullif(requests.c.label, ""), requests.c.key_id
)
"""Who asked: a student, or the label of a shared key, or the key."""

NO_TRIAL = ("disconnected", "bad_request", "rate_limited")  # these say nothing of a variant


class ExperimentRepository:
    """Results by variant and unit, and feedback: the latest on each request counts."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._dialect: Any = postgresql if engine.dialect.name == "postgresql" else sqlite

    async def results(self, experiment: str, unit: Literal["student", "course"]) -> list[UnitResult]:
        """What each variant did for each unit, as means over that unit's requests."""
        of = requests.c
        who = func.coalesce(of.course, PERSON) if unit == "course" else PERSON
        well = case((of.outcome.in_(("ok", "cached")), 1.0), else_=0.0)
        answered = of.deployment.is_not(None)
        query = (
            select(
                of.variant,
                who.label("unit"),
                func.count().label("requests"),
                func.avg(well).label("success"),
                func.avg(case((answered, of.latency_ms))).label("latency_ms"),
                cast(func.avg(case((answered, cast(of.list_cost, Double)))), Double).label("list_cost"),
                cast(func.avg(case((answered, of.prompt_tokens + of.completion_tokens))), Double).label("tokens"),
                (func.sum(feedback.c.value * feedback.c.weight) / func.nullif(func.sum(feedback.c.weight), 0.0)).label(
                    "feedback"
                ),
            )
            .select_from(requests.outerjoin(feedback, feedback.c.request_id == of.request_id))
            .where(of.experiment == clean_text(experiment), of.outcome.not_in(NO_TRIAL))
            .group_by(of.variant, who)
            .order_by(of.variant, who)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [UnitResult(**{name: _plain(value) for name, value in row.items()}) for row in rows]

    async def give(self, request_id: str, value: int, weight: float, moment: datetime) -> None:
        """Keep feedback on a request, in place of an earlier one."""
        new = self._dialect.insert(feedback).values(
            request_id=clean_text(request_id), created_at=moment, value=value, weight=weight
        )
        changed: Sequence[str] = ("created_at", "value", "weight")
        update = new.on_conflict_do_update(
            index_elements=["request_id"], set_={name: new.excluded[name] for name in changed}
        )
        async with self._engine.begin() as connection:
            await connection.execute(update)


def _plain(value: Any) -> Any:
    """PostgreSQL's averages are decimals."""
    return value if value is None or isinstance(value, str | int) else float(value)
