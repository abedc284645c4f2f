"""Settings: which source wins, what a bad value is told, and that everything is documented."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lumni.config_keys import LATER_KEYS, SETTING_KEYS, flatten, nearest
from lumni.files import ConfigurationError
from lumni.intelligence.rank import WEIGHTS
from lumni.settings import Settings
from lumni.sources import FILES_ONLY, default_model_list

ROOT = Path(__file__).parents[1]
SECRET = "s3cret-s3cret-s3cret"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path


def write_yaml(path: Path, content: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_without_anything_the_defaults_hold() -> None:
    """A fresh machine needs no configuration: port 8000 and the model list that comes with Lumni."""
    reading = Settings.read(None, {})
    assert reading.findings == ()
    assert reading.settings == Settings(litellm_config=default_model_list())
    assert reading.settings.port == 8000
    assert default_model_list().is_file()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_the_constructor_asks_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only ``read`` looks around; a value that reaches the settings has a source that messages can name."""
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("LUMNI_PORT", "2")
    assert Settings().port == 8000
    assert Settings.load().port == 2


def test_the_strongest_source_of_a_mapping_has_it_alone(here: Path) -> None:
    """Half of `providers` from here and half from there could not be mended by the message about it."""
    write_json(here / "config.json", {"providers": {"groq": {"priority": 1}}})
    write_yaml(here / "litellm_config.yaml", {"lumni_settings": {"providers": {"groq": {"enabled": False}, "x": {}}}})
    providers = Settings.load(None, {}).providers
    assert list(providers) == ["groq"]
    assert (providers["groq"].priority, providers["groq"].enabled) == (1, None)


PORTS = st.none() | st.integers(1, 65535)


@given(override=PORTS, prefixed=PORTS, plain=PORTS, dotenv=PORTS, config=PORTS, listed=PORTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_strongest_source_wins(
    here: Path,
    override: int | None,
    prefixed: int | None,
    plain: int | None,
    dotenv: int | None,
    config: int | None,
    listed: int | None,
) -> None:
    """Command line > LUMNI_PORT > PORT > .env > config.json > lumni_settings of the model list > default."""
    environ = {name: str(port) for name, port in {"LUMNI_PORT": prefixed, "PORT": plain}.items() if port}
    (here / ".env").write_text(f"PORT={dotenv}\n" if dotenv else "")
    write_json(here / "config.json", {"server": {"port": config}} if config else {})
    write_yaml(here / "litellm_config.yaml", {"lumni_settings": {"port": listed}} if listed else {})
    expected = next(port for port in (override, prefixed, plain, dotenv, config, listed, 8000) if port)
    assert Settings.load(None, environ, port=override).port == expected


def test_litellms_own_places_are_the_weakest(here: Path) -> None:
    """001-39, 001-40: router_settings.timeout and num_retries, general_settings.master_key, if nothing else is set."""
    content = {
        "router_settings": {"timeout": 45, "num_retries": 1},
        "general_settings": {"master_key": "os.environ/MASTER"},
        "lumni_settings": {"num_retries": 2},
    }
    path = write_yaml(here / "models.yaml", content)
    loaded = Settings.load(path, {"MASTER": SECRET})
    assert (loaded.request_timeout, loaded.num_retries) == (45, 2)
    assert loaded.unified_api_key
    assert loaded.unified_api_key.get_secret_value() == SECRET
    assert Settings.load(path, {"REQUEST_TIMEOUT": "9"}).request_timeout == 9


def test_config_json_fills_every_setting(here: Path) -> None:
    """001-45, 001-46, 001-47, 001-51, 001-52, 000-41: the keys as written, with variables."""
    content = {
        "server": {"port": 3000, "host": "127.0.0.1"},
        "auth": {"unifiedApiKey": "${UNIFIED_API_KEY}"},
        "litellm": {"configPath": "models/list.yaml", "proxy": {"enabled": True, "rotationInterval": 3600000}},
        "storage": {"type": "postgresql", "url": "${DATABASE_URL}"},
        "cache": {"type": "redis", "url": "${REDIS_URL}", "ttl": 3600},
    }
    (here / "models").mkdir()
    listed = write_yaml(here / "models" / "list.yaml", {})
    config = write_json(here / "config.json", content)
    environ = {"DB": "x", "DATABASE_URL": "postgresql://u:p@h/d", "REDIS_URL": "redis://h", "UNIFIED_API_KEY": SECRET}
    loaded = Settings.load(config, environ)
    assert (loaded.port, loaded.host) == (3000, "127.0.0.1")
    assert loaded.litellm_config
    assert loaded.litellm_config.resolve() == listed.resolve()
    assert loaded.database_url
    assert loaded.database_url.get_secret_value() == "postgresql://u:p@h/d"
    assert loaded.redis_url
    assert loaded.redis_url.get_secret_value() == "redis://h"


def test_provider_settings_of_config_json_are_read(here: Path) -> None:
    """000-42: `config.json` supports settings for each provider."""
    write_json(here / "config.json", {"providers": {"groq": {"apiKey": "${K}", "baseUrl": "http://x", "priority": 2}}})
    groq = Settings.load(None, {"K": SECRET}).providers["groq"]
    assert groq.api_key
    assert (groq.api_key.get_secret_value(), groq.base_url, groq.priority) == (SECRET, "http://x", 2)


def test_bad_values_are_all_told_with_source_and_without_the_value(here: Path) -> None:
    """One message: every bad setting, where it came from, how to mend it; never a secret."""
    write_json(here / "config.json", {"server": {"host": ["no"]}, "storage": {"url": f"mysql://u:{SECRET}@h/d"}})
    write_yaml(here / "litellm_config.yaml", {"lumni_settings": {"enable_lab": "maybe"}})
    environ = {"PORT": "99999", "LUMNI_LOG_LEVEL": "loud", "UNIFIED_API_KEY": f"{SECRET} with spaces"}
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(None, environ, drain_timeout=-1)
    message = str(caught.value)
    for told in (
        "port (environment variable PORT)",
        "log_level (environment variable LUMNI_LOG_LEVEL)",
        "unified_api_key (environment variable UNIFIED_API_KEY)",
        "host (config.json: server.host)",
        "database_url (config.json: storage.url)",
        "enable_lab (litellm_config.yaml: lumni_settings.enable_lab)",
        "drain_timeout (command line)",
    ):
        assert told in message
    assert len(caught.value.findings) == 7
    assert all(finding.mend for finding in caught.value.findings)
    assert SECRET not in message


def test_secrets_are_not_shown() -> None:
    """003-40: neither as text nor as representation."""
    environ = {
        "UNIFIED_API_KEY": SECRET,
        "DATABASE_URL": f"postgresql://u:{SECRET}@h/d",
        "REDIS_URL": f"redis://:{SECRET}@h",
    }
    loaded = Settings.load(None, environ)
    assert SECRET not in repr(loaded) + str(loaded) + loaded.model_dump_json()


@pytest.mark.parametrize(
    ("written", "expected"),
    [("*", ("*",)), ("https://a, https://b", ("https://a", "https://b")), ('["https://a"]', ("https://a",))],
)
def test_cors_origins_as_list_or_json(written: str, expected: tuple[str, ...]) -> None:
    """003-41: CORS_ORIGINS is a list with commas, or JSON."""
    assert Settings.load(None, {"CORS_ORIGINS": written}).cors_origins == expected


@pytest.mark.parametrize(("written", "expected"), [("true", "on"), ("0", "off"), ("AUTO", "auto"), ("off", "off")])
def test_the_lab_switch_takes_booleans_too(written: str, expected: str) -> None:
    assert Settings.load(None, {"ENABLE_LAB": written}).enable_lab == expected


def test_empty_variables_count_as_unset() -> None:
    """.env.example lists every name without a value: copying it must change nothing."""
    environ = {field.upper(): "" for field in Settings.model_fields}
    assert Settings.load(None, environ) == Settings.load(None, {})


def test_unknown_keys_are_reported_with_the_nearest_known_name(here: Path) -> None:
    write_json(here / "config.json", {"server": {"prot": 1}, "_note": "a comment", "cache": {"tll": 5}})
    write_yaml(here / "litellm_config.yaml", {"lumni_settings": {"num_retry": 1}})
    findings = Settings.read(None, {"LUMNI_PROT": "1"}).findings
    told = {finding.what: finding.mend for finding in findings if finding.level == "warning"}
    assert told == {
        "config.json: unknown key `server.prot`": "Did you mean `server.port`?",
        "config.json: unknown key `cache.tll`": "Did you mean `cache.ttl`?",
        "litellm_config.yaml: unknown key `lumni_settings.num_retry`": "Did you mean `num_retries`?",
        "The environment variable LUMNI_PROT is no setting": "Did you mean `LUMNI_PORT`?",
    }


def test_keys_of_later_versions_are_checked_for_their_type(here: Path) -> None:
    """A threshold that is no number is refused, although nothing obeys it yet."""
    write_json(here / "config.json", {"monitoring": {"thresholds": {"errorRate": "much"}}})
    with pytest.raises(ConfigurationError, match=r"monitoring\.thresholds\.errorRate"):
        Settings.load(None, {})


def test_missing_variables_of_config_json_are_reported(here: Path) -> None:
    write_json(here / "config.json", {"auth": {"unifiedApiKey": "${NOPE}"}, "storage": {"type": "postgresql"}})
    reading = Settings.read(None, {})
    assert reading.settings.unified_api_key is None
    assert [finding.level for finding in reading.findings] == ["warning", "warning"]
    assert "NOPE" in reading.findings[0].mend
    assert "SQLite is used" in reading.findings[1].what


def test_config_may_be_a_model_list_in_json(here: Path) -> None:
    path = write_json(here / "models.json", {"model_list": [], "lumni_settings": {"port": 8123}})
    loaded = Settings.load(path, {})
    assert (loaded.port, loaded.litellm_config) == (8123, path)


def test_the_model_list_beside_the_given_config_is_found(here: Path) -> None:
    (here / "etc").mkdir()
    listed = write_yaml(here / "etc" / "litellm_config.yaml", {})
    write_yaml(here / "litellm_config.yaml", {})
    config = write_json(here / "etc" / "config.json", {})
    assert Settings.load(config, {}).litellm_config == listed
    assert Settings.load(None, {}).litellm_config == here / "litellm_config.yaml"


def test_the_example_config_loads_without_a_warning() -> None:
    """000-40: config.example.json, with the variables that it names."""
    environ = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h", "UNIFIED_API_KEY": SECRET}
    reading = Settings.read(ROOT / "config.example.json", environ)
    assert {finding.level for finding in reading.findings} == {"ok"}


def test_the_example_config_has_every_key_of_later_versions() -> None:
    """001-47 to 001-50, 000-43, 000-44: whoever looks for such a key finds it there."""
    example = flatten(json.loads((ROOT / "config.example.json").read_text()))
    sections = {key.split(".")[0] for key in example}
    assert {key.split(".")[0] for key in LATER_KEYS} <= sections
    assert {key for key in SETTING_KEYS if key.startswith("academic.")} <= example.keys()


def test_the_example_env_loads_without_a_warning(here: Path) -> None:
    """000-40: copying .env.example changes nothing, and it lists every setting."""
    text = (ROOT / ".env.example").read_text()
    (here / ".env").write_text(text)
    assert Settings.read(None, {}).findings == ()
    assert Settings.load(None, {}) == Settings(litellm_config=default_model_list())
    for field in Settings.model_fields.keys() - FILES_ONLY:
        assert re.search(rf"^{field.upper()}=", text, re.MULTILINE), field


def test_every_setting_is_documented() -> None:
    """docs/configuration.md has a row for each field, with its names and its default."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    rows = {row.split("|")[1].strip(" `"): row for row in text.splitlines() if row.startswith("| `")}
    keys = {field: key for key, field in SETTING_KEYS.items()}
    assert set(Settings.model_fields) == set(keys)
    for name, field in Settings.model_fields.items():
        row = rows[name]
        assert f"`{keys[name]}`" in row
        assert name in FILES_ONLY or f"`{name.upper()}`" in row
        if isinstance(field.default, (int, float, str)):
            assert f"`{field.default}`" in row, row


@pytest.mark.parametrize(
    ("wrong", "right"), [("server.prot", "server.port"), ("auth.unified_api_key", "auth.unifiedApiKey"), ("zzzzzz", "")]
)
def test_the_nearest_name(wrong: str, right: str) -> None:
    assert nearest(wrong, SETTING_KEYS) == right


def test_the_weights_of_the_selection_are_read_by_their_names(here: Path) -> None:
    """001-50: what is left out keeps its default."""
    weights = {"benchmarkRanking": 0.2, "costEfficiency": 0.2}
    write_json(here / "config.json", {"academic": {"benchmarkSelection": {"enabled": False, "weights": weights}}})
    loaded = Settings.load(None, {})
    assert loaded.selection_weights.model_dump() == {**WEIGHTS, "benchmark_ranking": 0.2, "cost_efficiency": 0.2}
    assert not loaded.benchmark_selection
    assert Settings().selection_weights.model_dump() == WEIGHTS


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"costEfficiency": 0.5}, "these sum to 1.4"),
        ({"costEfficiency": -0.1, "recentUsage": 0.3}, "greater than or equal to 0"),
        ({"costs": 0.1}, "costs.*not permitted"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(here: Path, weights: dict[str, float], said: str) -> None:
    """001-50: they sum to 1, none is negative, and none has a name that nobody knows."""
    write_json(here / "config.json", {"academic": {"benchmarkSelection": {"weights": weights}}})
    with pytest.raises(ConfigurationError, match=f"selection_weights.*{said}"):
        Settings.load(None, {})
