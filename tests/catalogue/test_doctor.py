"""The doctor sees what is wrong, grades it, and says how to mend it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner

from lumni.catalogue.doctor import check, worst
from lumni.cli.doctor import doctor
from lumni.cli.models import models
from lumni.files import Finding
from tests.catalogue.support import PRICES, TODAY, entry, write

KEY = {"GROQ_API_KEY": "k"}
HEALTHY = {"model_list": [entry("big", "groq/big-70b", api_key="os.environ/GROQ_API_KEY")]}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examine(here: Path, content: Mapping[str, Any] | str, environ: Mapping[str, str] | None = None) -> list[Finding]:
    return check(write(here, content), KEY if environ is None else environ, today=TODAY, prices=PRICES)


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level != "ok"]


def test_a_healthy_configuration_has_no_complaint(here: Path) -> None:
    findings = examine(here, HEALTHY)
    assert worst(findings) == "ok"
    assert any("1 deployments of 1 providers" in finding.what for finding in findings)


def models_with(**changes: Any) -> dict[str, Any]:
    return {**HEALTHY, **changes}


def with_model(*args: Any, **params: Any) -> dict[str, Any]:
    return {"model_list": [*HEALTHY["model_list"], entry(*args, **params)]}


@pytest.mark.parametrize(
    ("content", "environ", "level", "what", "mend"),
    [
        (models_with(litellm_setings={}), KEY, "warning", "litellm_setings", "litellm_settings"),
        (models_with(lumni_settings={"prot": 1}), KEY, "warning", "lumni_settings.prot", "`port`"),
        (with_model("x", "groq/big-70"), KEY, "warning", "does not know the model `groq/big-70`", "groq/big-70b"),
        (with_model("x", "grok/x", api_key="k"), KEY, "warning", "no provider `grok`", "`groq`"),
        (with_model("x", "cerebras/x", api_key="k"), KEY, "warning", "no price is known", "input_cost_per_token"),
        (with_model("x", "groq/llama-3.1-8b-instant"), KEY, "warning", "was retired on 2026-08-16", "gpt-oss-20b"),
        (
            with_model("x", "github/gpt-4o"),
            {**KEY, "GITHUB_TOKEN": "t"},
            "warning",
            "was retired on 2026-07-30",
            "Remove",
        ),
        (
            with_model("x", "gemini/gemini-2.5-flash", api_key="k"),
            KEY,
            "warning",
            "will be retired on 2026-12-01",
            "3.5",
        ),
        (
            with_model("x", "groq/old-8b", {"input_cost_per_token": 0, "output_cost_per_token": 0}),
            KEY,
            "warning",
            "it ended on 2026-01-01",
            "replace",
        ),
        (
            {"model_list": [entry("x", "groq/big-70b", {"id": "i"}), entry("x", "groq/big-70b", {"id": "i"})]},
            KEY,
            "warning",
            "the id `i` is taken",
            "Give it its own id",
        ),
        (with_model("x", "groq/big-70b", api_base="gpu:80"), KEY, "error", "its api_base is no URL", "https://"),
        (models_with(router_settings={"fallbacks": ["big", "bug"]}), KEY, "warning", "`bug` is no model group", ""),
        (models_with(router_settings={"cooldown_time": 1}), KEY, "warning", "cooldown_time is not used", ""),
        (
            models_with(litellm_settings={"success_callback": ["portkey"]}),
            KEY,
            "warning",
            "portkey needs PORTKEY_API_KEY",
            ".env",
        ),
        (HEALTHY, {**KEY, "UNIFIED_API_KEY": "short"}, "warning", "unified_api_key is shorter", "openssl"),
        (HEALTHY, {"ENABLE_GROQ": "true"}, "warning", "ENABLE_GROQ is on, but GROQ_API_KEY is not set", "GROQ_API_KEY"),
        (HEALTHY, {"ENABLE_LAB": "off"}, "error", "No model can be called", "GROQ_API_KEY"),
        ({"model_list": []}, {"ENABLE_LAB": "off"}, "error", "No model can be called", "ENABLE_LAB=on"),
        (HEALTHY, {**KEY, "DATABASE_URL": "mysql://h"}, "error", "database_url", "Mend"),
        (HEALTHY, {**KEY, "REDIS_URL": "http://h"}, "error", "redis_url", "Mend"),
        ("model_list: [", KEY, "error", "line 2", "indentation"),
        ({"model_list": [{}]}, KEY, "error", "model_list[0] is no model", "litellm_params"),
    ],
)
def test_each_fault_is_found_with_its_cure(
    here: Path, content: Mapping[str, Any] | str, environ: Mapping[str, str], level: str, what: str, mend: str
) -> None:
    findings = bad(examine(here, content, environ))
    found = [finding for finding in findings if what in finding.what]
    assert len(found) == 1, findings
    assert found[0].level == level
    assert mend in found[0].mend or mend in found[0].what


def test_an_unwritable_data_dir_is_an_error(here: Path) -> None:
    (here / "file").write_text("")
    findings = examine(here, HEALTHY, {**KEY, "DATA_DIR": str(here / "file" / "below")})
    assert [finding.what for finding in findings if finding.level == "error"] == [
        f"data_dir: {here}/file is not a directory"
    ]


def test_a_model_that_states_its_price_is_no_complaint(here: Path) -> None:
    """An unknown model is fine where its owner says what it costs."""
    info = {"input_cost_per_token": 0, "output_cost_per_token": 0}
    assert bad(examine(here, with_model("x", "groq/brand-new", info))) == []


def test_a_retired_provider_that_nobody_configured_is_no_warning(here: Path) -> None:
    assert bad(examine(here, with_model("x", "github/gpt-4o"))) == []


def test_an_unknown_provider_of_config_json_is_told(here: Path) -> None:
    write(here, HEALTHY)
    config = here / "config.json"
    config.write_text(json.dumps({"litellm": {"configPath": "models.yaml"}, "providers": {"grooq": {}}}))
    (finding,) = bad(check(config, KEY, today=TODAY, prices=PRICES))
    assert finding == Finding("warning", "providers.grooq is no known provider", "Did you mean `groq`?")


APP = Typer()
APP.command()(doctor)
APP.command()(models)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_TOKEN")) or name.startswith(("ENABLE_", "LUMNI_")):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("clean_environment")
def test_the_command_exits_with_1_on_errors(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write(here, {"model_list": []}))
    run = CliRunner()
    fine = run.invoke(APP, ["doctor", "--config", path, "--json"])
    assert fine.exit_code == 0
    assert {finding["level"] for finding in json.loads(fine.output)} == {"ok"}
    monkeypatch.setenv("ENABLE_LAB", "off")
    broken = run.invoke(APP, ["doctor", "--config", path])
    assert broken.exit_code == 1
    assert "No model can be called" in broken.output


@pytest.mark.usefixtures("clean_environment")
def test_the_models_command_shows_state_and_price(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("GROQ_API_KEY", "k")
    content = {"model_list": [entry("oss", "groq/openai/gpt-oss-20b"), entry("gem", "gemini/gemini-3.5-flash")]}
    path = str(write(here, content))
    run = CliRunner()
    rows = json.loads(run.invoke(APP, ["models", "--config", path, "--json"]).output)
    assert [(row["group"], row["enabled"]) for row in rows] == [("gem", False), ("oss", True)]
    assert rows[0]["disabled"] == "GEMINI_API_KEY is not set"
    assert rows[1]["prompt_usd_per_million"] == pytest.approx(0.075)
    table = run.invoke(APP, ["models", "--config", path]).output
    assert "off: GEMINI_API_KEY is not set" in table
    assert "0.075 / 0.3 (free tier)" in table


@pytest.mark.usefixtures("clean_environment")
def test_the_models_command_explains_a_bad_list(here: Path) -> None:
    path = write(here, yaml.safe_dump({"model_list": [{}]}))
    result = CliRunner().invoke(APP, ["models", "--config", str(path)])
    assert result.exit_code == 1
    assert "model_list[0] is no model" in result.output
