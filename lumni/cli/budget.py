"""``lumni budget``: what students, groups and courses may use."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lumni.cli.people import AsJson, Config, show_json, show_one, show_table, with_people

if TYPE_CHECKING:
    from lumni.people.service import People

app = typer.Typer(help="Budgets: requests, tokens or dollars, a period.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The budget's id (b-…).")]
Amount = Annotated[str, typer.Option(help="How much: requests, tokens, or US dollars such as 25.00.")]
Who = Annotated[str | None, typer.Option(help="Only this student (the id) or group (the section).")]

COLUMNS = {
    "id": "id", "course": "course", "amount": "amount", "unit": "unit", "period": "period", "per": "per",
    "who": "who", "assignment": "assignment",
}  # fmt: skip
BALANCES = {
    "who": "who", "period": "period", "spent": "spent", "reserved": "held", "limit": "limit",
    "carried_over": "carried over",
}  # fmt: skip


@app.command("list")
def list_(
    course: Annotated[str | None, typer.Option(help="Only those of this course.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List budgets."""
    from lumni.people.rule_views import budget_json
    from lumni.people.service import LOCAL_ADMIN

    found = with_people(config, lambda people: people.budgets.list(LOCAL_ADMIN, course))
    show_table([budget_json(one) for one in found], COLUMNS, as_json=as_json)


@app.command()
def add(
    course: Annotated[str, typer.Argument(help="The course's id.")],
    amount: Amount,
    unit: Annotated[str, typer.Option(help="requests, tokens or usd (list price).")] = "usd",
    period: Annotated[str, typer.Option(help="day, week, month or total, in the course's time zone.")] = "total",
    per: Annotated[str, typer.Option(help="Who has a balance of their own: student, group or course.")] = "course",
    who: Who = None,
    assignment: Annotated[str | None, typer.Option(help="Only what is asked for this assignment.")] = None,
    carry_over: Annotated[bool, typer.Option("--carry-over", help="Add what is left over to the next period.")] = False,
    economy: Annotated[bool, typer.Option(help="Let automatic choices go by cost when it would end too early.")] = True,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add a budget."""
    from lumni.people.rule_views import budget_json
    from lumni.people.service import LOCAL_ADMIN

    values = {"unit": unit, "period": period, "per": per, "who": who, "assignment": assignment}

    async def work(people: "People") -> Any:
        number = _amount(unit, amount)
        return await people.budgets.add(
            LOCAL_ADMIN, course, amount=number, carry_over=carry_over, economy=economy, **values
        )

    show_one(budget_json(with_people(config, work)), as_json=as_json)


@app.command()
def show(budget: Id, config: Config = None, as_json: AsJson = False) -> None:
    """Show a budget and what is left of it for whom."""
    from lumni.people.rule_views import balance_json, budget_json
    from lumni.people.service import LOCAL_ADMIN

    async def work(people: "People") -> Any:
        return await people.budgets.get(LOCAL_ADMIN, budget), await people.budgets.balances(LOCAL_ADMIN, budget)

    found, views = with_people(config, work)
    balances = [balance_json(view) for view in views]
    if as_json:
        show_json({**budget_json(found), "balances": balances})
        return
    show_one(budget_json(found), as_json=False)
    show_table(balances, BALANCES, as_json=False)


@app.command("set")
def set_(budget: Id, amount: Amount, config: Config = None, as_json: AsJson = False) -> None:
    """Change the amount; it holds at once, also for the period that runs."""
    from lumni.people.rule_views import budget_json
    from lumni.people.service import LOCAL_ADMIN

    async def work(people: "People") -> Any:
        unit = (await people.budgets.get(LOCAL_ADMIN, budget)).unit
        return await people.budgets.change(LOCAL_ADMIN, budget, amount=_amount(unit, amount))

    show_one(budget_json(with_people(config, work)), as_json=as_json)


@app.command("top-up")
def top_up(budget: Id, amount: Amount, who: Who = None, config: Config = None) -> None:
    """Add to the period that runs, for one student or group, or for all."""
    from lumni.people.service import LOCAL_ADMIN

    async def work(people: "People") -> Any:
        unit = (await people.budgets.get(LOCAL_ADMIN, budget)).unit
        return await people.budgets.top_up(LOCAL_ADMIN, budget, _amount(unit, amount), who)

    with_people(config, work)


@app.command()
def reset(budget: Id, who: Who = None, config: Config = None) -> None:
    """Count nothing as spent in the period that runs."""
    from lumni.people.service import LOCAL_ADMIN

    count = with_people(config, lambda people: people.budgets.reset(LOCAL_ADMIN, budget, who))
    typer.echo(f"{count} balances begin anew")


@app.command()
def remove(budget: Id, config: Config = None) -> None:
    """Remove a budget with its balances."""
    from lumni.people.service import LOCAL_ADMIN

    with_people(config, lambda people: people.budgets.remove(LOCAL_ADMIN, budget))


def _amount(unit: str, written: str) -> int:
    """Raises :class:`LumniError`."""
    from decimal import Decimal, InvalidOperation

    from lumni.errors import InvalidRequest
    from lumni.money import from_usd

    try:
        return from_usd(Decimal(written)) if unit == "usd" else int(written)
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidRequest(f"amount: {written!r} is no amount of {unit}.", param="amount") from None
