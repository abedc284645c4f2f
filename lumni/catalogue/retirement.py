"""Models and providers that no longer answer, from ``data/retired.yaml``."""

import datetime
from collections.abc import Iterable
from functools import cache
from importlib.resources import files as resources
from typing import NamedTuple

import yaml


class Retirement(NamedTuple):
    """``model`` is ``provider/model``, or ``provider/*`` for all of it. ``use`` names a successor and may be empty."""

    model: str
    date: datetime.date
    label: str
    use: str
    source: str

    def covers(self, provider: str, model_id: str) -> bool:
        return self.model in (f"{provider}/*", f"{provider}/{model_id}")

    def sentence(self, today: datetime.date) -> str:
        verb = "was retired" if self.date <= today else "will be retired"
        return f"{self.label} {verb} on {self.date.isoformat()}"

    @property
    def mend(self) -> str:
        return (
            f"Use {self.use} instead ({self.source})" if self.use else f"Remove it from the model list ({self.source})"
        )


def find_retirement(retirements: Iterable[Retirement], provider: str, model_id: str) -> Retirement | None:
    return next((entry for entry in retirements if entry.covers(provider, model_id)), None)


@cache
def known_retirements() -> tuple[Retirement, ...]:
    """The bundled list: every entry has its date and the page that announced it."""
    text = (resources("lumni.catalogue") / "data" / "retired.yaml").read_text(encoding="utf-8")
    return tuple(
        Retirement(
            entry["model"], entry["date"], entry.get("label") or entry["model"], entry.get("use", ""), entry["source"]
        )
        for entry in yaml.safe_load(text)["retired"]
    )
