"""The short form: providers with their accounts, models with their names at each."""

from pathlib import Path

import pytest
import yaml

from lumni.files import ConfigurationError
from tests.catalogue.support import load

CONTENT = """
providers:
  primary: {type: groq, api_key: "${GROQ_A}"}
  backup: {type: groq, api_key: "${GROQ_B}"}
  gemini: {api_key: "${GEMINI:-default-key}", base_url: "http://mock/v1"}
models:
  big:
    owned_by: meta
    created: 7
    providers:
      backup: {priority: 1, model_id: big-70b}
      primary: {priority: 0, model_id: big-70b}
      gemini: {priority: 2}
"""
ENVIRON = {"GROQ_A": "a", "GROQ_B": "b"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_short_form_becomes_the_same_deployments(here: Path) -> None:
    """004-15 to 004-20: unified names, a model id for each provider, two keys of one type, priorities, defaults."""
    catalogue = load(here, CONTENT, ENVIRON)
    assert catalogue.warnings == ()
    members = catalogue.groups["big"]
    assert [(d.id, d.account, d.priority) for d in members] == [
        ("big@primary", "primary", 0),
        ("big@backup", "backup", 1),
        ("big@gemini", "gemini", 2),
    ]
    assert [d.params["api_key"] for d in members] == ["a", "b", "default-key"]
    assert [d.model for d in members] == ["groq/big-70b", "groq/big-70b", "gemini/big"]
    assert members[2].params["api_base"] == "http://mock/v1"
    assert {(d.owned_by, d.created) for d in members} == {("meta", 7)}


def test_a_missing_key_takes_out_only_its_account(here: Path) -> None:
    """004-02: the backup provider stays."""
    catalogue = load(here, CONTENT, {"GROQ_B": "b"})
    assert [d.id for d in catalogue.groups["big"]] == ["big@backup", "big@gemini"]
    assert catalogue.by_id["big@primary"].disabled == "GROQ_A is not set"


@pytest.mark.parametrize("place", ["providers.primary", "models.big", "models.big.providers.primary"])
def test_enabled_false_switches_off(here: Path, place: str) -> None:
    """004-15: a provider instance can be disabled."""
    content = yaml.safe_load(CONTENT)
    target = content
    for step in place.split("."):
        target = target[step]
    target["enabled"] = False
    assert (
        load(here, content, ENVIRON).by_id["big@primary"].disabled == "The model list switches it off (enabled: false)"
    )


def test_an_unknown_account_is_told_with_the_nearest_name(here: Path) -> None:
    content = {"providers": {"groq": {"api_key": "k"}}, "models": {"m": {"providers": {"grok": {"model_id": "x"}}}}}
    with pytest.raises(ConfigurationError, match="Did you mean `groq`"):
        load(here, content)


def test_other_names_of_a_provider_are_understood(here: Path) -> None:
    content = {"providers": {"x": {"type": "together", "api_key": "k"}}, "models": {"m": {"providers": {"x": {}}}}}
    assert load(here, content).deployments[0].model == "together_ai/m"


def test_both_forms_may_stand_in_one_file(here: Path) -> None:
    content = CONTENT + "model_list:\n- {model_name: big, litellm_params: {model: groq/big-70b, api_key: c}}\n"
    assert len(load(here, content, ENVIRON).groups["big"]) == 4
