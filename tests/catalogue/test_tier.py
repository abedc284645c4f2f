"""The rule for the tier of a model whose entry doesn't say it."""

import pytest

from lumni.catalogue.tier import parameters_in_name, tier_of
from lumni.money import from_usd


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("llama-3.3-70b-versatile", 70),
        ("openai/gpt-oss-20b", 20),
        ("mixtral-8x7b-32768", 56),
        ("nvidia/nemotron-3-super-120b-a12b:free", 120),
        ("qwen2.5-0.5b", 0.5),
        ("Llama-3.3-70B-Instruct", 70),
        ("gpt-4o", None),
        ("gemini-3.5-flash", None),
        ("claude-3b2", None),
    ],
)
def test_sizes_are_read_from_names(name: str, billions: float | None) -> None:
    assert parameters_in_name(name) == billions


@pytest.mark.parametrize(
    ("name", "usd_per_million_output", "info", "tier"),
    [
        ("x-8b", "9", {}, "fast"),
        ("x-40b", None, {}, "powerful"),
        ("x", "2", {}, "powerful"),
        ("x", "1.99", {}, "fast"),
        ("x", None, {}, "fast"),
        ("x-70b", "9", {"tier": "fast"}, "fast"),
        ("x-70b", "9", {"tier": "huge"}, "powerful"),
    ],
)
def test_the_entry_then_the_size_then_the_price(
    name: str, usd_per_million_output: str | None, info: dict[str, str], tier: str
) -> None:
    price = from_usd(usd_per_million_output) if usd_per_million_output else None
    assert tier_of(name, price, info) == tier
