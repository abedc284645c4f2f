"""LiteLLM's price map, read as the data file that it is: importing LiteLLM would cost seconds."""

import importlib.util
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

PRICES = "model_prices_and_context_window_backup.json"
PROVIDERS = "provider_endpoints_support_backup.json"
FIREWORKS_PATH = "accounts/fireworks/models/"

Entry = Mapping[str, Any]


class PriceMap:
    """What LiteLLM knows of models, by its names for them. Prices in it are USD per token, windows are tokens."""

    def __init__(self, entries: Mapping[str, Entry], providers: frozenset[str] = frozenset()) -> None:
        self._entries = entries
        self._priced = frozenset(str(entry.get("litellm_provider", "")) for entry in entries.values())
        self.providers = providers | self._priced

    def find(self, provider: str, model_id: str) -> Entry | None:
        """The entry of a provider's model, under any of the names that LiteLLM files it under."""
        short = model_id.removeprefix(FIREWORKS_PATH)
        for name in (f"{provider}/{model_id}", f"{provider}/{short}", f"{provider}/{FIREWORKS_PATH}{short}"):
            if entry := self._entries.get(name):
                return entry
        bare = self._entries.get(model_id)
        return bare if bare and str(bare.get("litellm_provider", "")).startswith(provider) else None

    def named(self, name: str) -> Entry | None:
        """The entry with exactly this name, whoever provides it."""
        return self._entries.get(name)

    def covers(self, provider: str) -> bool:
        """Whether the map lists this provider's models, so that a missing one means something."""
        return provider in self._priced

    def nearest(self, provider: str, model_id: str) -> str:
        """The listed chat model that this name was probably meant to be, as ``provider/model``; empty if none is."""
        listed = {
            name.removeprefix(f"{provider}/"): name
            for name, entry in self._entries.items()
            if entry.get("litellm_provider") == provider and entry.get("mode") in ("chat", "responses")
        }
        found = get_close_matches(model_id, listed, n=1, cutoff=0.6)
        return f"{provider}/{found[0]}" if found else ""


def installed_price_map() -> PriceMap:
    """The map of the installed LiteLLM (3 MB, 25 ms); an empty one where LiteLLM is not installed.

    Nobody keeps it: LiteLLM's own copy takes the memory that this one gives back.
    """
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return PriceMap({})
    package = Path(spec.submodule_search_locations[0])
    entries = json.loads((package / PRICES).read_text(encoding="utf-8"))
    entries.pop("sample_spec", None)
    supported = package / PROVIDERS
    providers = json.loads(supported.read_text(encoding="utf-8"))["providers"] if supported.is_file() else {}
    return PriceMap(entries, frozenset(providers))
