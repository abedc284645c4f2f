"""The model list that comes with Lumni, its documentation and its data, against the real price map."""

import re
from pathlib import Path

import pytest
import yaml

from lumni.catalogue.doctor import check, worst
from lumni.catalogue.load import load_catalogue
from lumni.catalogue.model import Catalogue
from lumni.catalogue.price_map import installed_price_map
from lumni.catalogue.providers import KNOWN, provider_named
from lumni.catalogue.retirement import find_retirement, known_retirements
from lumni.config_keys import LATER_KEYS
from lumni.settings import Settings
from lumni.sources import default_model_list
from tests.catalogue.support import TODAY

ROOT = Path(__file__).parents[2]
PROVIDERS = [
    "groq",
    "gemini",
    "deepseek",
    "together_ai",
    "fireworks_ai",
    "cerebras",
    "openrouter",
    "mistral",
    "ollama_chat",
    "openai",
    "anthropic",
    "github_copilot",
    "github",
]
ALL_KEYS = {name: "k" for provider in KNOWN for name in provider.keys}
EVERYTHING = {**ALL_KEYS, "ENABLE_OLLAMA": "true", "ENABLE_GITHUB_COPILOT": "true"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(environ: dict[str, str]) -> Catalogue:
    return load_catalogue(Settings.load(None, environ), environ, today=TODAY)


def test_without_keys_only_the_lab_answers() -> None:
    catalogue = load({})
    assert [deployment.id for deployment in catalogue.enabled] == ["lab-fast", "lab-powerful"]
    assert catalogue.warnings == ()


def test_one_key_switches_on_that_provider_and_no_other() -> None:
    """000-06: with GROQ_API_KEY, Groq's deployments and nothing else, in both tiers."""
    enabled = load({"GROQ_API_KEY": "x"}).enabled
    assert {deployment.provider for deployment in enabled} == {"groq"}
    assert {deployment.tier for deployment in enabled} == {"fast", "powerful"}


def test_every_provider_is_in_the_list() -> None:
    """000-05 to 000-09, 002-01, 003-01 and the union of the Resolutions."""
    catalogue = load(EVERYTHING)
    assert {deployment.provider for deployment in catalogue.deployments} >= set(PROVIDERS)
    off = {deployment.provider for deployment in catalogue.deployments if not deployment.enabled}
    assert off == {"github"}
    tiers = {(deployment.provider, deployment.tier) for deployment in catalogue.enabled}
    for provider in set(PROVIDERS) - {"ollama_chat", "github"}:
        assert {(provider, "fast"), (provider, "powerful")} <= tiers, provider


def test_every_entry_names_its_key_its_id_and_its_tier() -> None:
    entries = yaml.safe_load(default_model_list().read_text())["model_list"]
    for item in entries:
        params, info = item["litellm_params"], item["model_info"]
        provider = provider_named(params["model"].split("/")[0])
        assert {"id", "tier", "priority"} <= info.keys()
        assert provider.keyless or params["api_key"].removeprefix("os.environ/") in provider.keys
    assert len({item["model_info"]["id"] for item in entries}) == len(entries)


def test_the_doctor_has_no_complaint_about_the_list() -> None:
    """Every model is known, priced and alive on the day it was last looked through."""
    findings = check(None, {**EVERYTHING, "GITHUB_TOKEN": "", "GITHUB_API_KEY": ""}, today=TODAY)
    assert worst(findings) == "ok", [finding for finding in findings if finding.level != "ok"]


def test_a_group_is_served_by_several_providers_in_order() -> None:
    """004-01, 004-06: priority 0 first."""
    members = load(EVERYTHING).groups["gpt-oss-120b"]
    assert [member.priority for member in members] == sorted(member.priority for member in members)
    assert len({member.provider for member in members}) >= 3


def test_every_retirement_has_a_successor_that_lives() -> None:
    for retirement in known_retirements():
        assert retirement.source.startswith("https://")
        if retirement.use:
            provider, model_id = retirement.use.split("/", 1)
            assert find_retirement(known_retirements(), provider, model_id) is None, retirement
            assert installed_price_map().find(provider, model_id), retirement


def test_the_example_env_names_every_key_of_the_list() -> None:
    """000-40: .env.example."""
    text = (ROOT / ".env.example").read_text()
    used = set(re.findall(r"os\.environ/(\w+)", default_model_list().read_text()))
    for name in used - {"NAME"}:
        assert re.search(rf"^{name}=", text, re.MULTILINE), name


def test_the_example_env_switches_nothing_on(here: Path) -> None:
    (here / ".env").write_text((ROOT / ".env.example").read_text())
    assert [deployment.id for deployment in load({}).enabled] == ["lab-fast", "lab-powerful"]


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "configuration.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("yaml"))
def test_the_examples_of_the_docs_load_without_a_warning(here: Path, block: str) -> None:
    (here / "litellm_config.yaml").write_text(block)
    environ = {"GROQ_API_KEY": "a", "GROQ_API_KEY_2": "b", "CEREBRAS_API_KEY": "c"}
    assert worst(check(None, environ, today=TODAY)) == "ok"
    assert len(load(environ).enabled) == 3


@pytest.mark.parametrize("block", blocks("json"))
def test_the_config_of_the_docs_loads_without_a_warning(here: Path, block: str) -> None:
    (here / "litellm_config.yaml").write_text("model_list: []")
    (here / "config.json").write_text(block)
    assert worst(check(None, {}, today=TODAY)) == "ok"


def test_the_docs_name_every_key_that_nothing_obeys_yet() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    (sentence,) = re.findall(r"nothing obeys them yet \(.*?\): (.*?)\. An unknown", text, re.DOTALL)
    told = set(re.findall(r"`([\w.]+)`", sentence))
    assert all(any(key == name or key.startswith(f"{name}.") for name in told) for key in LATER_KEYS)
    assert all(any(key == name or key.startswith(f"{name}.") for key in LATER_KEYS) for name in told)
