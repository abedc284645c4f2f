"""A roster put into a course: as often as you like, with the same end."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from lumni.classroom import Student
from lumni.errors import InvalidRequest
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.people.keys import NewKey, new_key
from lumni.people.roster import Roster, RosterRow
from lumni.people.store import PeopleStore
from lumni.people.students import Students
from lumni.types import Principal

FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an import did, or would do when it is a dry run. Students of the course whom the file lacks are ``absent``.

    ``keys`` are those that were made, each with its student: nobody can see them again.
    """

    added: tuple[Student, ...]
    changed: tuple[Student, ...]
    returned: tuple[Student, ...]
    unchanged: int
    absent: tuple[Student, ...]
    removed: bool
    keys: tuple[tuple[Student, NewKey], ...]
    dry_run: bool


class Enrolments:
    """Imports of rosters."""

    def __init__(self, store: PeopleStore, students: Students, now: Callable[[], datetime], audit: Audit) -> None:
        self._store = store
        self._students = students
        self._now = now
        self._audit = audit

    async def enrol(
        self,
        actor: Principal,
        course: str,
        roster: Roster,
        *,
        dry_run: bool = False,
        make_keys: bool = False,
        remove_absent: bool = False,
    ) -> Enrolment:
        """Bring the course's students to what the roster says, all or nothing.

        ``make_keys`` gives new students their keys at once; else they claim them. ``remove_absent`` takes off the
        roster who is not in the file. Raises :class:`InvalidRequest` with every fault of the file and its line.
        """
        rights.scope(actor, course)
        if await self._store.course(course) is None:
            raise rights.missing("course", course)
        if roster.faults:
            raise faulty(roster)
        plan = self._plan(course, roster, await self._store.students(course), remove_absent=remove_absent)
        if dry_run:
            return replace(plan, dry_run=True)
        now = self._now()
        made = [(s, new_key("student", now, course, s.id)) for s in plan.added] if make_keys else []
        claimed = {student.id for student, _ in made}
        new = [replace(s, claimed_at=now) if s.id in claimed else s for s in plan.added]
        stored = await self._store.enrol(new, self._changes(plan, now), [key.key for _, key in made])
        counts = {"added": len(stored), "changed": len(plan.changed), "returned": len(plan.returned)}
        removed = len(plan.absent) if remove_absent else 0
        await self._audit.done(actor, "roster.import", course, course, **counts, removed=removed, keys=len(made))
        return replace(
            plan,
            added=tuple(student for student in new if student.id in stored),
            keys=tuple((student, key) for student, key in made if student.id in stored),
        )

    def _plan(self, course: str, roster: Roster, there: Iterable[Student], *, remove_absent: bool) -> Enrolment:
        known = {student.email: student for student in there if student.email}
        added, changed, returned, unchanged = [], [], [], 0
        for row in roster.rows:
            before = known.pop(row.email, None)
            if before is None:
                added.append(self._new(course, row))
                continue
            after = _updated(before, row)
            if after == before:
                unchanged += 1
            elif before.left_at is not None:
                returned.append(after)
            else:
                changed.append(after)
        absent = tuple(student for student in known.values() if student.left_at is None)
        return Enrolment(
            tuple(added), tuple(changed), tuple(returned), unchanged, absent, remove_absent, (), dry_run=False
        )

    def _new(self, course: str, row: RosterRow) -> Student:
        return self._students.made(course, row.email, name=row.name, section=row.section, external_id=row.external_id)

    @staticmethod
    def _changes(plan: Enrolment, now: datetime) -> dict[str, Mapping[str, object]]:
        """Only what a roster knows of, so that a key that is claimed at the same moment stays claimed."""
        changes: dict[str, Mapping[str, object]] = {
            s.id: {"name": s.name, "section": s.section, "external_id": s.external_id, "left_at": None}
            for s in (*plan.changed, *plan.returned)
        }
        if plan.removed:
            changes |= {student.id: {"left_at": now} for student in plan.absent}
        return changes


def faulty(roster: Roster) -> InvalidRequest:
    """The error that tells every fault with its line."""
    told = "; ".join(f"line {fault.line}: {fault.message}" for fault in roster.faults[:FAULTS_SHOWN])
    more = len(roster.faults) - FAULTS_SHOWN
    return InvalidRequest(
        f"The roster was not imported, nothing was changed: {told}{f'; and {more} more' if more > 0 else ''}.",
        code="invalid_roster",
        extra={"faults": [{"line": fault.line, "message": fault.message} for fault in roster.faults]},
    )


def keys_csv(keys: Iterable[tuple[Student, NewKey]]) -> str:
    """The new keys for handing out: ``name,email,section,student,key``. Cells can't be taken for formulas."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("name", "email", "section", "student", "key"))
    for student, made in keys:
        cells = (student.name or "", student.email or "", student.section or "", student.id, made.text)
        writer.writerow([f"'{cell}" if cell[:1] in tuple("=+-@\t\r") else cell for cell in cells])
    return out.getvalue()


def _updated(before: Student, row: RosterRow) -> Student:
    """What the file leaves empty stays as it was."""
    return replace(
        before,
        name=row.name or before.name,
        section=row.section or before.section,
        external_id=row.external_id or before.external_id,
        left_at=None,
    )
