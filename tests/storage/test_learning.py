"""Blind pairs, what answers told, and versions of calibrations: as both databases keep them."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from lumni.calibration import BlindPair, Calibration, Told
from lumni.classroom import Course
from lumni.storage.contents import NOBODY
from lumni.storage.database import Database
from lumni.types import Outcome, RequestRecord
from tests.storage.samples import START, record

DAY = timedelta(days=1)
TASK = {"weights": "w-1", "weak_fails": 0.25, "gain": 0.5, "calibration": None}


def answered(number: int, tier: str = "fast", task: Any = TASK, **changes: Any) -> RequestRecord:
    """A record of the course cs1 as a gateway writes it, answered by the deployment d."""
    option = ["d", "p", "m", [tier, None, 1.0, None, 0, 0.0, 0.0], [0.0, False, 0, False], False, 0, True, None]
    decision = {"classification": task, "options": [option]}
    return record(number, **{"course": "cs1", "deployment": "d", "decision": decision, **changes})


async def told(database: Database) -> dict[str, Told]:
    found = await database.learning.told("cs1", START - DAY)
    assert [one.at for one in found] == sorted(one.at for one in found)
    return {one.request_id: one for one in found}


async def test_what_answers_told_is_read_back(database: Database) -> None:
    """Issue 4: who asked, which tier answered, what was thought of it, and what the weights alone said."""
    corrected = {**TASK, "weak_fails": 0.9, "calibration": {"course": "cs1", "version": 3, "weak_fails": 0.25}}
    plain, strong, fixed = answered(1), answered(2, "powerful", student=None, label="ben"), answered(3, task=corrected)
    await database.records.add([plain, strong, fixed])
    await database.experiments.give(plain.request_id, -4, 0.5, START)
    found = await told(database)
    assert found[plain.request_id] == Told(
        plain.request_id, plain.created_at, "ada", "fast", "w-1", 0.25, 0.5, thumb=-1, sureness=0.5
    )
    assert (found[strong.request_id].tier, found[strong.request_id].person) == ("powerful", "key-7/ben")
    assert found[fixed.request_id].weak_fails == 0.25


async def test_what_tells_nothing_is_not_read(database: Database) -> None:
    """Issue 4: other courses', unanswered, unclassified, forgotten owners', old ones, and of older versions."""
    await database.records.add(
        [
            answered(1, course="cs2"),
            answered(2, outcome=Outcome.CUT),
            answered(3, task=None),
            answered(4, task={"weak_fails": 0.25, "gain": 0.5}),
            answered(5, key_id=NOBODY, student=NOBODY),
            answered(6, created_at=START - 2 * DAY),
            answered(7, deployment="another"),
            answered(8, decision=None),
        ]
    )
    assert await told(database) == {}


@pytest.mark.parametrize(
    ("choice", "first", "meant"),
    [("a", "fast", "fast"), ("b", "fast", "powerful"), ("a", "powerful", "powerful"), ("tie", "fast", "tie")],
)
async def test_a_vote_is_read_as_the_tier_that_was_better(
    database: Database, choice: Any, first: Any, meant: str
) -> None:
    """Issue 4: whatever the order was; the first vote stays."""
    await database.records.add([answered(1, surface="pairs"), answered(2, "powerful", surface="pairs")])
    pair = BlindPair("pair-1", START, "req-00000001", "req-00000002", first)
    await database.learning.add_pair(pair)
    assert await database.learning.pair("pair-1") == pair
    assert {one.choice for one in (await told(database)).values()} == {None}
    assert await database.learning.vote("pair-1", choice, START + DAY)
    assert not await database.learning.vote("pair-1", "neither", START + DAY)
    assert not await database.learning.vote("pair-2", "a", START)
    found = await told(database)
    assert [(one.paired, one.choice) for one in found.values()] == [(True, meant), (True, None)]
    with pytest.raises(IntegrityError):
        await database.learning.add_pair(BlindPair("pair-2", START, "req-00000001", "req-00000003", "fast"))


async def test_the_last_version_of_a_calibration_holds(database: Database) -> None:
    """Issue 4: versions are kept, one of a number; every process hears of it by the version of the tables."""
    await database.people.add_course(Course("cs1", "cs1", START, selection_weights={"cost_efficiency": 1.0}))
    before = await database.people.version()
    made = [Calibration("cs1", n, START, "local", "w-1", 1.0 + n, -0.5, {"votes": n}) for n in (1, 2)]
    for one in made:
        assert await database.rules.add_calibration(one)
    assert not await database.rules.add_calibration(made[0])
    assert not await database.rules.add_calibration(Calibration("cs9", 1, START, "local", "w-1"))
    issued = await database.people.issued()
    assert issued.version > before
    assert issued.rules["cs1"].calibration == made[1]
    assert issued.rules["cs1"].course.selection_weights == {"cost_efficiency": 1.0}
    assert await database.rules.calibrations("cs1") == made
