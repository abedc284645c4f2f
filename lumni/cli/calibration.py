"""``lumni calibration``: what a class taught the classifier, put in force only when somebody says so."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lumni.cli.people import AsJson, Config, show_json, show_one, show_table, with_people

if TYPE_CHECKING:
    from lumni.calibration import Calibration
    from lumni.learning import Lesson, Range
    from lumni.people.service import People

app = typer.Typer(help="Teach the classifier by a course's votes and outcomes.", no_args_is_help=True)

Course = Annotated[str, typer.Argument(help="The course's id, such as cs101-2026.")]

COLUMNS = {
    "version": "version", "created_at": "when", "actor": "by", "weights": "weights", "slope": "slope", "shift": "shift",
    "from": "from",
}  # fmt: skip
FIGURES = {
    "log_loss": "log loss (lower is better)",
    "calibration_error": "calibration error",
    "right": "right labels",
}


@app.command()
def learn(
    course: Course,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far back to look.")] = 120,
    apply: Annotated[bool, typer.Option("--apply", help="Put it in force, if it is better.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what the course's votes and outcomes teach, before and after. Without --apply nothing changes."""
    from lumni.intelligence.weights import shipped
    from lumni.people.service import LOCAL_ADMIN

    async def work(people: "People") -> "tuple[Lesson, Calibration | None]":
        lesson = await people.calibrations.learn(LOCAL_ADMIN, course, shipped().id, days)
        made = await people.calibrations.apply(LOCAL_ADMIN, course, shipped().id, lesson) if apply else None
        return lesson, made

    lesson, made = with_people(config, work)
    if as_json:
        from dataclasses import asdict

        show_json({"lesson": asdict(lesson), "applied": made and _row(made)})
        return
    _draw(lesson)
    if made:
        typer.echo(
            f"In force as version {made.version}. `lumni calibration revert {course} {made.version - 1}` undoes it."
        )
    else:
        typer.echo("Nothing was changed. --apply puts it in force.")


@app.command("list")
def list_(course: Course, config: Config = None, as_json: AsJson = False) -> None:
    """List the course's calibrations. The last one holds."""
    from lumni.people.service import LOCAL_ADMIN

    found = with_people(config, lambda people: people.calibrations.list(LOCAL_ADMIN, course))
    show_table([_row(one) for one in found], COLUMNS, as_json=as_json)


@app.command()
def revert(
    course: Course,
    version: Annotated[int, typer.Argument(min=0, help="The version to return to; 0: none, as shipped.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put an earlier version in force again, as a new one."""
    from lumni.people.service import LOCAL_ADMIN

    made = with_people(config, lambda people: people.calibrations.revert(LOCAL_ADMIN, course, version))
    show_one(_row(made), as_json=as_json)


def _row(one: "Calibration") -> dict[str, Any]:
    from lumni.people.rule_views import calibration_json

    row = calibration_json(one)
    figures = row.pop("figures")
    told = f"{figures['votes']} votes of {figures['people']} people" if "votes" in figures else ""
    return {**row, "from": f"version {figures['reverted_to']}" if "reverted_to" in figures else told}


def _draw(lesson: "Lesson") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    heard = Table("what was heard", "rows", "weak failed", "counts for")
    for source, told in lesson.heard.items():
        heard.add_row(source, str(told.rows), f"{told.failed:.0%}", f"{told.weight:.1f}")
    console.print(heard)
    if lesson.others:
        console.print(f"{lesson.others} answers are left out: other weights than today's judged them.")
    figures = Table("on people left out in making it", "as it is", "corrected")
    for name, title in FIGURES.items():
        figures.add_row(title, _range(getattr(lesson.before, name)), _range(getattr(lesson.after, name)))
    console.print(figures)
    console.print(f"log loss saved: {_range(lesson.saved)} (95 % intervals over people)")
    line = lesson.line
    console.print(f"the correction: log-odds = {line.shift:+.3f} + {line.slope:.3f} x the weights' log-odds")


def _range(one: "Range") -> str:
    return f"{one.value:.3f} \\[{one.low:.3f}, {one.high:.3f}]"
