"""``lumni student``: who is on a course's roster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lumni.cli.people import AsJson, Config, show_json, show_one, show_table, with_people

if TYPE_CHECKING:
    from lumni.people.enrolment import Enrolment

app = typer.Typer(help="Students: rosters of courses.", no_args_is_help=True)

Student = Annotated[str, typer.Argument(help="The student's id (a pseudonym), as `lumni student list` shows it.")]
Course = Annotated[str, typer.Argument(help="The course's id.")]
COLUMNS = {
    "id": "student", "course": "course", "email": "e-mail", "name": "name", "section": "section",
    "claimed_at": "has a key since", "left_at": "left",
}  # fmt: skip


@app.command("list")
def list_(
    course: Annotated[str | None, typer.Option(help="Only those of this course.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List students, also who left."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import student_json

    found = with_people(config, lambda people: people.students.list(LOCAL_ADMIN, course))
    show_table([student_json(student) for student in found], COLUMNS, as_json=as_json)


@app.command()
def add(
    course: Course,
    email: Annotated[str, typer.Argument(help="The e-mail address with which the student claims a key.")],
    name: Annotated[str | None, typer.Option(help="Name.")] = None,
    section: Annotated[str | None, typer.Option(help="Section or group.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put one student on a roster."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import student_json

    made = with_people(
        config, lambda people: people.students.add(LOCAL_ADMIN, course, email, name=name, section=section)
    )
    show_one(student_json(made), as_json=as_json)


@app.command()
def show(student: Student, config: Config = None, as_json: AsJson = False) -> None:
    """Show a student."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import student_json

    found = with_people(config, lambda people: people.students.get(LOCAL_ADMIN, student))
    show_one(student_json(found), as_json=as_json)


@app.command()
def remove(student: Student, config: Config = None, as_json: AsJson = False) -> None:
    """Take a student off the roster; the keys stop working."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import student_json

    found = with_people(config, lambda people: people.students.remove(LOCAL_ADMIN, student))
    show_one(student_json(found), as_json=as_json)


@app.command()
def restore(student: Student, config: Config = None, as_json: AsJson = False) -> None:
    """Put a student back on the roster; the keys work again."""
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import student_json

    found = with_people(config, lambda people: people.students.restore(LOCAL_ADMIN, student))
    show_one(student_json(found), as_json=as_json)


@app.command("import")
def import_(
    course: Course,
    file: Annotated[Path, typer.Argument(help="CSV as Canvas, Moodle or Google Classroom export it.", exists=True)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Make keys for new students, into this new CSV file.")
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Completes logins to e-mail addresses: school.edu.")] = None,
    remove_absent: Annotated[
        bool, typer.Option("--remove-absent", help="Take off the roster who is not in the file.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Bring a course to what a roster says. Doing it again changes nothing."""
    from lumni.people.roster import decode, parse
    from lumni.people.service import LOCAL_ADMIN
    from lumni.people.views import enrolment_json

    if keys is not None and keys.exists():
        raise typer.BadParameter(f"{keys} is there already; keys are never written over", param_hint="--keys")
    roster = parse(decode(file.read_bytes()), domain=domain)
    done = with_people(
        config,
        lambda people: people.enrolments.enrol(
            LOCAL_ADMIN, course, roster, dry_run=dry_run, make_keys=keys is not None, remove_absent=remove_absent
        ),
    )
    if keys is not None and not dry_run:
        _write_keys(keys, done)
    if as_json:
        show_json(enrolment_json(done))
    else:
        _tell(done, keys)


@app.command()
def erase(
    student: Annotated[str, typer.Argument(help="The student's id (s-…).")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    config: Config = None,
) -> None:
    """Forget a student for good: name, address, keys, content, and whose her records are."""
    from lumni.people.service import LOCAL_ADMIN

    if not yes:
        typer.confirm(f"{student} can't be brought back. Erase?", abort=True)
    with_people(config, lambda people: people.privacy.erase(LOCAL_ADMIN, student))


def _write_keys(path: Path, done: "Enrolment") -> None:
    """The new keys into a file for its owner alone; on the screen if that fails, since they exist nowhere else."""
    import os

    from lumni.people.enrolment import keys_csv

    text = keys_csv(done.keys)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        typer.secho(f"{path} can't be written ({error.strerror}). The keys, shown only this once:", fg="red", err=True)
        typer.echo(text)
        raise typer.Exit(1) from None


def _tell(done: "Enrolment", keys: Path | None) -> None:
    will = "would be " if done.dry_run else ""
    for students, verb in ((done.added, "added"), (done.changed, "changed"), (done.returned, "put back")):
        for student in students:
            typer.echo(f"{will}{verb}: {student.email} {student.name or ''}".rstrip())
    for student in done.absent:
        verb = f"{will}removed" if done.removed else "not in the file, stays"
        typer.echo(f"{verb}: {student.email} {student.name or ''}".rstrip())
    counts = (
        f"{len(done.added)} new, {len(done.changed)} changed, {len(done.returned)} back, {done.unchanged} unchanged"
    )
    typer.echo(f"{counts}{' (nothing was done)' if done.dry_run else ''}.")
    if keys is not None and not done.dry_run:
        typer.echo(f"{len(done.keys)} keys are in {keys}, and nowhere else.")
