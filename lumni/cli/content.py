"""``lumni content``: what is kept of a request, looked at on record."""

from typing import Annotated

import typer

from lumni.cli.people import Config, show_json, with_people


def content(
    request_id: Annotated[str, typer.Argument(help="The request's id (req_…), as in `lumni export`.")],
    config: Config = None,
) -> None:
    """Show what is kept of a request's prompt and answer, as JSON. Every look is in the audit log."""
    from lumni.people.privacy import content_json
    from lumni.people.service import LOCAL_ADMIN

    show_json(dict(content_json(with_people(config, lambda people: people.privacy.look(LOCAL_ADMIN, request_id)))))
