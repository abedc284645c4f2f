"""Reading YAML, JSON and ``.env`` files: references to the environment, ``include``, errors that name the line.

Nothing here looks at the process: the environment always comes in as an argument.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

try:
    from yaml import CSafeLoader as _SafeLoader  # ten times as fast
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

Level = Literal["ok", "warning", "error"]
Json = dict[str, Any]

LITELLM_REFERENCE = "os.environ/"
# A doubled dollar sign escapes: $${X} stands for the text ${X}.
_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_ASSIGNMENT = re.compile(r"^(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(?P<value>.*)$")


class Finding(NamedTuple):
    """Something that a check of the configuration saw: ``what``, and in one line how to ``mend`` it."""

    level: Level
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.what}. {self.mend}" if self.mend else f"{self.what}."


class ConfigurationError(Exception):
    """The configuration can't be used. ``findings`` holds one entry for each fault; no message holds a secret."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        lines = [f"- {finding}" for finding in self.findings]
        super().__init__("\n".join(["The configuration can't be used:", *lines]))


class Missing(NamedTuple):
    """A variable that a file asks for and the environment lacks; ``where`` is the dotted path to the value."""

    name: str
    where: str


class Substituted(NamedTuple):
    value: Any
    missing: tuple[Missing, ...]


def not_set(file: Path, missing: Iterable[Missing]) -> list[Finding]:
    """A warning for each variable that ``file`` asks for in vain."""
    return [
        Finding("warning", f"{file.name}: {where} needs {name}, which is not set", f"Set {name} in .env")
        for name, where in missing
    ]


def fault(what: str, mend: str = "") -> ConfigurationError:
    return ConfigurationError([Finding("error", what, mend)])


def substitute(value: Any, environ: Mapping[str, str], where: str = "") -> Substituted:
    """``value`` with every ``${X}``, ``${X:-default}`` and ``os.environ/X`` in its strings resolved, at any depth.

    As in a shell, ``:-`` also replaces an empty variable. A missing variable without a default is reported, not
    raised: it becomes ``None`` where it is the whole text, nothing where it is a part of it.
    """
    missing: list[Missing] = []
    return Substituted(_resolve(value, environ, where, missing), tuple(missing))


def _resolve(value: Any, environ: Mapping[str, str], where: str, missing: list[Missing]) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolve(item, environ, _below(where, key), missing) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, environ, _below(where, index), missing) for index, item in enumerate(value)]
    if isinstance(value, str):
        return _resolve_text(value, environ, where, missing)
    return value


def _resolve_text(text: str, environ: Mapping[str, str], where: str, missing: list[Missing]) -> str | None:
    if text.startswith(LITELLM_REFERENCE):
        name = text.removeprefix(LITELLM_REFERENCE)
        if name not in environ:
            missing.append(Missing(name, where))
        return environ.get(name)

    def replacement(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name is None:
            return "${"
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            missing.append(Missing(name, where))
        return environ.get(name, "")

    whole = _REFERENCE.fullmatch(text)
    if whole and whole["name"] and whole["default"] is None and whole["name"] not in environ:
        missing.append(Missing(whole["name"], where))
        return None
    return _REFERENCE.sub(replacement, text)


def references(value: Any) -> tuple[str, ...]:
    """Names of the variables that a text refers to, in their order; none for anything but a text."""
    if not isinstance(value, str):
        return ()
    if value.startswith(LITELLM_REFERENCE):
        return (value.removeprefix(LITELLM_REFERENCE),)
    return tuple(match["name"] for match in _REFERENCE.finditer(value) if match["name"])


def _below(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def read_mapping(path: Path) -> Json:
    """The mapping that a YAML or (``.json``) JSON file holds, its references untouched; an empty file is ``{}``.

    Raises ``ConfigurationError`` with line and column for text that doesn't parse, and for a key that is there twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise fault(f"{path} does not exist", "Check the path, or leave it out to use the defaults") from None
    except (OSError, UnicodeDecodeError) as error:
        raise fault(f"{path} can't be read: {error}", "Check its permissions and that it is UTF-8 text") from None
    content = _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)
    if content is None:
        return {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise fault(f"{path} must hold keys and values at its top, not a {kind}", "Start it with a line like `key:`")
    return content


def _parse_json(path: Path, text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> Json:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise fault(f"{path}: the key {key!r} is there twice", "Remove one of the two")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique) if text.strip() else None
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        mend = "JSON needs double quotes, a comma between entries, none after the last, and knows no comments"
        raise fault(f"{place}: {error.msg}", mend) from None


class _UniqueKeyLoader(_SafeLoader):
    """Refuses a mapping that holds a key twice: YAML would keep the last one and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parse_yaml(path: Path, text: str) -> Any:
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        mend = "Check the indentation (spaces, never tabs) and put quotes around values with `: ` or a leading `*&@%`"
        raise fault(f"{place}: {error.problem or error.context}", mend) from None
    except yaml.YAMLError as error:
        raise fault(f"{path}: {error}", "Save it as UTF-8 text without control characters") from None


def read_with_includes(path: Path) -> Json:
    """A file with all files of its ``include: [a.yaml, …]`` merged into it, as LiteLLM does.

    Paths are relative to the file that names them. Lists are concatenated, other values of an included file win; a file
    that is named twice is read once. Raises ``ConfigurationError`` for a cycle.
    """
    return _read_below(path.resolve(), (), set())


def _read_below(path: Path, parents: tuple[Path, ...], seen: set[Path]) -> Json:
    if path in parents:
        chain = " -> ".join(file.name for file in (*parents[parents.index(path) :], path))
        raise fault(f"{path.name} includes itself: {chain}", "Remove one `include` of this circle")
    seen.add(path)
    merged = read_mapping(path)
    includes = merged.pop("include", None) or []
    if not isinstance(includes, list) or not all(isinstance(entry, str) for entry in includes):
        raise fault(f"{path}: `include` must be a list of file names", "Write it as `include: [models.yaml]`")
    for entry in includes:
        included = (path.parent / entry).resolve()
        if included in seen and included not in (*parents, path):
            continue
        for key, value in _read_below(included, (*parents, path), seen).items():
            both_lists = isinstance(value, list) and isinstance(merged.get(key), list)
            merged[key] = [*merged[key], *value] if both_lists else value
    return merged


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a ``.env`` file: ``NAME=value``, optional ``export``, quotes and ``# comments``."""
    variables: dict[str, str] = {}
    if not path.is_file():
        return variables
    lines = map(str.strip, path.read_text(encoding="utf-8").splitlines())
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        match = _ASSIGNMENT.match(line)
        if not match:
            raise fault(f"{path}, line {number}: not of the form NAME=value", "Put a # before it if it is a comment")
        variables[match["name"]] = _unquoted(match["value"])
    return variables


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote in ("'", '"') and (end := value.find(quote, 1)) > 0:
        return value[1:end]
    return re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()


def with_dotenv(environ: Mapping[str, str], directory: Path | None = None) -> dict[str, str]:
    """``environ`` over the variables of ``directory``'s ``.env`` (default: the working directory's)."""
    return {**read_dotenv((directory or Path.cwd()) / ".env"), **environ}
