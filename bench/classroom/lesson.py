"""One gateway's class from start to end: providers, gateway, students, and what it all came to."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.classroom import clairvoyant
from bench.classroom.accounts import GROUP, Account
from bench.classroom.client import Outcome, attend
from bench.classroom.entrants import Entrant
from bench.classroom.figures import Figures, figures
from bench.classroom.lab import start_lab
from bench.classroom.trace import Ask

_AHEAD = 1.0  # seconds between the decision to begin and the beginning


@dataclass(frozen=True)
class Lesson:
    """What was measured. ``start`` is Unix time; ``lab_state`` is what the providers counted."""

    gateway: str
    version: str
    known: bool
    configuration: str
    start: float
    figures: Figures
    outcomes: Sequence[Outcome]
    lab_state: Mapping[str, Any]

    def public(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "gateway": self.gateway,
            "version": self.version,
            "limits_known": self.known,
            "configuration": self.configuration,
            "start": self.start,
            "figures": self.figures.public(),
            "lab": dict(self.lab_state),
            "outcomes": [outcome.public() for outcome in self.outcomes],
        }


def hold(
    entrant: Entrant,
    asks: Sequence[Ask],
    accounts: Sequence[Account],
    phase: int | None,
    directory: Path,
    environ: Mapping[str, str],
    *,
    flaky: bool = True,
) -> Lesson:
    """Start everything, let the class happen, end everything. Raises :class:`bench.targets.NotStarted`."""
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        lab = start_lab(accounts, directory / "lab", flaky=flaky)
        stack.callback(lab.process.stop)
        running = entrant.start(accounts, lab, directory / entrant.name, environ)
        stack.callback(running.process.stop)
        start = next_start(time.time(), phase)
        outcomes = asyncio.run(attend(asks, running.url, running.key, GROUP, start))
        state = lab.state()
        configuration = yaml.safe_dump(entrant.configuration(accounts, lab), sort_keys=False)
    needs = clairvoyant.needs(asks, start)
    supplies = [clairvoyant.Supply.of(account) for account in accounts]
    most, fewest = clairvoyant.bound(needs, supplies), clairvoyant.schedule(needs, supplies)
    found = figures(outcomes, state, most, fewest)
    return Lesson(entrant.name, entrant.version(), entrant.known, configuration, start, found, outcomes, state)


def next_start(now: float, phase: int | None) -> float:
    """The next moment, at least a second away, at which the clock shows ``phase`` seconds past a minute."""
    soon = now + _AHEAD
    return soon if phase is None else soon + (phase - soon) % 60
