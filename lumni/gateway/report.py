"""The engineering report card: how well a student used what all share, beside the median of the class."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from statistics import median
from typing import Any

from lumni.gateway.usage import cost_json
from lumni.storage.database import Database
from lumni.storage.usage import Where
from lumni.types import Json, Outcome, RequestRecord

HASTY_SECONDS = 1.0  # who asks again so soon after a 429 hasn't waited
FEWEST = 5  # students whose median tells nothing of one of them
_ABORTED = (Outcome.DISCONNECTED, Outcome.CUT)


@dataclass(slots=True)
class Card:
    """One student's figures, gathered from her records in their order."""

    requests: int = 0
    tokens: int = 0
    list_cost: int = 0
    billed_cost: int = 0
    unpriced: int = 0
    cache_hits: int = 0
    provider_cached_tokens: int = 0
    retries: int = 0
    failed: int = 0
    aborted: int = 0
    aborted_tokens: int = 0
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    waits: list[float] = field(default_factory=list)
    _refused_at: datetime | None = None

    def add(self, record: RequestRecord) -> None:
        tokens = 0 if record.cached else record.prompt_tokens + record.completion_tokens
        self.requests += 1
        self.tokens += tokens
        if not record.cached:  # what all share gave nothing for it
            self.list_cost += record.list_cost or 0
            self.billed_cost += record.billed_cost or 0
        self.unpriced += record.list_cost is None and tokens > 0
        self.cache_hits += record.cached
        self.provider_cached_tokens += record.cached_tokens
        self.retries += max(0, sum(attempt.outcome is not Outcome.SKIPPED for attempt in record.attempts) - 1)
        if self._refused_at is not None:
            self.waits.append((record.created_at - self._refused_at).total_seconds())
        self._refused_at = record.created_at if record.outcome is Outcome.RATE_LIMITED else None
        if record.outcome in (Outcome.OK, Outcome.CACHED):
            self.latencies.append(record.latency_ms)
        elif record.outcome in _ABORTED:
            self.aborted += 1
            self.aborted_tokens += tokens
        elif record.outcome is Outcome.RATE_LIMITED:
            self.refused += 1
        else:
            self.failed += 1

    def shown(self, hashed: int, duplicates: int) -> Json:
        """As JSON; ``None`` is what nobody knows: duplicates where the course keeps no hashes."""
        return {
            "requests": self.requests,
            "tokens": self.tokens,
            "cost": cost_json(self.list_cost, self.billed_cost, self.unpriced, self.requests),
            "cache_hits": self.cache_hits,
            "provider_cached_tokens": self.provider_cached_tokens,
            "retries": self.retries,
            "failed": self.failed,
            "waste": {
                "aborted_streams": self.aborted,
                "aborted_tokens": self.aborted_tokens,
                "duplicates": duplicates if hashed else None,
            },
            "p95_ms": percentile(self.latencies, 0.95),
            "rate_limits": {
                "refused": self.refused,
                "asked_again": len(self.waits),
                "asked_again_at_once": sum(wait < HASTY_SECONDS for wait in self.waits),
                "median_wait_s": round(median(self.waits), 3) if self.waits else None,
            },
        }


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of all don't exceed (nearest rank); ``None`` of nothing."""
    ordered = sorted(values)
    return round(ordered[ceil(share * len(ordered)) - 1], 1) if ordered else None


async def report(database: Database, where: Where) -> Json:
    """The card of everyone who asked something of ``where``, and the medians of the class.

    ``where`` is about a course or an assignment, not about one student: of whom else would the median be?
    """
    cards: dict[str | None, Card] = {}
    async for page in database.usage.pages(where):
        for record in page:
            cards.setdefault(record.student or record.label, Card()).add(record)
    hashes = await database.usage.duplicates(where)
    shown = {who: card.shown(*hashes.get(who, (0, 0))) for who, card in cards.items()}
    return {
        "object": "report",
        "since": where.since,
        "until": where.until,
        "course": where.course,
        "assignment": where.assignment,
        "students": [{"student": who, **card} for who, card in sorted(shown.items(), key=lambda one: one[0] or "")],
        "class_median": medians(list(shown.values())),
    }


def own(whole: Mapping[str, Any], student: str | None) -> Json:
    """Of a report what one student may see: her card, and the medians if they are of enough people."""
    mine = [card for card in whole["students"] if card["student"] == student]
    enough = len(whole["students"]) >= FEWEST
    return {**whole, "students": mine, "class_median": whole["class_median"] if enough else None}


def medians(cards: list[Json]) -> Json | None:
    """The median of each figure over those who have it; costs are US dollars."""
    if not cards:
        return None
    known: dict[str, list[float]] = {name: [] for name in _figures(cards[0])}
    for card in cards:
        for name, value in _figures(card).items():
            if value is not None:
                known[name].append(value)
    return {name: round(median(values), 9) if values else None for name, values in known.items()}


def _figures(card: Json) -> dict[str, float | None]:
    cost, waste, limits = card["cost"]["list"], card["waste"], card["rate_limits"]
    return {
        **{name: card[name] for name in ("requests", "tokens", "cache_hits", "retries", "failed", "p95_ms")},
        "list_usd": None if cost is None else float(cost),
        "aborted_streams": waste["aborted_streams"],
        "duplicates": waste["duplicates"],
        "refused": limits["refused"],
        "median_wait_s": limits["median_wait_s"],
    }
