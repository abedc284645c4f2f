"""Where a setting's value comes from: command line > environment > ``config.json`` > the model list > the default."""

import importlib.resources
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from lumni import files
from lumni.config_keys import ALL_KEYS, LATER_KEYS, SETTING_KEYS, STORE_KEYS, TYPED_KEYS, did_you_mean, flatten
from lumni.files import Finding

PREFIX = "LUMNI_"
# Too much in them for a variable.
FILES_ONLY = frozenset(
    {"limit_tiers", "selection_weights", "disabled_deployments", "experiments", "providers", "accounts"}
)
# LiteLLM's own places for some of our settings, the weakest source of all.
LITELLM_PLACES: Mapping[tuple[str, ...], str] = {
    ("router_settings", "timeout"): "request_timeout",
    ("router_settings", "num_retries"): "num_retries",
    ("general_settings", "master_key"): "unified_api_key",
    ("litellm_settings", "cache"): "cache_enabled",
    ("litellm_settings", "cache_params", "type"): "cache_type",
    ("litellm_settings", "cache_params", "ttl"): "cache_ttl_seconds",
}


class Value(NamedTuple):
    """A raw value and its ``source`` in words that a message can use."""

    value: Any
    source: str


Values = dict[str, Value]


class Collected(NamedTuple):
    """What every source says, the strongest source first, and what was odd on the way."""

    places: tuple[Values, ...]
    findings: tuple[Finding, ...]

    def sources(self, settings_cls: type[BaseSettings]) -> tuple[PydanticBaseSettingsSource, ...]:
        return tuple(Place(settings_cls, values) for values in self.places)

    def source_of(self, field: str) -> str:
        """Where the value of ``field`` comes from, in words; ``missing`` if no source names it."""
        value = ChainMap(*self.places).get(field)
        return value.source if value else "missing"


class Place(PydanticBaseSettingsSource):
    """One source. A setting that a stronger one names is hidden whole: mappings aren't merged across sources."""

    def __init__(self, settings_cls: type[BaseSettings], values: Values) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002  (their interface)
        return self._values[field_name].value, field_name, False

    def __call__(self) -> dict[str, Any]:
        return {name: value.value for name, value in self._values.items() if name not in self.current_state}


def default_model_list() -> Path:
    """The model list that comes with Lumni: inside an installed package, or the repository's own in a checkout."""
    packaged = Path(str(importlib.resources.files("lumni") / "catalogue" / "data" / "litellm_config.yaml"))
    return packaged if packaged.is_file() else Path(__file__).parents[1] / "litellm_config.yaml"


def collect(
    fields: Collection[str],
    config: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    directory: Path,
) -> Collected:
    """Read all sources. ``environ`` includes ``.env`` already; ``directory`` is where the files are looked for.

    Raises ``ConfigurationError`` for a file that can't be read.
    """
    findings: list[Finding] = []
    given = {name: Value(value, "command line") for name, value in overrides.items() if value is not None}
    from_env = _from_environment(fields, environ, findings)
    config_json = _config_json(config, directory)
    from_json = _from_config_json(config_json, environ, findings) if config_json else {}

    if config and config != config_json:
        given["litellm_config"] = Value(config, "--config")
    places = [given, from_env, from_json]
    model_list = ChainMap(*places).get("litellm_config")
    if model_list is None:
        folders = [config_json.parent, directory] if config_json else [directory]
        candidates = [folder / "litellm_config.yaml" for folder in folders]
        found = next((path for path in candidates if path.is_file()), None)
        model_list = Value(found or default_model_list(), "default")
        places.append({"litellm_config": model_list})
    places.append(_from_model_list(model_list, fields, environ, findings))
    return Collected(tuple(places), tuple(findings))


def _from_environment(fields: Collection[str], environ: Mapping[str, str], findings: list[Finding]) -> Values:
    values: Values = {}
    names = {field: (PREFIX + field.upper(), field.upper()) for field in fields if field not in FILES_ONLY}
    for field, (prefixed, plain) in names.items():
        # An empty variable is an unset one: .env files list names without values.
        name = prefixed if environ.get(prefixed) else plain
        if environ.get(name):
            values[field] = Value(environ[name], f"environment variable {name}")
    known = {name for pair in names.values() for name in pair}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            mend = did_you_mean(name, [name for name in known if name.startswith(PREFIX)], "Remove it")
            findings.append(Finding("warning", f"The environment variable {name} is no setting", mend))
    return values


def _config_json(config: Path | None, directory: Path) -> Path | None:
    """The settings file: ``--config`` if it is one, else (without ``--config``) the directory's ``config.json``."""
    if config is None:
        default = directory / "config.json"
        return default if default.is_file() else None
    if config.suffix != ".json":
        return None
    return None if {"model_list", "models"} & files.read_mapping(config).keys() else config


def _from_config_json(path: Path, environ: Mapping[str, str], findings: list[Finding]) -> Values:
    content = files.substitute(files.read_mapping(path), environ)
    findings.extend(files.not_set(path, content.missing))
    flat = flatten(content.value)
    values: Values = {}
    later = set()
    for key, value in flat.items():
        field = SETTING_KEYS.get(key)
        if value is None or (value == "" and key in ALL_KEYS):
            continue
        if field:
            # Paths are meant from the file that names them.
            meant = path.parent / str(value) if field == "litellm_config" else value
            values[field] = Value(meant, f"{path.name}: {key}")
        elif key in TYPED_KEYS:
            _check_type(path.name, key, value)
            later |= {key.split(".")[0]} if key in LATER_KEYS else set()
        else:
            mend = did_you_mean(key, ALL_KEYS, "Remove it; docs/configuration.md lists all keys")
            findings.append(Finding("warning", f"{path.name}: unknown key `{key}`", mend))
    if later:
        findings.append(Finding("ok", f"{path.name}: accepted, but not all used yet: {', '.join(sorted(later))}"))
    findings.extend(_stores_without_url(path.name, flat))
    return values


def _check_type(file: str, key: str, value: Any) -> None:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(TYPED_KEYS[key]).validate_python(value)
    except ValidationError as error:
        reason = error.errors(include_input=False, include_url=False)[0]["msg"]
        raise files.fault(f"{file}: {key}: {reason}", "Mend it there, or remove it") from None


def _stores_without_url(file: str, flat: Mapping[str, Any]) -> list[Finding]:
    urls = {"postgresql": ("storage.url", "SQLite"), "redis": ("cache.url", "memory")}
    findings = []
    for key in (*STORE_KEYS, "cache.type"):
        needed, used = urls.get(flat.get(key, ""), ("", ""))
        if needed and not flat.get(needed):
            what = f"{file}: {key} is {flat[key]}, but {needed} is empty: {used} is used"
            findings.append(Finding("warning", what, f"Set {needed}, or remove {key}"))
    return findings


def _from_model_list(
    model_list: Value, fields: Collection[str], environ: Mapping[str, str], findings: list[Finding]
) -> Values:
    path = Path(model_list.value)
    content = files.read_with_includes(path)
    values: Values = {}
    for place, field in LITELLM_PLACES.items():
        value = files.substitute(_at(content, place), environ).value
        if value not in (None, ""):
            values[field] = Value(value, f"{path.name}: {'.'.join(place)}")
    own = files.substitute(content.get("lumni_settings") or {}, environ, "lumni_settings")
    findings.extend(files.not_set(path, own.missing))
    for key, value in own.value.items():
        if key not in fields or key == "litellm_config":
            mend = did_you_mean(key, fields, "Remove it; docs/configuration.md lists all settings")
            findings.append(Finding("warning", f"{path.name}: unknown key `lumni_settings.{key}`", mend))
        elif value not in (None, ""):
            values[key] = Value(value, f"{path.name}: lumni_settings.{key}")
    return values


def _at(content: Any, place: Sequence[str]) -> Any:
    """What a file has there; ``None`` where there is nothing."""
    for key in place:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content
