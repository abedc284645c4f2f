"""A model list becomes deployments: enabled by their keys, named readably, with what is known of each model."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lumni.files import ConfigurationError
from lumni.money import to_usd
from tests.catalogue.support import entry, load

SECRET = "gsk_s3cret"
GROQ = {"GROQ_API_KEY": SECRET}
KEY = "os.environ/GROQ_API_KEY"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_litellms_form_is_honoured(here: Path) -> None:
    """001-38: model_name, litellm_params.model and api_key: os.environ/NAME; 001-24: keys come from the environment."""
    catalogue = load(here, {"model_list": [entry("big", "groq/big-70b", api_key=KEY)]}, GROQ)
    (deployment,) = catalogue.deployments
    assert deployment.enabled
    assert (deployment.id, deployment.group, deployment.provider, deployment.account) == (
        "big@groq",
        "big",
        "groq",
        "groq",
    )
    assert deployment.params == {"model": "groq/big-70b", "api_key": SECRET}
    assert catalogue.warnings == ()
    assert catalogue.resolve("big") == (deployment,)


def test_what_is_known_of_a_model_comes_from_the_price_map(here: Path) -> None:
    (model,) = load(here, {"model_list": [entry("big", "groq/big-70b", api_key=KEY)]}, GROQ).deployments
    assert model.price
    assert (to_usd(model.price.prompt), to_usd(model.price.completion)) == (Decimal("0.59"), Decimal("0.79"))
    can = model.capabilities
    assert (can.context_window, can.max_output, can.tools, can.vision) == (131072, 32768, True, False)
    assert can.json_schema is None
    assert model.tier == "powerful"
    assert model.free


def test_an_entry_overrides_the_price_map(here: Path) -> None:
    info = {
        "input_cost_per_token": 0,
        "output_cost_per_token": "0.000001",
        "max_input_tokens": 1000,
        "supports_vision": True,
        "tier": "fast",
        "free": False,
        "created": 5,
        "owned_by": "meta",
    }
    (model,) = load(here, {"model_list": [entry("big", "groq/big-70b", info, api_key=KEY)]}, GROQ).deployments
    assert model.price
    assert (to_usd(model.price.prompt), to_usd(model.price.completion)) == (Decimal(0), Decimal(1))
    assert (model.capabilities.context_window, model.capabilities.vision) == (1000, True)
    assert (model.tier, model.free, model.created, model.owned_by) == ("fast", False, 5, "meta")


def test_a_model_that_nobody_knows_stays_unknown(here: Path) -> None:
    (model,) = load(here, {"model_list": [entry("x", "groq/novel", api_key=KEY)]}, GROQ).deployments
    assert model.price is None
    assert model.capabilities.tools is None
    assert model.capabilities.vision is None
    assert model.tier == "fast"


@pytest.mark.parametrize(
    ("params", "environ", "why"),
    [
        ({"model": "groq/big-70b", "api_key": KEY}, {}, "GROQ_API_KEY is not set"),
        ({"model": "groq/big-70b", "api_key": KEY}, {"GROQ_API_KEY": ""}, "GROQ_API_KEY is not set"),
        ({"model": "groq/big-70b"}, {}, "GROQ_API_KEY is not set"),
        ({"model": "groq/big-70b", "api_key": "${MINE}"}, GROQ, "MINE is not set"),
        ({"model": "groq/big-70b", "api_base": "https://${SITE}/v1"}, GROQ, "SITE is not set"),
        ({"model": "groq/big-70b"}, {**GROQ, "ENABLE_GROQ": "false"}, "ENABLE_GROQ is false"),
        ({"model": "groq/*"}, GROQ, "A wildcard can't be ranked: name each model"),
        ({"model": "someone_new/x"}, {}, "SOMEONE_NEW_API_KEY is not set"),
        ({"model": "github/gpt-4o"}, {"GITHUB_TOKEN": "x"}, "GitHub Models was retired on 2026-07-30"),
        ({"model": "hosted_vllm/x", "api_key": "os.environ/VLLM"}, {}, "VLLM is not set"),
    ],
)
def test_what_cant_be_called_says_why(here: Path, params: dict[str, Any], environ: dict[str, str], why: str) -> None:
    """002-19, 002-20: enabled by the key, switched off by ENABLE_*, and a sentence for each reason."""
    content = {"model_list": [{"model_name": "m", "litellm_params": params}]}
    (deployment,) = load(here, content, environ).deployments
    assert deployment.disabled == why
    assert not deployment.enabled


@pytest.mark.parametrize("name", ["GITHUB_MODELS", "GITHUB"])
def test_the_switch_knows_both_names_of_a_provider(here: Path, name: str) -> None:
    """002-19: ENABLE_GITHUB_MODELS."""
    content = {"model_list": [entry("m", "github/gpt-4o", {"retired": False})]}
    environ = {"GITHUB_TOKEN": "x", f"ENABLE_{name}": "false"}
    assert load(here, content, environ).deployments[0].disabled == f"ENABLE_{name} is false"


def test_a_provider_answers_to_any_of_its_usual_variables(here: Path) -> None:
    content = {"model_list": [entry("m", "together_ai/x", api_key="os.environ/TOGETHERAI_API_KEY")]}
    (deployment,) = load(here, content, {"TOGETHER_API_KEY": "k"}).deployments
    assert deployment.params["api_key"] == "k"
    assert deployment.enabled


def test_a_retired_model_at_another_address_is_none_of_our_business(here: Path) -> None:
    content = {"model_list": [entry("m", "groq/llama-3.1-8b-instant", api_base="http://localhost:9/v1")]}
    assert load(here, content, GROQ).deployments[0].enabled
    content = {"model_list": [entry("m", "groq/llama-3.1-8b-instant")]}
    assert "was retired on 2026-08-16" in load(here, content, GROQ).deployments[0].disabled
    assert load(here, content, {**GROQ, "GROQ_API_BASE": "http://localhost:9/v1"}).deployments[0].enabled


def test_limits_are_kept_from_litellm_and_for_the_quota(here: Path) -> None:
    """000-23: it would turn an rpm into a max_parallel_requests, and count those of model_info by itself."""
    content = {"model_list": [entry("m", "groq/big-70b", {"rpd": 1000}, rpm=30, tpm=6000, order=2, weight=1)]}
    (deployment,) = load(here, content, GROQ).deployments
    assert deployment.params == {"model": "groq/big-70b", "api_key": SECRET}
    assert {limit.name: limit.amount for limit in deployment.limits} == {"rpm": 30, "tpm": 6000, "rpd": 1000}
    assert not {"rpm", "tpm", "rpd"} & deployment.info.keys()
    assert deployment.priority == 2


def test_providers_that_ignore_max_retries_are_addressed_as_openai(here: Path) -> None:
    for provider, host in {
        "nvidia_nim": "integrate.api.nvidia.com",
        "sambanova": "api.sambanova.ai",
        "hyperbolic": "api.hyperbolic.xyz",
        "zai": "api.z.ai",
        "deepinfra": "api.deepinfra.com",
    }.items():
        content = {"model_list": [entry("m", f"{provider}/org/model", api_key="k")]}
        (deployment,) = load(here, content).deployments
        assert deployment.params["model"] == "openai/org/model"
        assert host in deployment.params["api_base"]
        assert (deployment.provider, deployment.model) == (provider, f"{provider}/org/model")
        moved = load(here, content, {f"{provider.upper()}_API_BASE": "http://mock/v1"}).deployments[0]
        assert moved.params["api_base"] == "http://mock/v1"


def test_an_openai_entry_at_a_known_address_is_that_provider(here: Path) -> None:
    content = {"model_list": [entry("m", "openai/llama", api_base="https://api.sambanova.ai/v1", api_key="k")]}
    assert load(here, content).deployments[0].provider == "sambanova"


def test_ones_own_server_never_gets_openais_key(here: Path) -> None:
    """003-40: LiteLLM would send OPENAI_API_KEY to any address."""
    content = {"model_list": [entry("m", "openai/gpt-4o", {"provider": "school"}, api_base="http://gpu/v1")]}
    (deployment,) = load(here, content, {"OPENAI_API_KEY": SECRET}).deployments
    assert deployment.enabled
    assert deployment.params["api_key"] == "none"
    assert (deployment.provider, deployment.price) == ("school", None)


def test_ollama_needs_no_key_but_a_word(here: Path) -> None:
    """002-01: Ollama is enabled by OLLAMA_API_BASE or ENABLE_OLLAMA."""
    content = {"model_list": [entry("local", "ollama_chat/llama3.1", {"base_model": "ollama/llama3.1"})]}
    assert "ENABLE_OLLAMA" in load(here, content).deployments[0].disabled
    on = load(here, content, {"ENABLE_OLLAMA": "true"}).deployments[0]
    assert on.params["api_base"] == "http://localhost:11434"
    assert on.capabilities.context_window == 8192
    there = load(here, content, {"OLLAMA_API_BASE": "http://gpu:11434"}).deployments[0]
    assert there.enabled
    assert there.params["api_base"] == "http://gpu:11434"


def test_copilot_is_off_by_default_and_never_pooled(here: Path) -> None:
    """000-05: a personal subscription."""
    content = {"model_list": [entry("shared", "groq/big-70b"), entry("shared", "github_copilot/gpt-4o")]}
    off = load(here, content, GROQ)
    assert "ENABLE_GITHUB_COPILOT=true" in off.deployments[1].disabled
    on = load(here, content, {**GROQ, "ENABLE_GITHUB_COPILOT": "true"})
    assert [deployment.provider for deployment in on.groups["shared"]] == ["groq"]
    assert [deployment.info["personal"] for deployment in on.groups["github_copilot/gpt-4o"]] == [True]
    assert any("never pooled" in warning for warning in on.warnings)


def test_settings_of_a_provider_are_its_deployments_defaults(here: Path) -> None:
    """000-42: config.json's providers; an entry's own word is stronger."""
    content = {
        "model_list": [entry("a", "groq/big-70b", api_key=KEY), entry("b", "groq/big-70b", {"priority": 0, "rpm": 5})]
    }
    providers = {"groq": {"api_key": "cfg", "base_url": "http://x/v1", "priority": 3, "limits": {"rpm": 30}}}
    first, second = load(here, content, {}, providers=providers).deployments
    assert first.params == {"model": "groq/big-70b", "api_key": "cfg", "api_base": "http://x/v1"}
    assert (first.priority, [limit.amount for limit in first.limits]) == (3, [30])
    assert (second.priority, [limit.amount for limit in second.limits]) == (0, [5])
    off = load(here, content, GROQ, providers={"groq": {"enabled": False}}).deployments[0]
    assert off.disabled == "config.json switches Groq off (providers.groq.enabled)"


def test_environment_variables_of_the_list_are_weaker_than_the_real_ones(here: Path) -> None:
    content = {
        "model_list": [entry("a", "groq/big-70b", api_key=KEY)],
        "environment_variables": {"GROQ_API_KEY": "${OTHER:-from-file}", "X": 1},
    }
    catalogue = load(here, content)
    assert catalogue.deployments[0].params["api_key"] == "from-file"
    assert catalogue.environment == {"GROQ_API_KEY": "from-file", "X": "1"}
    assert load(here, content, GROQ).deployments[0].params["api_key"] == SECRET


def test_dotenv_holds_keys_too(here: Path) -> None:
    (here / ".env").write_text("GROQ_API_KEY=from-dotenv\n")
    content = {"model_list": [entry("a", "groq/big-70b", api_key=KEY)]}
    assert load(here, content).deployments[0].params["api_key"] == "from-dotenv"


def test_a_bare_name_belongs_to_the_provider_that_lists_it(here: Path) -> None:
    """001-38: `model: gpt-4o` without a provider."""
    (deployment,) = load(here, {"model_list": [entry("g", "gpt-4o")]}, {"OPENAI_API_KEY": "k"}).deployments
    assert (deployment.provider, deployment.model, deployment.tier) == ("openai", "openai/gpt-4o", "powerful")
    assert deployment.price
    assert not deployment.free


def test_embeddings_have_a_price_without_output(here: Path) -> None:
    (deployment,) = load(here, {"model_list": [entry("e", "gemini/embed", api_key="k")]}).deployments
    assert deployment.info["mode"] == "embedding"
    assert deployment.price
    assert deployment.price.completion == 0


def test_fireworks_short_names_are_found(here: Path) -> None:
    (deployment,) = load(here, {"model_list": [entry("t", "fireworks_ai/tiny", api_key="k")]}).deployments
    assert deployment.info["mode"] == "chat"


def test_includes_are_part_of_the_list(here: Path) -> None:
    (here / "more.yaml").write_text("model_list:\n- {model_name: b, litellm_params: {model: groq/big-70b}}\n")
    content = {"include": ["more.yaml"], "model_list": [entry("a", "groq/big-70b")]}
    assert list(load(here, content, GROQ).groups) == ["a", "b"]


def test_all_entries_that_make_no_sense_are_told_at_once(here: Path) -> None:
    content = {"model_list": [{"model_name": "a"}, "b", entry("c", "groq/x")], "models": {"d": {}}}
    with pytest.raises(ConfigurationError) as caught:
        load(here, content)
    assert [finding.what.split()[0] for finding in caught.value.findings] == [
        "model_list[0]",
        "model_list[1]",
        "models.d",
    ]


def test_unknown_keys_are_told_with_the_nearest_name(here: Path) -> None:
    content = {
        "model_list": [{**entry("a", "groq/big-70b"), "model_inf": {}}],
        "router_setting": {},
        "general_settings": {"master_key": "x", "database_url": "y"},
    }
    assert load(here, content, GROQ).warnings == (
        "Unknown key `router_setting`. Did you mean `router_settings`?",
        "Unknown key `model_list[0].model_inf`. Did you mean `model_info`?",
        "general_settings belong to LiteLLM's proxy: Lumni does not use database_url.",
    )
