"""``lumni assignment``: pieces of a course's work, each with its window and its models."""

from typing import Annotated, Any

import typer

from lumni.cli.people import AsJson, Config, show_one, show_table, with_people

app = typer.Typer(help="Assignments: when they are open, which models they allow.", no_args_is_help=True)

Course = Annotated[str, typer.Argument(help="The course's id, such as cs101-2026.")]
Assignment = Annotated[str, typer.Argument(help="The assignment's id, such as hw-3.")]
Name = Annotated[str | None, typer.Option(help="Its name for people.")]
Start = Annotated[str | None, typer.Option(help="First day or moment, in the course's time zone.")]
End = Annotated[str | None, typer.Option(help="Last day, or the moment at which it closes.")]
Model = Annotated[list[str] | None, typer.Option("--model", "-m", help="A model that it allows; repeat for more.")]

COLUMNS = {
    "course": "course", "id": "assignment", "name": "name", "starts_at": "opens", "ends_at": "closes",
    "models": "models",
}  # fmt: skip


@app.command("list")
def list_(
    course: Annotated[str | None, typer.Option(help="Only those of this course.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List assignments."""
    from lumni.people.rule_views import assignment_json
    from lumni.people.service import LOCAL_ADMIN

    found = with_people(config, lambda people: people.assignments.list(LOCAL_ADMIN, course))
    show_table([assignment_json(one) for one in found], COLUMNS, as_json=as_json)


@app.command()
def add(
    course: Course,
    assignment: Assignment,
    name: Name = None,
    start: Start = None,
    end: End = None,
    model: Model = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Add an assignment. Requests for it send its id in the header x-lumni-assignment."""
    from lumni.people.rule_views import assignment_json
    from lumni.people.service import LOCAL_ADMIN, People

    async def work(people: People) -> Any:
        zone = (await people.courses.get(LOCAL_ADMIN, course)).time_zone
        return await people.assignments.add(
            LOCAL_ADMIN, course, assignment, **_values(name, start, end, model, zone=zone)
        )

    show_one(assignment_json(with_people(config, work)), as_json=as_json)


@app.command("set")
def set_(
    course: Course,
    assignment: Assignment,
    name: Name = None,
    start: Start = None,
    end: End = None,
    model: Model = None,
    all_models: Annotated[bool, typer.Option("--all-models", help="Allow all that the course does.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; the rest stays."""
    from lumni.people.rule_views import assignment_json
    from lumni.people.service import LOCAL_ADMIN, People

    async def work(people: People) -> Any:
        zone = (await people.courses.get(LOCAL_ADMIN, course)).time_zone
        values = _values(name, start, end, model, zone=zone)
        if all_models:
            values["models"] = None
        return await people.assignments.change(LOCAL_ADMIN, course, assignment, **values)

    show_one(assignment_json(with_people(config, work)), as_json=as_json)


@app.command()
def remove(course: Course, assignment: Assignment, config: Config = None) -> None:
    """Remove an assignment: nothing is let in for it any more."""
    from lumni.people.service import LOCAL_ADMIN

    with_people(config, lambda people: people.assignments.remove(LOCAL_ADMIN, course, assignment))


def _values(
    name: str | None, start: str | None, end: str | None, model: list[str] | None, *, zone: str
) -> dict[str, Any]:
    from lumni.people.times import moment

    given = {
        "name": name,
        "starts_at": moment(start, zone, "start") if start else None,
        "ends_at": moment(end, zone, "end", end=True) if end else None,
        "models": tuple(model) if model else None,
    }
    return {field: value for field, value in given.items() if value is not None}
