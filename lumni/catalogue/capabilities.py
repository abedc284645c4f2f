"""What a model can do and costs: the entry's own word, then LiteLLM's price map."""

from collections.abc import Mapping
from typing import Any

from lumni.catalogue.model import Capabilities, Price
from lumni.money import price_per_million
from lumni.settings import Settings


def _known(info: Mapping[str, Any], listed: Mapping[str, Any], *names: str) -> Any:
    """The first value that one of ``names`` has, the entry's own before the map's."""
    for source in (info, listed):
        for name in names:
            if source.get(name) is not None:
                return source[name]
    return None


def capabilities_of(info: Mapping[str, Any], listed: Mapping[str, Any]) -> Capabilities:
    """``info`` is an entry's ``model_info``, ``listed`` the map's entry (empty if it has none).

    The map writes down only what a model can do, so for tools and images silence in an existing entry means no. It is
    patchy about JSON schemas and streaming, so there silence means nothing.
    """
    silence = False if listed.get("mode") in ("chat", "responses", "completion") else None
    tools = _known(info, listed, "supports_function_calling")
    vision = _known(info, listed, "supports_vision")
    return Capabilities(
        context_window=_tokens(_known(info, listed, "max_input_tokens", "max_tokens")),
        max_output=_tokens(_known(info, listed, "max_output_tokens")),
        tools=silence if tools is None else bool(tools),
        vision=silence if vision is None else bool(vision),
        json_schema=_flag(_known(info, listed, "supports_response_schema")),
        streaming=_flag(_known(info, listed, "supports_native_streaming")),
    )


def price_of(info: Mapping[str, Any], listed: Mapping[str, Any]) -> Price | None:
    """List price from ``input_cost_per_token`` and ``output_cost_per_token`` (USD); ``None`` unless both are known.

    Embeddings have no output, and no price for it.
    """
    prompt = _known(info, listed, "input_cost_per_token")
    completion = _known(info, listed, "output_cost_per_token")
    if completion is None and listed.get("mode") == "embedding":
        completion = 0
    if prompt is None or completion is None:
        return None
    return Price(price_per_million(prompt), price_per_million(completion))


def set_price(settings: Settings, model_id: str) -> Price | None:
    """The price that the settings have for a whole family of models, the same for prompt and answer; ``None``: none.

    A model's family is in the last part of its name: ``openai/gpt-4o`` belongs to gpt-4.
    """
    families = {
        "gpt-4": settings.cost_per_token_gpt4,
        "gpt-3.5": settings.cost_per_token_gpt35,
        "claude": settings.cost_per_token_claude,
    }
    name = model_id.rpartition("/")[2].lower()
    for family, usd in families.items():
        if usd is not None and name.startswith(family):
            price = price_per_million(usd)
            return Price(price, price)
    return None


def _tokens(value: Any) -> int | None:
    # A few entries of the map write numbers as text.
    return int(value) if value is not None and str(value).isdecimal() and int(value) > 0 else None


def _flag(value: Any) -> bool | None:
    return None if value is None else bool(value)
