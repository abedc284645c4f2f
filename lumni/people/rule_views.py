"""What teachers see of assignments, exams, budgets, corrections and the audit log: JSON, for routes and commands."""

from datetime import datetime

from lumni.budget import Budget, Unit
from lumni.calibration import Calibration
from lumni.classroom import Act, Assignment, Exam
from lumni.money import to_usd
from lumni.people.budgets import BalanceView
from lumni.types import Json


def assignment_json(assignment: Assignment) -> Json:
    return {
        "id": assignment.id,
        "course": assignment.course,
        "name": assignment.name,
        "starts_at": _time(assignment.starts_at),
        "ends_at": _time(assignment.ends_at),
        "models": None if assignment.models is None else list(assignment.models),
        "created_at": _time(assignment.created_at),
    }


def exam_json(exam: Exam) -> Json:
    """``mode`` is ``closed`` or ``pinned``."""
    return {
        "id": exam.id,
        "course": exam.course,
        "name": exam.name,
        "mode": "closed" if exam.model is None else "pinned",
        "starts_at": _time(exam.starts_at),
        "ends_at": _time(exam.ends_at),
        "model": exam.model,
        "seed": exam.seed,
        "temperature": exam.temperature,
        "created_at": _time(exam.created_at),
    }


def budget_json(budget: Budget) -> Json:
    """``amount`` of dollars is a decimal string."""
    return {
        "id": budget.id,
        "course": budget.course,
        "unit": budget.unit,
        "amount": amount_json(budget.unit, budget.amount),
        "period": budget.period,
        "per": budget.per,
        "who": budget.who,
        "assignment": budget.assignment,
        "carry_over": budget.carry_over,
        "economy": budget.economy,
        "created_at": _time(budget.created_at),
    }


def balance_json(view: BalanceView) -> Json:
    unit, state = view.budget.unit, view.state
    return {
        "who": view.balance.who,
        "period": view.balance.period,
        "spent": amount_json(unit, state.spent),
        "reserved": amount_json(unit, state.reserved),
        "limit": amount_json(unit, view.limit),
        "carried_over": amount_json(unit, state.carried),
    }


def calibration_json(calibration: Calibration) -> Json:
    """``figures`` are those of the lesson, or say what it was reverted to."""
    return {
        "course": calibration.course,
        "version": calibration.version,
        "created_at": _time(calibration.created_at),
        "actor": calibration.actor,
        "weights": calibration.weights,
        "slope": calibration.slope,
        "shift": calibration.shift,
        "figures": dict(calibration.figures),
    }


def act_json(act: Act) -> Json:
    return {
        "id": act.id,
        "at": _time(act.at),
        "actor": act.actor,
        "role": act.role,
        "action": act.action,
        "subject": act.subject,
        "course": act.course,
        "details": dict(act.details),
    }


def amount_json(unit: Unit, amount: int) -> int | str:
    """Dollars as a decimal string, requests and tokens as numbers."""
    return f"{to_usd(amount):f}" if unit == "usd" else amount


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
