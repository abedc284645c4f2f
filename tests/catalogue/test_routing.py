"""router_settings and litellm_settings: normalised, or left out with a word about it."""

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from lumni.catalogue.routing import DONE_BY_LUMNI, PASSED, READ_BY_LUMNI, read_routing, split_callbacks

GROUPS = frozenset({"a", "b", "c"})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"fallbacks": [{"a": ["b", "c"]}, {"b": ["c"]}]}, {"a": ("b", "c"), "b": ("c",)}),
        ({"fallbacks": {"a": ["b"]}}, {"a": ("b",)}),
        ({"fallbacks": [{"a": "b"}]}, {"a": ("b",)}),
        ({"fallbacks": ["a", "b", "c"]}, {"a": ("b", "c"), "b": ("c",)}),
        ({"default_fallbacks": ["a"]}, {"*": ("a",)}),
        ({}, {}),
    ],
)
def test_fallbacks_in_every_form(written: dict[str, Any], expected: dict[str, tuple[str, ...]]) -> None:
    """001-41: LiteLLM's mappings, and a plain list of names: a, then b, then c."""
    routing = read_routing(written, GROUPS)
    assert routing.fallbacks == expected
    assert routing.warnings == []


def test_aliases_are_names_or_mappings() -> None:
    routing = read_routing({"model_group_alias": {"x": "a", "y": {"model": "b", "hidden": True}}}, GROUPS)
    assert routing.aliases == {"x": "a", "y": "b"}


def test_unknown_groups_are_told() -> None:
    routing = read_routing({"fallbacks": [{"a": ["zebra"]}], "model_group_alias": {"x": "nobody"}}, GROUPS)
    assert len(routing.warnings) == 2
    assert any("`zebra` is no model group" in warning for warning in routing.warnings)
    assert any("`nobody` is no model group" in warning for warning in routing.warnings)


def test_what_lumni_does_itself_stays_out_of_the_router() -> None:
    """Its cooldowns and limits have one owner; an unknown name would make LiteLLM's Router raise."""
    written = {"num_retries": 3, "timeout": 60, "cooldown_time": 5, "routing_stratgy": "x", "debug_level": "INFO"}
    routing = read_routing(written, GROUPS)
    assert routing.passed == {"debug_level": "INFO"}
    assert len(routing.warnings) == 2
    assert "Lumni's breaker" in routing.warnings[0]
    assert "Did you mean `routing_strategy`" in routing.warnings[1]


def test_every_passed_setting_is_one_of_litellms_router() -> None:
    """Fails when a new LiteLLM drops an argument that we would pass; read from its source, for importing it is slow."""
    spec = importlib.util.find_spec("litellm")
    assert spec
    assert spec.submodule_search_locations
    tree = ast.parse((Path(spec.submodule_search_locations[0]) / "router.py").read_text())
    router = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Router")
    init = next(node for node in router.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    arguments = {argument.arg for argument in (*init.args.args, *init.args.kwonlyargs)}
    assert arguments >= PASSED
    assert not PASSED & (READ_BY_LUMNI | DONE_BY_LUMNI.keys())


def test_callbacks_are_taken_out_of_litellms_settings() -> None:
    """001-42: LiteLLM has no Portkey integration and would ignore the name silently."""
    section = {"success_callback": ["portkey"], "failure_callback": "portkey", "callbacks": ["x"], "drop_params": True}
    assert split_callbacks(section) == (frozenset({"portkey", "x"}), {"drop_params": True})
