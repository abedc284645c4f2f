"""What a token costs: by the settings, by the entry's own word, by LiteLLM's map; else nobody knows."""

from pathlib import Path

import pytest

from lumni.catalogue.model import Price
from lumni.money import price_per_million, to_usd
from lumni.settings import Settings
from lumni.types import Usage
from tests.catalogue.support import entry, load

OWN = {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
ENVIRON = {
    "COST_PER_TOKEN_GPT4": "0.00003",
    "COST_PER_TOKEN_GPT35": "0.000002",
    "COST_PER_TOKEN_CLAUDE": "0.000015",
}


def price(folder: Path, model: str, info: dict[str, float] | None = None, environ: dict[str, str] | None = None) -> Price | None:  # fmt: skip  # noqa: E501
    """Of one model, with these variables set."""
    settings = Settings.load(None, environ or {})
    given = {name: getattr(settings, name) for name in Settings.model_fields if name.startswith("cost_per_token")}
    [built] = load(folder, {"model_list": [entry("g", model, info, api_key="k")]}, **given).deployments
    return built.price


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("openai/gpt-4", "0.0045"),
        ("openai/gpt-4o-mini", "0.0045"),
        ("openrouter/openai/gpt-4.1", "0.0045"),
        ("openai/gpt-3.5-turbo", "0.0003"),
        ("anthropic/claude-sonnet-4-5", "0.00225"),
    ],
)
def test_the_environment_s_prices_are_over_all_others(tmp_path: Path, model: str, usd: str) -> None:
    """003-32: 150 tokens of GPT-4 cost 0.0045 USD, however they are divided."""
    found = price(tmp_path, model, OWN, ENVIRON)
    assert found is not None
    assert f"{to_usd(found.of(Usage(100, 50))).normalize():f}" == usd
    assert found.of(Usage(0, 150)) == found.of(Usage(150, 0))


def test_other_models_keep_their_price(tmp_path: Path) -> None:
    """003-32, 003-10: the entry's own, else the map's."""
    mine = Price(price_per_million("0.000001"), price_per_million("0.000002"))
    assert price(tmp_path, "groq/big-70b", OWN, ENVIRON) == mine
    listed = price(tmp_path, "groq/big-70b", None, ENVIRON)
    assert listed is not None
    assert listed != mine
    assert price(tmp_path, "openai/gpt-4o-mini", OWN) == mine


def test_a_price_that_nobody_knows_is_no_price_of_0(tmp_path: Path) -> None:
    """001-29: unknown."""
    assert price(tmp_path, "openai/nobody-knows-this", None, ENVIRON) is None
