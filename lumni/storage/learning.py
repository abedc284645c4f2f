"""The repository of what a class teaches: blind pairs, their votes, and answered requests with what came of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from lumni.calibration import BlindPair, Choice, Told
from lumni.storage.contents import NOBODY
from lumni.storage.experiments import PERSON
from lumni.storage.rows import clean_text
from lumni.storage.tables import blind_pairs, feedback, requests
from lumni.storage.versioned import noun_of, row_of
from lumni.types import TaskType

PAIRS = "pairs"
"""The surface of requests that were made for a blind pair."""


class LearningRepository:
    """Blind pairs, and what there is to learn from."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add_pair(self, pair: BlindPair) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(insert(blind_pairs), [row_of(pair)])

    async def pair(self, pair: str) -> BlindPair | None:
        query = select(blind_pairs).where(blind_pairs.c.id == clean_text(pair))
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else noun_of(BlindPair, row)

    async def vote(self, pair: str, choice: Choice, moment: datetime) -> bool:
        """``False`` for a pair on which somebody has voted: the first vote stays, since it reveals which was which."""
        first = (blind_pairs.c.id == clean_text(pair)) & blind_pairs.c.choice.is_(None)
        voted = update(blind_pairs).where(first).values(choice=choice, voted_at=moment).returning(blind_pairs.c.id)
        async with self._engine.begin() as connection:
            return (await connection.execute(voted)).first() is not None

    async def told(self, course: str, since: datetime) -> list[Told]:
        """The course's answered requests that a classifier with known weights judged, the oldest first.

        Those whose owner is forgotten are left out: they can't be told apart.
        """
        of = requests.c
        query = (
            select(
                *(of.request_id, of.created_at, PERSON.label("person"), of.surface, of.deployment, of.decision),
                *(feedback.c.value, feedback.c.weight, blind_pairs.c.choice, blind_pairs.c.first),
            )
            .select_from(
                requests.outerjoin(feedback, feedback.c.request_id == of.request_id).outerjoin(
                    blind_pairs, blind_pairs.c.fast_request == of.request_id
                )
            )
            .where(
                *(of.course == clean_text(course), of.created_at >= since, of.key_id != NOBODY),
                *(of.outcome == "ok", of.decision.is_not(None), of.deployment.is_not(None)),
            )
            .order_by(of.created_at, of.request_id)
        )
        async with self._engine.connect() as connection, connection.stream(query) as rows:
            return [one async for row in rows.mappings() if (one := _told(row)) is not None]


def _told(row: Mapping[Any, Any]) -> Told | None:
    """``None`` where nothing was classified, or by a version that didn't say with which weights."""
    decision = row["decision"]
    task = decision["classification"]
    if not task or not task.get("weights"):
        return None
    # As ``lumni.intelligence.archive`` writes an option: its id first, its facts fourth, of these the tier first.
    tiers: dict[str, TaskType] = {option[0]: option[3][0] for option in decision["options"]}
    tier = tiers.get(row["deployment"])
    if tier is None:
        return None
    before = task["calibration"] or task
    value = row["value"] or 0
    return Told(
        *(row["request_id"], row["created_at"], row["person"], tier, task["weights"]),
        weak_fails=float(before["weak_fails"]),
        gain=float(task["gain"]),
        thumb=(value > 0) - (value < 0),
        sureness=1.0 if row["weight"] is None else float(row["weight"]),
        paired=row["surface"] == PAIRS,
        choice=_better(row["choice"], row["first"]),
    )


def _better(choice: Choice | None, first: TaskType | None) -> Any:
    if choice not in ("a", "b"):
        return choice
    other: TaskType = "powerful" if first == "fast" else "fast"
    return first if choice == "a" else other
