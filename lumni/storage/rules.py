"""The repository of what holds for a course's requests: assignments, exams, budgets; the only SQL about them."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from lumni.budget import Balance, Budget, TopUp
from lumni.calibration import Calibration
from lumni.classroom import Assignment, Course, Exam, Rules
from lumni.storage.rows import clean_text
from lumni.storage.tables import assignments, budget_top_ups, budgets, calibrations, courses, exams, students
from lumni.storage.versioned import Changes, VersionedTables, noun_of, row_of, where


class RulesRepository(VersionedTables):
    """Assignments, exams and budgets of courses."""

    async def assignments(self, course: str | None = None) -> list[Assignment]:
        query = select(assignments).order_by(assignments.c.created_at, assignments.c.id)
        return await self._all(Assignment, where(query, assignments, {"course": course}))

    async def assignment(self, course: str, assignment: str) -> Assignment | None:
        return await self._one(
            Assignment, where(select(assignments), assignments, {"course": course, "id": assignment})
        )

    async def add_assignment(self, assignment: Assignment) -> bool:
        return await self._add(assignments, assignment)

    async def change_assignment(self, course: str, assignment: str, changes: Changes) -> bool:
        return await self._change(assignments, _in(course, assignment), changes)

    async def remove_assignment(self, course: str, assignment: str) -> bool:
        return await self._remove(assignments, _in(course, assignment))

    async def exams(self, course: str | None = None) -> list[Exam]:
        query = select(exams).order_by(exams.c.starts_at, exams.c.id)
        return await self._all(Exam, where(query, exams, {"course": course}))

    async def exam(self, exam: str) -> Exam | None:
        return await self._one(Exam, where(select(exams), exams, {"id": exam}))

    async def add_exam(self, exam: Exam) -> bool:
        return await self._add(exams, exam)

    async def remove_exam(self, exam: str) -> bool:
        return await self._remove(exams, exams.c.id == clean_text(exam))

    async def budgets(self, course: str | None = None) -> list[Budget]:
        query = select(budgets).order_by(budgets.c.created_at, budgets.c.id)
        return await self._all(Budget, where(query, budgets, {"course": course}))

    async def budget(self, budget: str) -> Budget | None:
        return await self._one(Budget, where(select(budgets), budgets, {"id": budget}))

    async def add_budget(self, budget: Budget) -> bool:
        return await self._add(budgets, budget)

    async def change_budget(self, budget: str, changes: Changes) -> bool:
        return await self._change(budgets, budgets.c.id == clean_text(budget), changes)

    async def remove_budget(self, budget: str) -> bool:
        """With its balances."""
        return await self._remove(budgets, budgets.c.id == clean_text(budget))

    async def top_ups(self, budget: str) -> Mapping[Balance, int]:
        query = select(budget_top_ups).where(budget_top_ups.c.budget == clean_text(budget))
        async with self._engine.connect() as connection:
            return {Balance(*row[:3]): row[3] for row in await connection.execute(query)}

    async def top_up(self, more: TopUp) -> bool:
        """Add to what the balance was given before. ``False`` when the budget is gone."""
        new = self._insert_new(budget_top_ups).values(
            budget=more.budget, who=clean_text(more.who), period=more.period, amount=more.amount
        )
        added = new.on_conflict_do_update(
            index_elements=["budget", "who", "period"], set_={"amount": budget_top_ups.c.amount + more.amount}
        )
        try:
            async with self._writing() as connection:
                await connection.execute(added)
        except IntegrityError:
            return False
        return True

    async def calibrations(self, course: str | None = None) -> list[Calibration]:
        """By version, the one that holds last."""
        query = select(calibrations).order_by(calibrations.c.course, calibrations.c.version)
        return await self._all(Calibration, where(query, calibrations, {"course": course}))

    async def add_calibration(self, calibration: Calibration) -> bool:
        """``False`` when its course has this version already, or is gone."""
        try:
            async with self._writing() as connection:
                await connection.execute(insert(calibrations), [row_of(calibration)])
        except IntegrityError:
            return False
        return True


async def all_rules(connection: AsyncConnection) -> dict[str, Rules]:
    """The rules of every course."""
    given = [noun_of(Course, row) for row in (await connection.execute(select(courses))).mappings()]
    work: dict[str, dict[str, Assignment]] = defaultdict(dict)
    for row in (await connection.execute(select(assignments))).mappings():
        work[row["course"]][row["id"]] = noun_of(Assignment, row)
    times: dict[str, list[Exam]] = defaultdict(list)
    for row in (await connection.execute(select(exams).order_by(exams.c.starts_at, exams.c.id))).mappings():
        times[row["course"]].append(noun_of(Exam, row))
    money: dict[str, list[Budget]] = defaultdict(list)
    owners: dict[str, str] = {}
    for row in (await connection.execute(select(budgets).order_by(budgets.c.id))).mappings():
        money[row["course"]].append(noun_of(Budget, row))
        owners[row["id"]] = row["course"]
    more: dict[str, dict[Balance, int]] = defaultdict(dict)
    for top_up in await connection.execute(select(budget_top_ups)):
        if top_up[0] in owners:
            more[owners[top_up[0]]][Balance(*top_up[:3])] = top_up[3]
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    listed = select(students.c.course, students.c.id, students.c.section).where(students.c.section.is_not(None))
    for course, student, section in await connection.execute(listed):
        groups[course][student] = section
    taught: dict[str, Calibration] = {}
    for row in (await connection.execute(select(calibrations).order_by(calibrations.c.version))).mappings():
        taught[row["course"]] = noun_of(Calibration, row)
    return {
        course.id: Rules(
            course,
            work[course.id],
            tuple(times[course.id]),
            tuple(money[course.id]),
            more[course.id],
            groups[course.id],
            taught.get(course.id),
        )
        for course in given
    }


def _in(course: str, assignment: str) -> ColumnElement[bool]:
    return (assignments.c.course == clean_text(course)) & (assignments.c.id == clean_text(assignment))
