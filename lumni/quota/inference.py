"""Limits that nobody states: found by going carefully, and by what a refusal gives away. Pure; times are Unix time.

Many providers name no limit until they refuse. Whoever sends such a provider a whole class at once gets as many
refusals as students. So a pool without a known limit of requests a minute (or less) begins with few calls at a time,
and gets more with each ten that succeed; a refusal halves them. A refusal that doesn't say what the limit is, but
blames the minute's requests or doesn't say when to come back, shows it all the same: it is what was accepted in the
last minute. Since that may have been an unlucky minute, an inferred limit grows again as long as nothing is refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from lumni.quota.model import MINUTE, Correction, Pool, Window, WindowState

AT_ONCE = 0.001  # seconds: a window so short holds what is in flight, and nothing else
FIRST_AT_ONCE = 2
MORE_AFTER = 10  # successes for one more at once
MORE_AFTER_KNOWN = 3  # … where the provider says how many a minute it allows, so that little can go wrong
MOST_AT_ONCE = 64
GROW_AFTER = 2 * MINUTE  # without a refusal
GROWTH = 1.25


def is_bounded(windows: Iterable[Window]) -> bool:
    """Whether the requests of a minute (or less) have a known limit."""
    return any(w.kind == "requests" and w.period <= MINUTE and w.limit is not None for w in windows)


def cautious(windows: Sequence[Window]) -> tuple[Window, ...]:
    """The windows of a pool, and what is needed to find out the limit of requests a minute."""
    counted = () if any(w.kind == "requests" and w.period == MINUTE for w in windows) else (_window(MINUTE, None),)
    return (*windows, *counted, _window(AT_ONCE, FIRST_AT_ONCE))


def is_unknown(pool: Pool) -> bool:
    """Whether :func:`cautious` made its windows."""
    return bool(pool.windows) and pool.windows[-1].period == AT_ONCE


def _window(period: float, limit: int | None) -> Window:
    return Window("requests", period, limit, provenance="catalogue")


@dataclass(slots=True)
class _Guess:
    at_once: int = FIRST_AT_ONCE
    successes: int = 0  # since the last change of at_once
    known: bool = False
    limit: int | None = None
    since: float = 0.0


@dataclass(slots=True)
class Inference:
    """What one process found out about its pools."""

    _guesses: dict[str, _Guess] = field(default_factory=dict)

    def answered(self, pool: str, heard: Iterable[Correction], now: float) -> tuple[Correction, ...]:
        """What follows from a success, and from what its headers said."""
        guess = self._guesses.setdefault(pool, _Guess())
        guess.successes += 1
        words = []
        if not guess.known and _named(heard):
            guess.known = True
        if guess.successes >= (MORE_AFTER_KNOWN if guess.known else MORE_AFTER) and guess.at_once < MOST_AT_ONCE:
            words.append(_at_once(guess, guess.at_once + 1))
        if guess.limit is not None and not guess.known and now - guess.since >= GROW_AFTER:
            guess.limit, guess.since = ceil(guess.limit * GROWTH), now
            words.append(Correction("requests", MINUTE, limit=guess.limit))
        return tuple(words)

    def refused(
        self, pool: str, heard: Sequence[Correction], rows: Sequence[WindowState], now: float
    ) -> tuple[Correction, ...]:
        """What follows from a refusal; ``rows`` are the pool's windows before it was taken in."""
        guess = self._guesses.setdefault(pool, _Guess())
        guess.known = guess.known or _named(heard)
        words = [_at_once(guess, max(1, guess.at_once // 2))]
        wait = next((word.reset_in for word in heard if word.refused), None)
        about_minutes = all(word.period is None or word.period <= MINUTE for word in heard if word.refused)
        minute = next((row for row in rows if row.kind == "requests" and row.period == MINUTE), None)
        blamed = any(word.refused and word.key == Correction("requests", MINUTE).key for word in heard)
        if not guess.known and minute is not None and about_minutes and (wait is None or blamed):
            guess.limit, guess.since = max(1, minute.used), now
            words.append(Correction("requests", MINUTE, limit=guess.limit))
        return tuple(words)

    def dump(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {pool: [g.at_once, g.successes, g.known, g.limit, g.since] for pool, g in self._guesses.items()}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take up what ``dump`` wrote."""
        self._guesses |= {pool: _Guess(*saved) for pool, saved in dumped.items()}


def _at_once(guess: _Guess, amount: int) -> Correction:
    guess.at_once, guess.successes = amount, 0
    return Correction("requests", AT_ONCE, limit=amount)


def _named(heard: Iterable[Correction]) -> bool:
    """Whether the provider said how many requests a minute (or less) it allows."""
    return any(w.kind == "requests" and w.period is not None and w.period <= MINUTE and w.limit for w in heard)
