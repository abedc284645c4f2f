"""The doctor says where limits come from, and what is missing for an account to serve a class."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from lumni.catalogue.doctor import check
from lumni.cli.models import models
from lumni.files import Finding
from tests.catalogue.support import PRICES, TODAY, entry, write

KEYS = {"GROQ_API_KEY": "a", "GROQ_API_KEY_2": "b", "MISTRAL_API_KEY": "c", "GEMINI_API_KEY": "d"}
SOURCE = "cheahjs/free-llm-api-resources e6765bc"
FREE = {"input_cost_per_token": 0, "output_cost_per_token": 0}
MISTRAL = entry("m", "mistral/x", FREE, api_key="os.environ/MISTRAL_API_KEY")
FIRST = entry("a", "groq/big-70b", api_key="os.environ/GROQ_API_KEY")
SECOND = entry("a", "groq/big-70b", api_key="os.environ/GROQ_API_KEY_2")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examine(here: Path, *items: Mapping[str, Any], environ: Mapping[str, str] = KEYS, **accounts: Any) -> list[Finding]:
    content = {"model_list": list(items), "lumni_settings": {"accounts": accounts}}
    return check(write(here, content), environ, today=TODAY, prices=PRICES)


def warnings(findings: list[Finding]) -> list[str]:
    return [finding.what for finding in findings if finding.level != "ok"]


def test_a_personal_account_needs_an_owner(here: Path) -> None:
    """000-05: whom else should it serve?"""
    (told,) = warnings(examine(here, FIRST, groq={"terms": "personal"}))
    assert told.startswith("groq: a personal account needs an owner")
    assert warnings(examine(here, FIRST, groq={"terms": "personal", "owner": "ada"})) == []


@pytest.mark.parametrize("terms", ["class", "organization"])
def test_an_account_that_binds_its_owner_needs_her_consent(here: Path, terms: str) -> None:
    """Only where a provider may train on what is sent, or knows the owner by her telephone number."""
    (told,) = warnings(examine(here, MISTRAL, mistral={"terms": terms}))
    assert told.startswith(f"mistral serves a {terms} without consent: what is sent may be used for training")
    agreed = {"terms": terms, "consent": {"date": "2026-09-01", "by": "Ada"}}
    assert warnings(examine(here, MISTRAL, mistral=agreed)) == []
    assert warnings(examine(here, FIRST, groq={"terms": terms})) == []
    assert warnings(examine(here, MISTRAL)) == []


def test_copilot_is_personal_without_anybody_saying_so(here: Path) -> None:
    """000-05"""
    environ = {"ENABLE_GITHUB_COPILOT": "true"}
    findings = examine(here, entry("c", "github_copilot/gpt-4o"), environ=environ)
    assert "github_copilot is personal: it answers the unified key when asked for by name" in [f.what for f in findings]


def test_where_limits_come_from_is_told(here: Path) -> None:
    """000-20: configured, of the catalogue, or still to be learned."""
    gemini = entry("g", "gemini/gemini-3.5-flash", FREE, api_key="os.environ/GEMINI_API_KEY", rpm=3)
    told = [finding.what for finding in examine(here, FIRST, gemini) if finding.what.startswith("Limits of")]
    assert told == [
        "Limits of groq: learned from answers for a@groq",
        f"Limits of gemini: configured: model_list[1] (g); free tier catalogue 2026-07-18: {SOURCE}",
    ]


def test_keys_that_may_be_one_account_are_told(here: Path) -> None:
    """000-20: Groq counts by organization; nothing is said once they share a quota, or where keys are counted."""
    about = "Groq counts by organization, and there are 2 accounts"
    findings = examine(here, FIRST, SECOND)
    (told,) = [finding for finding in findings if finding.what == about]
    assert told.mend.endswith("the same `shared:` name: groq, groq-2")
    shared = examine(here, FIRST, SECOND, **{"groq": {"shared": "physics"}, "groq-2": {"shared": "physics"}})
    assert about not in [finding.what for finding in shared]


def test_different_numbers_for_one_quota_are_told(here: Path) -> None:
    """000-23: the smaller holds."""
    twice = [
        entry(name, "groq/big-70b", api_key="os.environ/GROQ_API_KEY", rpm=n) for name, n in (("a", 30), ("b", 20))
    ]
    (told,) = warnings(examine(here, *twice))
    assert told == "groq/big-70b has 20 and 30 as its rpm: 20 holds"
    assert warnings(examine(here, twice[0], {**twice[0], "model_name": "c"})) == []


def test_the_models_command_shows_limits(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """000-20: with their pool and their source."""
    app = Typer()
    app.command()(models)
    monkeypatch.setenv("COLUMNS", "220")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    path = str(write(here, {"model_list": [entry("g", "gemini/gemini-3.5-flash", rpm=7), FIRST]}))
    run = CliRunner()
    groq, gemini = json.loads(run.invoke(app, ["--config", path, "--json"]).output)
    assert (groq["account"], groq["limits"]) == ("groq", [])
    assert {limit["limit"]: limit["amount"] for limit in gemini["limits"]} == {"rpm": 7, "rpd": 20, "itpm": 250000}
    assert {limit["pool"] for limit in gemini["limits"]} == {"gemini/gemini-3.5-flash"}
    assert gemini["limits"][0]["source"] == "configured: model_list[0] (g)"
    assert "7 rpm, 20 rpd, 250k itpm" in run.invoke(app, ["--config", path]).output
