"""``lumni course``: classes that share the pool."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lumni.cli.people import AsJson, Config, show_one, show_table, with_people

if TYPE_CHECKING:
    from lumni.people.courses import CourseView

app = typer.Typer(help="Courses: when they run, which models they may use.", no_args_is_help=True)

Course = Annotated[str, typer.Argument(help="The course's id, such as cs101-2026.")]
Name = Annotated[str | None, typer.Option(help="Its name for people.")]
Start = Annotated[str | None, typer.Option(help="First day (2026-09-01) or moment (2026-09-01 08:00), local time.")]
End = Annotated[str | None, typer.Option(help="Last day, or the moment at which it ends.")]
Zone = Annotated[str | None, typer.Option(help="Time zone, such as Europe/Berlin; UTC if not given.")]
Model = Annotated[list[str] | None, typer.Option("--model", "-m", help="A model that it may use; repeat for more.")]
Privacy = Annotated[str | None, typer.Option(help="What of prompts and answers is stored: none, hash, redacted, full.")]
KeepDays = Annotated[int | None, typer.Option(help="Days after which content and owners are forgotten; 0: never.")]
Weight = Annotated[float | None, typer.Option(help="Share of each of its students, relative to other courses'.")]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--selection-weight", help="Of a part by which models are ranked: cost_efficiency=1; repeat for more."
    ),
]
Priority = Annotated[int | None, typer.Option(help="Courses of a higher one are served first.")]

COLUMNS = {
    "id": "course", "name": "name", "starts_at": "starts", "ends_at": "ends", "models": "models",
    "students": "students", "claim_code": "claim code",
}  # fmt: skip


@app.command("list")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """List all courses."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import course_json

    views = with_people(config, lambda people: people.courses.list(LOCAL_ADMIN))
    show_table([course_json(view) for view in views], COLUMNS, as_json=as_json)


@app.command()
def add(
    course: Course,
    name: Name = None,
    start: Start = None,
    end: End = None,
    zone: Zone = None,
    model: Model = None,
    privacy: Privacy = None,
    keep_days: KeepDays = None,
    weight: Weight = None,
    priority: Priority = None,
    selection_weight: Weights = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add a course. Its students claim their keys with the claim code that is shown."""
    from lumni.cli.failure import explained
    from lumni.people.service import LOCAL_ADMIN

    with explained():
        values = _values(name, start, end, zone, model, privacy, keep_days, weight, priority, in_zone=zone or "UTC")
        values |= _weights(selection_weight)
    _show(with_people(config, lambda people: people.courses.add(LOCAL_ADMIN, course, **values)), as_json=as_json)


@app.command()
def show(course: Course, config: Config = None, as_json: AsJson = False) -> None:
    """Show a course with its claim code."""
    from lumni.people.service import LOCAL_ADMIN

    _show(with_people(config, lambda people: people.courses.show(LOCAL_ADMIN, course)), as_json=as_json)


@app.command("set")
def set_(
    course: Course,
    name: Name = None,
    start: Start = None,
    end: End = None,
    zone: Zone = None,
    model: Model = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="Allow all models again.")] = False,
    privacy: Privacy = None,
    keep_days: KeepDays = None,
    weight: Weight = None,
    priority: Priority = None,
    selection_weight: Weights = None,
    usual_weights: Annotated[bool, typer.Option("--usual-weights", help="Rank models as for all again.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; the rest stays."""
    from lumni.people.service import LOCAL_ADMIN, People

    async def work(people: People) -> "CourseView":
        before = await people.courses.get(LOCAL_ADMIN, course)
        in_zone = zone or before.time_zone
        values = _values(name, start, end, zone, model, privacy, keep_days, weight, priority, in_zone=in_zone)
        values |= _weights(selection_weight)
        if all_models:
            values["models"] = None
        if usual_weights:
            values["selection_weights"] = None
        return await people.courses.change(LOCAL_ADMIN, course, **values)

    _show(with_people(config, work), as_json=as_json)


@app.command()
def code(
    course: Course,
    new: Annotated[bool, typer.Option("--new", help="Make a new code; the old one opens nothing any more.")] = False,
    close: Annotated[bool, typer.Option("--close", help="Let nobody claim a key until there is a new code.")] = False,
    config: Config = None,
) -> None:
    """Print the claim code, make a new one, or close claims."""
    from lumni.people.service import LOCAL_ADMIN, People

    async def work(people: People) -> "CourseView":
        if close:
            return await people.courses.close_claims(LOCAL_ADMIN, course)
        if new:
            return await people.courses.renew_claim_code(LOCAL_ADMIN, course)
        return await people.courses.show(LOCAL_ADMIN, course)

    if new and close:
        raise typer.BadParameter("--new and --close contradict each other")
    typer.echo(with_people(config, work).claim_code or "closed: nobody can claim a key")


def _values(
    name: str | None,
    start: str | None,
    end: str | None,
    zone: str | None,
    model: list[str] | None,
    privacy: str | None,
    keep_days: int | None,
    weight: float | None,
    priority: int | None,
    *,
    in_zone: str,
) -> dict[str, Any]:
    """The fields of a course that were given. Raises :class:`LumniError`."""
    from lumni.people.times import moment

    given = {
        "name": name,
        "starts_at": moment(start, in_zone, "start") if start else None,
        "ends_at": moment(end, in_zone, "end", end=True) if end else None,
        "time_zone": zone,
        "models": tuple(model) if model else None,
        "privacy": privacy,
        "weight": weight,
        "priority": priority,
    }
    values = {field: value for field, value in given.items() if value is not None}
    return values if keep_days is None else {**values, "retention_days": keep_days or None}


def _weights(given: list[str] | None) -> dict[str, Any]:
    """The field for ``--selection-weight``, if it was given. Raises :class:`LumniError`."""
    from lumni.gateway.explaining import written

    return {"selection_weights": written((), given)[1]} if given else {}


def _show(view: "CourseView", *, as_json: bool) -> None:
    from lumni.people.views import course_json

    show_one(course_json(view), as_json=as_json)
    if view.unknown_models and not as_json:
        names = ", ".join(view.unknown_models)
        typer.secho(f"No model here is called: {names}. `lumni models` lists them.", fg="yellow", err=True)
