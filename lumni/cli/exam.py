"""``lumni exam``: times in which a course has no models, or one only."""

from typing import Annotated, Any

import typer

from lumni.cli.people import AsJson, Config, show_one, show_table, with_people

app = typer.Typer(help="Exams: times without models, or with one only.", no_args_is_help=True)

COLUMNS = {
    "id": "id", "course": "course", "name": "name", "mode": "mode", "starts_at": "from", "ends_at": "until",
    "model": "model", "seed": "seed", "temperature": "temperature",
}  # fmt: skip


@app.command("list")
def list_(
    course: Annotated[str | None, typer.Option(help="Only those of this course.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List exams, also past ones."""
    from lumni.people.rule_views import exam_json
    from lumni.people.service import LOCAL_ADMIN

    found = with_people(config, lambda people: people.exams.list(LOCAL_ADMIN, course))
    show_table([exam_json(one) for one in found], COLUMNS, as_json=as_json)


@app.command()
def add(
    course: Annotated[str, typer.Argument(help="The course's id.")],
    start: Annotated[str, typer.Option(help="When it begins: 2026-12-01 09:00, in the course's time zone.")],
    end: Annotated[str, typer.Option(help="When it ends.")],
    name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The only model; else none answers.")] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the client's.")] = None,
    temperature: Annotated[float | None, typer.Option(help="In place of the client's.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Schedule an exam. It begins and ends by itself; streams that run finish."""
    from lumni.people.rule_views import exam_json
    from lumni.people.service import LOCAL_ADMIN, People
    from lumni.people.times import moment

    async def work(people: People) -> Any:
        zone = (await people.courses.get(LOCAL_ADMIN, course)).time_zone
        return await people.exams.add(
            LOCAL_ADMIN,
            course,
            starts_at=moment(start, zone, "start"),
            ends_at=moment(end, zone, "end", end=True),
            name=name,
            model=model,
            seed=seed,
            temperature=temperature,
        )

    show_one(exam_json(with_people(config, work)), as_json=as_json)


@app.command()
def remove(exam: Annotated[str, typer.Argument(help="The exam's id (e-…).")], config: Config = None) -> None:
    """Remove an exam; one that runs ends at once."""
    from lumni.people.service import LOCAL_ADMIN

    with_people(config, lambda people: people.exams.remove(LOCAL_ADMIN, exam))
