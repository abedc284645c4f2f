"""``lumni`` on the command line."""

import typer

from lumni.cli.alerts import app as alerts
from lumni.cli.ask import ask
from lumni.cli.assignment import app as assignment
from lumni.cli.audit import audit
from lumni.cli.budget import app as budget
from lumni.cli.cache import app as cache
from lumni.cli.calibration import app as calibration
from lumni.cli.classify import classify
from lumni.cli.content import content
from lumni.cli.course import app as course
from lumni.cli.db import app as db
from lumni.cli.doctor import doctor
from lumni.cli.exam import app as exam
from lumni.cli.experiment import app as experiment
from lumni.cli.explain import explain
from lumni.cli.key import app as key
from lumni.cli.lab import app as lab
from lumni.cli.models import models
from lumni.cli.portkey import app as portkey
from lumni.cli.quota import quota
from lumni.cli.receipt import app as receipt
from lumni.cli.serve import serve
from lumni.cli.setting import app as setting
from lumni.cli.student import app as student
from lumni.cli.train import train
from lumni.cli.usage import export, report, usage

# Typer's rich help costs more time than everything else that `lumni --help` does.
app = typer.Typer(
    name="lumni",
    help="An OpenAI-compatible LLM gateway for teaching.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (serve, doctor, models, quota, ask, explain, classify, audit, content, train, usage, report, export):
    app.command()(command)
groups = {
    "course": course, "student": student, "key": key, "assignment": assignment, "exam": exam, "budget": budget,
    "db": db, "receipt": receipt, "lab": lab, "portkey": portkey, "alerts": alerts, "experiment": experiment,
    "cache": cache, "calibration": calibration, "setting": setting,
}  # fmt: skip
for name, group in groups.items():
    app.add_typer(group, name=name)


def main() -> None:
    """The console script's entry point."""
    app()


if __name__ == "__main__":
    main()
