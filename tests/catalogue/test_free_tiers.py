"""The catalogue of free tiers says what its source says, and how providers count."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from lumni.catalogue.free_tiers import UNKNOWN, FreeTier, known_free_tiers
from lumni.catalogue.limits import DAY, SHORT_NAMES, Limit
from lumni.catalogue.providers import BY_NAME
from lumni.catalogue.quotas import tier_at

SOURCE = Path(__file__).parents[3] / "shared" / "data" / "free_tiers.yaml"
TIERS = known_free_tiers()


def stated(provider: dict[str, Any], model: dict[str, Any] | None = None) -> dict[str, int]:
    """The figures of the source for a model (else for the account) that are limits of requests or tokens."""
    figures = model if model is not None else provider.get("account_limits", {})
    return {name: figures[name] for name in SHORT_NAMES if figures.get(name) is not None}


def source() -> dict[str, dict[str, Any]]:
    if not SOURCE.is_file():
        pytest.skip("the data that the catalogue was made from is not here")
    providers = yaml.safe_load(SOURCE.read_text())["providers"]
    return {provider["litellm_prefix"].rstrip("/"): provider for provider in providers}


def figures(tier: FreeTier, model_id: str) -> dict[str, int]:
    match = tier.find(model_id)
    return {name: limit.amount for name, limit in match.limits.items() if limit.amount} if match else {}


def test_every_limit_of_the_source_is_in_the_catalogue_and_equal() -> None:
    """000-20: for each model that the source lists, under the name by which LiteLLM calls it."""
    compared = 0
    for prefix, provider in source().items():
        for model in provider["models"]:
            model_id = model["litellm_model"].removeprefix(f"{prefix}/")
            expected = stated(provider, model)
            assert figures(TIERS.get(prefix, UNKNOWN), model_id) == expected, model_id
            compared += bool(expected)
        if stated(provider):
            assert figures(TIERS[prefix], "any") == stated(provider)
            compared += 1
    assert compared > 40


def test_the_catalogue_invents_no_model_and_no_date() -> None:
    """000-20: whatever it lists is a line of the source, and as old as that."""
    listed = source()
    for name, tier in TIERS.items():
        assert tier.source
        assert tier.as_of
        if not tier.models:
            continue
        provider = listed[name]
        assert tier.as_of.isoformat() == provider["as_of"]
        ids = [model["litellm_model"].removeprefix(f"{name}/") for model in provider["models"]]
        for pattern in tier.models:
            assert "*" in pattern or pattern in ids, pattern
        assert bool(tier.training) == str(provider["data_used_for_training"]).startswith("yes")
        assert tier.phone == ("phone" in str(provider["note"]))


@pytest.mark.parametrize("name", TIERS)
def test_each_line_can_be_used(name: str) -> None:
    """A known provider, hosts, a real time zone; a whole account's limits are under a pattern, not under a model."""
    tier = TIERS[name]
    assert BY_NAME[name].name == name
    assert tier.hosts
    assert tier.scope in (("model",), ("account",), ("model", "account"))
    assert not tier.counting.zone or ZoneInfo(tier.counting.zone)
    if "account" in tier.scope:
        assert all("*" in pattern for pattern in tier.models)
    for limits in tier.models.values():
        for short, limit in limits.items():
            assert limit.provenance == "catalogue"
            assert (limit.style == "fixed") == (limit.period == DAY and bool(tier.counting.zone))
            assert limit.amount or limit.style != "refilling"
            assert limit.name == (f"i{short}" if tier.counting.input_only and short.startswith("t") else short)


def test_the_longest_pattern_holds_and_an_exact_name_before_all() -> None:
    def line(amount: int) -> dict[str, Limit]:
        return {"rpm": Limit("requests", 60, amount)}

    tier = FreeTier(models={"*": line(1), "*:free": line(2), "a/b:free": line(3), "[x]": line(4)})
    found = {name: tier.find(name) for name in ("c", "c:free", "a/b:free", "[x]")}
    assert [match.limits["rpm"].amount for match in found.values() if match] == [1, 2, 3, 4]
    assert FreeTier().find("c") is None


def test_null_is_unknown_and_counted() -> None:
    """000-20: null never means unlimited: the window is there, so that it is exact once Groq names its limit."""
    match = TIERS["groq"].find("openai/gpt-oss-20b")
    assert match
    assert match.limits["rpm"].amount is None
    assert TIERS["groq"].find("somebody/new") is None


def test_elsewhere_no_amount_is_known_but_how_the_provider_counts() -> None:
    """A test server is not the provider, but speaks for it."""
    groq = BY_NAME["groq"]
    assert tier_at(groq, "").counts_max_tokens
    assert tier_at(groq, "https://api.groq.com/openai/v1").counts_max_tokens
    elsewhere = tier_at(groq, "http://localhost:4010/v1")
    assert elsewhere.counts_max_tokens
    assert elsewhere.counting == TIERS["groq"].counting
    assert elsewhere.find("openai/gpt-oss-20b") is None
    shared = tier_at(BY_NAME["openrouter"], "http://localhost:4010/v1").find("a/b:free")
    assert shared
    assert {limit.amount for limit in shared.limits.values()} == {None}
    assert tier_at(BY_NAME["nvidia_nim"], BY_NAME["nvidia_nim"].api_base).models
