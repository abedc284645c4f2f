"""A small JSON Schema check, enough to tell whether a made-up value fits (2020-12 keywords that tools use)."""

import re
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any] | bool
_MAX_DEPTH = 40


def is_number(value: Any) -> bool:
    """Whether ``value`` is a JSON number; Python's booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: is_number(value) and float(value).is_integer(),
    "number": is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def resolve(reference: str, root: Schema) -> Schema:
    """The schema that a local ``$ref`` (``#`` or ``#/a/b``) points at; ``True`` for any other."""
    found: Any = root
    if not reference.startswith("#"):
        return True
    for key in reference[1:].split("/")[1:]:
        name = key.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            return True
    return found if isinstance(found, dict | bool) else True


def fits(value: Any, schema: Schema, root: Schema, depth: int = 0) -> bool:
    """Whether ``value`` is valid under ``schema``; keywords that it doesn't know allow everything."""
    if isinstance(schema, bool):
        return schema
    if depth > _MAX_DEPTH:
        return True

    def deeper(item: Any, under: Schema) -> bool:
        return fits(item, under, root, depth + 1)

    if "$ref" in schema and not deeper(value, resolve(schema["$ref"], root)):
        return False
    checks = (_fits_basics, _fits_combinations, _fits_number, _fits_string, _fits_array, _fits_object)
    return all(check(value, schema, deeper) for check in checks)


_Deeper = Callable[[Any, Schema], bool]


def _fits_basics(value: Any, schema: dict[str, Any], _: _Deeper) -> bool:
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        allowed = any(_TYPES[name](value) for name in types if name in _TYPES)
        if not allowed and not (value is None and schema.get("nullable")):
            return False
    if "const" in schema and not same(value, schema["const"]):
        return False
    return "enum" not in schema or any(same(value, option) for option in schema["enum"])


def _fits_combinations(value: Any, schema: dict[str, Any], deeper: _Deeper) -> bool:
    if not all(deeper(value, branch) for branch in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(deeper(value, branch) for branch in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(deeper(value, branch) for branch in schema["oneOf"]) != 1:
        return False
    if "not" in schema and deeper(value, schema["not"]):
        return False
    if "if" in schema:
        return deeper(value, schema.get("then" if deeper(value, schema["if"]) else "else", True))
    return True


def _fits_number(value: Any, schema: dict[str, Any], _: _Deeper) -> bool:
    if not is_number(value):
        return True
    step = schema.get("multipleOf")
    if step and abs(value / step - round(value / step)) > 1e-9:
        return False
    return (
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
    )


def _fits_string(value: Any, schema: dict[str, Any], _: _Deeper) -> bool:
    if not isinstance(value, str):
        return True
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return False
    return "pattern" not in schema or search(schema["pattern"], value)


def _fits_array(value: Any, schema: dict[str, Any], deeper: _Deeper) -> bool:
    if not isinstance(value, list):
        return True
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    if schema.get("uniqueItems") and any(same(a, b) for i, a in enumerate(value) for b in value[:i]):
        return False
    heads = schema.get("prefixItems", [])
    if not all(deeper(item, under) for item, under in zip(value, heads, strict=False)):
        return False
    if not all(deeper(item, schema.get("items", True)) for item in value[len(heads) :]):
        return False
    if "contains" in schema:
        count = sum(deeper(item, schema["contains"]) for item in value)
        return bool(schema.get("minContains", 1) <= count <= schema.get("maxContains", count))
    return True


def _fits_object(value: Any, schema: dict[str, Any], deeper: _Deeper) -> bool:
    if not isinstance(value, dict):
        return True
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return False
    if not all(name in value for name in schema.get("required", ())):
        return False
    for name, needed in schema.get("dependentRequired", {}).items():
        if name in value and not all(other in value for other in needed):
            return False
    return all(
        deeper(name, schema.get("propertyNames", True))
        and all(deeper(item, under) for under in rules_for(name, schema))
        for name, item in value.items()
    )


def rules_for(name: str, schema: dict[str, Any]) -> list[Schema]:
    """The schemas that an object's schema sets for its property ``name``."""
    rules = [under for pattern, under in schema.get("patternProperties", {}).items() if search(pattern, name)]
    if name in schema.get("properties", {}):
        rules.append(schema["properties"][name])
    return rules or [schema.get("additionalProperties", True)]


def search(pattern: str, text: str) -> bool:
    """``re.search``; a pattern that Python can't read matches everything."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def same(a: Any, b: Any) -> bool:
    """JSON equality: 1 is 1.0, but ``true`` is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b) if isinstance(a, str) or isinstance(b, str) else bool(a == b)
