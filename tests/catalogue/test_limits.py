"""Limits may be written wherever they are natural; what can't be one is told with its place and its cure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.catalogue.doctor import check
from lumni.catalogue.limits import DAY, PERIODS, SHORT_NAMES, SPELLINGS, Counting, read_limits
from lumni.catalogue.model import Catalogue, Deployment
from lumni.files import ConfigurationError, Finding
from tests.catalogue.support import PRICES, TODAY, entry, load, write

SECRET = "gsk_s3cret"
GROQ = {"GROQ_API_KEY": SECRET}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers(deployment: Deployment) -> dict[str, dict[str, int | None]]:
    """What each of a deployment's pools allows, in their order."""
    return {pool.name: {limit.name: limit.amount for limit in pool.limits} for pool in deployment.pools}


def one(here: Path, item: dict[str, Any], **settings: Any) -> Deployment:
    (deployment,) = load(here, {"model_list": [item]}, GROQ, **settings).deployments
    return deployment


@given(st.dictionaries(st.sampled_from(sorted(SHORT_NAMES)), st.integers(1, 10**12)), st.randoms())
def test_every_spelling_means_the_same(amounts: dict[str, int], random: Any) -> None:
    """002-39: requests_per_minute, requestsPerMinute and rpm are one limit."""
    spelled = {random.choice([s for s in SPELLINGS if SPELLINGS[s] == name]): n for name, n in amounts.items()}
    faults: list[Finding] = []
    limits = read_limits(spelled, "here", faults)
    assert {name: limit.amount for name, limit in limits.items()} == amounts
    assert all(limit.name == name and limit.origin == "configured: here" for name, limit in limits.items())
    assert faults == []


@pytest.mark.parametrize("period", PERIODS)
def test_a_day_begins_when_the_provider_s_does(period: str) -> None:
    """000-22: only a day follows a calendar; tokens are what the provider counts."""
    limits = read_limits({f"tokens_per_{period}": 5}, "here", [], counting=Counting("UTC", input_only=True))
    (limit,) = limits.values()
    assert (limit.style, limit.zone) == (("fixed", "UTC") if period == "day" else ("sliding", ""))
    assert limit.kind == "input_tokens"


def test_how_windows_move_is_the_provider_s_unless_somebody_knows_better(here: Path) -> None:
    """000-22: Groq's are buckets, others slide; `style` beside the numbers is stronger, and stays out of model_info."""

    def styles(item: dict[str, Any], **settings: Any) -> dict[str, tuple[str, str]]:
        deployment = one(here, item, **settings)
        assert "style" not in deployment.info
        return {limit.name: (limit.style, limit.zone) for limit in deployment.limits}

    assert styles(entry("m", "groq/big-70b", rpm=30, rpd=9)) == {"rpm": ("refilling", ""), "rpd": ("refilling", "")}
    assert styles(entry("m", "groq/openai/gpt-oss-20b"))["rpm"] == ("sliding", "")  # a bucket of unknown size
    assert styles(entry("m", "groq/big-70b", {"style": "fixed"}, rpm=30)) == {"rpm": ("fixed", "")}
    accounts = {"groq": {"limits": {"tpm": 5, "style": "sliding"}}}
    assert styles(entry("m", "groq/big-70b"), accounts=accounts) == {"tpm": ("sliding", "")}
    counting = Counting("UTC")
    assert counting.of(DAY, None, known=True) == counting.of(DAY, "fixed", known=True) == ("fixed", "UTC")
    assert counting.of(60, None, known=True) == counting.of(DAY, "sliding", known=True) == ("sliding", "")
    assert counting.of(DAY, "refilling", known=False) == ("sliding", "")


def test_a_misspelt_style_is_told(here: Path) -> None:
    with pytest.raises(ConfigurationError, match="no way for a window to move"):
        one(here, entry("m", "groq/big-70b", {"style": "slding"}, rpm=30))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "many", "-3", "", [30]])
def test_what_is_no_whole_number_above_0_is_refused_with_its_place_and_cure(here: Path, wrong: Any) -> None:
    """000-23: neither "no limit" nor "nothing allowed" is guessed."""
    content = {"model_list": [entry("m", "groq/big-70b", rpm=wrong), entry("n", "groq/big-70b", {"tpd": wrong})]}
    with pytest.raises(ConfigurationError) as caught:
        load(here, content, GROQ)
    told = [(finding.level, finding.what.split(" is ")[0]) for finding in caught.value.findings]
    assert told == [("error", "model_list[0] (m): rpm"), ("error", "model_list[1] (n): tpd")]
    assert all("Write how many are allowed" in finding.mend for finding in caught.value.findings)
    findings = check(write(here, content), GROQ, today=TODAY, prices=PRICES)
    assert findings == list(caught.value.findings)


def test_a_number_may_come_from_a_variable_and_null_states_nothing(here: Path) -> None:
    deployment = one(here, entry("m", "groq/big-70b", {"tpd": "${TPD:-7000}", "rpd": None}, rpm="${RPM:-30}", tpm=None))
    assert numbers(deployment) == {"groq/big-70b": {"rpm": 30, "tpd": 7000}}


def test_limits_hold_where_litellm_puts_them_and_the_router_sees_none(here: Path) -> None:
    """000-23: litellm_params and model_info; the nearer word wins."""
    item = entry("m", "groq/big-70b", {"rpm": 5, "tokens_per_day": 9}, rpm=30, tpm=6000, requests_per_second=2)
    deployment = one(here, item)
    assert numbers(deployment) == {"groq/big-70b": {"rpm": 5, "tpm": 6000, "rps": 2, "tpd": 9}}
    assert deployment.params == {"model": "groq/big-70b", "api_key": SECRET}
    assert {limit.origin for limit in deployment.limits} == {"configured: model_list[0] (m)"}


def test_a_provider_s_limits_in_config_json_are_its_models_defaults(here: Path) -> None:
    """002-39, 000-23: add_provider_limits(name, requests_per_minute=100, requests_per_second=5)."""
    providers = {"groq": {"limits": {"requests_per_minute": 100, "requests_per_second": 5}}}
    deployment = one(here, entry("m", "groq/big-70b", rpm=30), providers=providers)
    assert numbers(deployment) == {"groq/big-70b": {"rpm": 30, "rps": 5}}
    origins = {limit.name: limit.origin for limit in deployment.limits}
    assert origins == {"rpm": "configured: model_list[0] (m)", "rps": "configured: providers.groq.limits"}


@pytest.mark.parametrize("place", ["providers", "accounts"])
def test_a_misspelt_limit_is_told_with_the_right_name(here: Path, place: str) -> None:
    """000-23: one that is overlooked would be exceeded."""
    content = {"model_list": [entry("m", "groq/big-70b")]}
    settings: dict[str, Any] = {place: {"groq": {"limits": {"requests_per_minutes": 3}}}}
    with pytest.raises(ConfigurationError) as caught:
        load(here, content, GROQ, **settings)
    where = f"{place}.groq.limits: `requests_per_minutes` is no limit"
    assert caught.value.findings == (Finding("error", where, "Did you mean `requests_per_minute`?"),)


def test_one_limit_under_two_names_is_told(here: Path) -> None:
    with pytest.raises(ConfigurationError, match="states rpm a second time"):
        one(here, entry("m", "groq/big-70b"), accounts={"groq": {"limits": {"rpm": 3, "requestsPerMinute": 4}}})


def test_the_catalogue_fills_what_nobody_stated(here: Path) -> None:
    """000-20: of a free deployment, each number by itself."""
    deployment = one(here, entry("m", "groq/openai/gpt-oss-20b", tpm=9000))
    assert numbers(deployment) == {"groq/openai/gpt-oss-20b": {"rpm": None, "rpd": 1000, "tpm": 9000}}
    assert [limit.provenance for limit in deployment.limits] == ["catalogue", "catalogue", "configured"]
    assert deployment.counts_max_tokens
    assert numbers(one(here, entry("m", "groq/openai/gpt-oss-20b", {"free": False}))) == {"groq/openai/gpt-oss-20b": {}}
    assert numbers(one(here, entry("m", "groq/openai/gpt-oss-20b", api_base="http://lab/v1"))) == {
        "groq/openai/gpt-oss-20b": {}
    }


def openrouter(here: Path, *items: dict[str, Any], **settings: Any) -> list[dict[str, dict[str, int | None]]]:
    catalogue = load(here, {"model_list": list(items)}, {"OPENROUTER_API_KEY": "k"}, **settings)
    return [numbers(deployment) for deployment in catalogue.deployments]


def test_free_models_of_openrouter_share_their_account_s_quota_and_paid_ones_don_t(here: Path) -> None:
    """000-20: the model's own pool first, for refusals that name no window."""
    first, second, paid = openrouter(
        here,
        entry("a", "openrouter/x/a:free"),
        entry("b", "openrouter/x/b:free", rpm=3),
        entry("c", "openrouter/x/c"),
    )
    assert first == {"openrouter/x/a:free": {}, "openrouter/*:free": {"rpm": 20, "rpd": 50}}
    assert second == {"openrouter/x/b:free": {"rpm": 3}, "openrouter/*:free": {"rpm": 20, "rpd": 50}}
    assert paid == {"openrouter/x/c": {}}


def test_an_account_s_limit_replaces_the_catalogue_s_of_that_account(here: Path) -> None:
    """000-23: after paying in 10 USD once, OpenRouter allows 1,000 a day."""
    items = [entry("a", "openrouter/x/a:free"), entry("c", "openrouter/x/c")]
    free, paid = openrouter(here, *items, accounts={"openrouter": {"limits": {"rpd": 1000}}})
    assert free == {"openrouter/x/a:free": {}, "openrouter/*:free": {"rpm": 20}, "openrouter": {"rpd": 1000}}
    assert paid == {"openrouter/x/c": {}, "openrouter": {"rpd": 1000}}
    free, paid = openrouter(here, *items, providers={"openrouter": {"limits": {"rpd": 1000}}})
    assert free == {"openrouter/x/a:free": {}, "openrouter/*:free": {"rpm": 20, "rpd": 1000}}
    assert paid == {"openrouter/x/c": {}, "openrouter": {"rpd": 1000}}


def test_an_account_s_own_limits_come_on_top_of_its_models(here: Path) -> None:
    deployment = one(here, entry("m", "groq/big-70b", rpm=30), accounts={"groq": {"limits": {"rpm": 40}}})
    assert numbers(deployment) == {"groq/big-70b": {"rpm": 30}, "groq": {"rpm": 40}}
    cohere = load(here, {"model_list": [entry("m", "cohere_chat/command-r", api_key="k")]}).deployments[0]
    assert numbers(cohere) == {"cohere_chat": {"rpm": 20, "rpmonth": 1000}}


def test_accounts_of_one_organization_share_its_quota(here: Path) -> None:
    """000-20: two keys of one organization at Groq are one quota a model."""
    items = [
        entry("a", "groq/big-70b", api_key="os.environ/GROQ_API_KEY"),
        entry("b", "groq/big-70b", api_key="os.environ/GROQ_API_KEY_2"),
    ]
    accounts = {"groq": {"shared": "physics", "limits": {"rpd": 9}}, "groq-2": {"shared": ["physics"]}}
    catalogue = load(here, {"model_list": items}, {**GROQ, "GROQ_API_KEY_2": "other"}, accounts=accounts)
    assert [numbers(d) for d in catalogue.deployments] == [
        {"physics/big-70b": {}, "physics": {"rpd": 9}},
        {"physics/big-70b": {}},
    ]


def test_entries_may_share_a_quota(here: Path) -> None:
    """000-20: models that are limited together."""
    items = [entry(n, f"groq/{n}-1b", {"shared": "small ones"}, rpm=30) for n in ("a", "b")]
    catalogue = load(here, {"model_list": items}, GROQ)
    assert [numbers(d) for d in catalogue.deployments] == [{"small ones": {"rpm": 30}}] * 2


def test_models_on_one_s_own_machine_have_no_quota_unless_one_is_stated(here: Path) -> None:
    environ = {"ENABLE_OLLAMA": "true"}
    items = [entry("a", "ollama_chat/llama3.1"), entry("b", "ollama_chat/other", rpm=4)]
    catalogue = load(here, {"model_list": items}, environ, enable_lab="on")
    assert [numbers(d) for d in catalogue.deployments] == [
        {},
        {"ollama_chat@localhost:11434/other": {"rpm": 4}},
        {},
        {},
    ]


def test_servers_of_one_s_own_are_told_apart_by_their_address(here: Path) -> None:
    items = [
        entry("a", f"{kind}/llama", api_base=f"http://gpu{n}:8000/v1")
        for n in (1, 2)
        for kind in ("openai", "hosted_vllm")
    ]
    names = [pool.name for d in load(here, {"model_list": items}).deployments for pool in d.pools]
    assert names == [
        "openai@gpu1:8000/llama",
        "hosted_vllm@gpu1:8000/llama",
        "openai@gpu2:8000/llama",
        "hosted_vllm@gpu2:8000/llama",
    ]


SHORT_FORM: dict[str, dict[str, Any]] = {
    "providers": {
        "ada": {"type": "groq", "api_key": "k1", "limits": {"rpd": 100}, "terms": "personal", "owner": "ada"},
        "ben": {"type": "groq", "api_key": "k2", "shared": "org", "consent": {"date": "2026-09-01", "by": "Ben"}},
    },
    "models": {"big": {"providers": {"ada": {"model_id": "big-70b", "rpm": 30}, "ben": {"model_id": "big-70b"}}}},
}


def test_the_short_form_states_it_with_the_account(here: Path) -> None:
    """000-23: `providers:` are accounts there."""
    ada, ben = load(here, SHORT_FORM).deployments
    assert numbers(ada) == {"ada/big-70b": {"rpm": 30}, "ada": {"rpd": 100}}
    assert numbers(ben) == {"org/big-70b": {}}
    assert (ada.terms.kind, ada.terms.owner, ben.terms.consent) == ("personal", "ada", "Ben, 2026-09-01")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"terms": "mine"}, "providers.ada.terms"),
        ({"consent": {"date": "soon", "by": "Ada"}}, "providers.ada.consent.date"),
        ({"limits": [3]}, "providers.ada.limits"),
    ],
)
def test_an_account_that_cant_be_understood_is_told_with_its_place(
    here: Path, change: Mapping[str, Any], what: str
) -> None:
    content = {
        **SHORT_FORM,
        "providers": {**SHORT_FORM["providers"], "ada": {"type": "groq", "api_key": "k1", **change}},
    }
    with pytest.raises(ConfigurationError, match=what):
        load(here, content)


def test_an_account_that_nobody_uses_is_told(here: Path) -> None:
    content = {"model_list": [entry("m", "groq/big-70b")]}
    catalogue: Catalogue = load(here, content, GROQ, accounts={"grok": {"terms": "class"}})
    assert catalogue.warnings == ("accounts.grok is no account of the model list. Did you mean `groq`?",)


def test_one_label_may_stand_for_a_person_s_accounts_at_several_providers(here: Path) -> None:
    items = [
        entry("a", "groq/a-1b", {"account": "ada"}, api_key="k"),
        entry("b", "mistral/b", {"account": "ada"}, api_key="l"),
    ]
    catalogue = load(here, {"model_list": items}, accounts={"ada": {"terms": "class", "owner": "ada"}})
    assert [(d.account, d.terms.owner) for d in catalogue.deployments] == [("ada", "ada"), ("ada-2", "ada")]
