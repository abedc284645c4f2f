"""What teachers and admins may send about assignments, exams and budgets."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from lumni.api.people_schemas import BEGIN, END, Closed, Models, Moment, Whole, Words

AssignmentName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Dollars = Annotated[str, StringConstraints(pattern=r"^-?\d{1,9}(\.\d{1,9})?$")]
Count = Annotated[Whole, Field(ge=-(10**18), le=10**18)]
Amount = Annotated[
    Count | Dollars,
    Field(
        examples=["25.00", 1000],
        description="Requests or tokens as a number; US dollars as a decimal string.",
    ),
]


class AssignmentChanges(Closed):
    """What may be changed of an assignment; what is left out stays."""

    name: Words = Field("", description="Its name for people.")
    starts_at: Moment | None = Field(None, examples=[BEGIN], description="Requests for it are let in from here on.")
    ends_at: Moment | None = Field(None, examples=[END], description="… and before this moment.")
    models: Models | None = Field(None, description="Models that may be used for it, of those that the course allows.")


class NewAssignment(AssignmentChanges):
    """A new assignment."""

    id: AssignmentName = Field(description="Short name, such as `hw-3`: what `x-lumni-assignment` says.")


class NewExam(Closed):
    """A time without models, or with one only."""

    starts_at: Moment = Field(examples=[BEGIN])
    ends_at: Moment = Field(examples=[END])
    name: Words | None = None
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = Field(
        None, description="The only model that answers; `null`: none does."
    )
    seed: Whole | None = Field(None, ge=-(2**63), lt=2**63, description="In place of the client's.")
    temperature: float | None = Field(None, ge=0, le=2, description="In place of the client's.")


class BudgetChanges(Closed):
    """What may be changed of a budget; what is left out stays."""

    amount: Amount = 0
    carry_over: bool = Field(False, description="Add what a period leaves over, at most `amount`, to the next one.")
    economy: bool = Field(True, description="Let automatic choices go by cost when it would end before its time.")


class NewBudget(BudgetChanges):
    """A new budget."""

    unit: Literal["requests", "tokens", "usd"]
    amount: Amount
    period: Literal["day", "week", "month", "total"] = Field("total", description="In the course's time zone.")
    per: Literal["student", "group", "course"] = Field("course", description="Who has a balance of their own.")
    who: Words | None = Field(None, description="Only this student (the id) or group (the section).")
    assignment: AssignmentName | None = Field(None, description="Only what is asked for this assignment.")


class TopUp(Closed):
    """More for the period that runs."""

    amount: Amount
    who: Words | None = Field(None, description="For this student or group; without it for all.")


class Reset(Closed):
    """Whose balance begins anew."""

    who: Words | None = Field(None, description="This student's or group's; without it all.")


def in_unit(unit: str, given: int | str) -> int:
    """The amount as it is kept: dollars in nano-dollars. Raises ``ValueError`` for a unit that it can't be of."""
    if unit == "usd":
        return int(Decimal(given).scaleb(9))
    if isinstance(given, str):
        raise ValueError(f"{unit} are counted in whole numbers")
    return given
