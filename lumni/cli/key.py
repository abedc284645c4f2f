"""``lumni key``: keys for students, classes, teachers, admins and monitoring systems."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lumni.cli.people import AsJson, Config, show_one, show_table, with_people

if TYPE_CHECKING:
    from lumni.people.keys import NewKey

app = typer.Typer(help="Keys: made, rotated, revoked. A key is shown once.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="The key's id (k-…), as `lumni key list` shows it; not the key itself.")]
COLUMNS = {
    "id": "id", "prefix": "begins with", "role": "role", "course": "course", "student": "student", "name": "name",
    "expires_at": "expires", "revoked_at": "revoked",
}  # fmt: skip


@app.command("list")
def list_(
    course: Annotated[str | None, typer.Option(help="Only those of this course.")] = None,
    student: Annotated[str | None, typer.Option(help="Only those of this student.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List keys, also revoked ones."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import key_json

    found = with_people(config, lambda people: people.keys.list(LOCAL_ADMIN, course, student))
    show_table([key_json(key) for key in found], COLUMNS, as_json=as_json)


@app.command()
def add(
    student: Annotated[str | None, typer.Option(help="For this student (the id).")] = None,
    course: Annotated[str | None, typer.Option(help="For this course: shared by the class, or for a teacher.")] = None,
    role: Annotated[str, typer.Option(help="student, teacher, admin or monitor.")] = "student",
    name: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Only this model; repeat for more.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Upstream calls that may run with it at once.")] = None,
    start: Annotated[str | None, typer.Option(help="Works from this day or moment on (UTC).")] = None,
    assignment: Annotated[str | None, typer.Option(help="Only for this assignment of its course.")] = None,
    expires: Annotated[str | None, typer.Option(help="Works through this day, or until this moment (UTC).")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once."""
    from lumni.cli.failure import explained
    from lumni.people.keys import Terms
    from lumni.people.service import LOCAL_ADMIN, People
    from lumni.people.times import moment

    wanted = _role(role)
    if student is not None and (course is not None or wanted != "student"):
        raise typer.BadParameter("a student's key takes neither --course nor another --role")
    with explained():
        terms = Terms(
            name=name,
            models=tuple(model) if model else None,
            concurrency=concurrency,
            starts_at=moment(start, "UTC", "start") if start else None,
            expires_at=moment(expires, "UTC", "expires", end=True) if expires else None,
            assignment=assignment,
        )

    async def work(people: People) -> "NewKey":
        if student is not None:
            return await people.keys.add_for(LOCAL_ADMIN, student, terms)
        return await people.keys.add(LOCAL_ADMIN, wanted, course, terms)

    _show_new(with_people(config, work), as_json=as_json)


@app.command()
def show(key: Key, config: Config = None, as_json: AsJson = False) -> None:
    """Show what a key is bound to; never the key itself."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import key_json

    show_one(key_json(with_people(config, lambda people: people.keys.get(LOCAL_ADMIN, key))), as_json=as_json)


@app.command()
def rotate(
    key: Key,
    grace: Annotated[float, typer.Option(help="Hours for which the old one works on.")] = 0.0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put a new key in place of an old one and show it, this once."""
    from datetime import timedelta

    from lumni.people.service import LOCAL_ADMIN

    hours = timedelta(hours=min(max(grace, -1.0), 1e6))
    _show_new(with_people(config, lambda people: people.keys.rotate(LOCAL_ADMIN, key, hours)), as_json=as_json)


@app.command()
def revoke(key: Key, config: Config = None, as_json: AsJson = False) -> None:
    """End a key for good; running gateways refuse it within half a second."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import key_json

    show_one(key_json(with_people(config, lambda people: people.keys.revoke(LOCAL_ADMIN, key))), as_json=as_json)


def _role(written: str) -> Any:
    roles = ("student", "teacher", "admin", "monitor")
    if written not in roles:
        raise typer.BadParameter(f"must be one of {', '.join(roles)}", param_hint="--role")
    return written


def _show_new(made: "NewKey", *, as_json: bool) -> None:
    from lumni.people.views import new_key_json

    show_one(new_key_json(made), as_json=as_json)
    if not as_json:
        typer.secho("The key is shown only this once: only its hash is kept.", fg="yellow", err=True)
