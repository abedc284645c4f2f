"""``lumni audit``: who did what."""

from typing import Annotated

import typer

from lumni.cli.people import AsJson, Config, show_table, with_people

COLUMNS = {
    "at": "when", "actor": "by", "action": "what", "subject": "to what", "course": "course", "details": "details",
}  # fmt: skip


def audit(
    course: Annotated[str | None, typer.Option(help="Only what was done in this course.")] = None,
    last: Annotated[int, typer.Option(help="How many entries, the latest first.")] = 50,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show every administrative act and every look at content, the latest first."""
    from lumni.people.rule_views import act_json
    from lumni.people.service import LOCAL_ADMIN

    acts = with_people(config, lambda people: people.audit.list(LOCAL_ADMIN, course, limit=last))
    show_table([act_json(act) for act in acts], COLUMNS, as_json=as_json)
