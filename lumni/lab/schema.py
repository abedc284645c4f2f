"""Example values for a JSON Schema: what the lab puts into tool arguments and structured outputs.

Covers types, ``enum``, ``const``, ``required``, numeric and size bounds, formats, patterns, ``anyOf``/``oneOf``/
``allOf``, ``if``/``not`` (by trying), local ``$ref`` and recursion. ``$dynamicRef``, remote references and the
``unevaluated…`` keywords are not understood.
"""

import math
import random
from collections.abc import Iterator
from typing import Any

import orjson

from .strings import make_string
from .validation import Schema, fits, resolve, rules_for, same

_TRIES = 24
_ALL_TRIES = 2_000  # for one value; keeps a schema made to be slow from being slow
_SHALLOW = 4  # below this depth optional properties are left out, so that recursive schemas end
_DEEPEST = 40
_BOUNDS_THAT_RISE = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_BOUNDS_THAT_FALL = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


class UnsatisfiableError(ValueError):
    """No value was found that fits the schema."""


class ExampleMaker:
    """Makes values for one root schema; ``words`` (taken in turn) fill strings that nothing constrains."""

    def __init__(self, root: Schema, rng: random.Random, words: list[str] | None = None) -> None:
        self._root = root
        self._rng = rng
        self._words = words or []
        self._next_word = 0
        self._hopeless: set[bytes] = set()  # schemas, as JSON, for which every try has failed
        self._tries_left = _ALL_TRIES

    def make(self) -> Any:
        """A value that fits the root schema. Raises ``UnsatisfiableError`` when none is found."""
        return self._make(self._root, "value", 0)

    def _make(self, schema: Schema, name: str, depth: int) -> Any:
        if schema is False or depth > _DEEPEST:
            raise UnsatisfiableError(f"nothing fits at “{name}”")
        if schema is True:
            return self._word(name)
        written = orjson.dumps(schema)
        if written in self._hopeless:
            raise UnsatisfiableError(f"nothing fits at “{name}”")
        for attempt in range(_TRIES):
            for flat in self._flatten(schema, depth, attempt):
                self._tries_left -= 1
                if self._tries_left < 0:
                    raise UnsatisfiableError(f"nothing was found in {_ALL_TRIES} tries")
                try:
                    value = self._from_flat(flat, name, depth, attempt)
                except UnsatisfiableError:
                    continue
                if fits(value, schema, self._root):
                    return value
        self._hopeless.add(written)
        raise UnsatisfiableError(f"nothing fits at “{name}”")

    def _flatten(self, schema: Schema, depth: int, attempt: int) -> Iterator[dict[str, Any]]:
        """The schema without references and combinations: one flat schema for each way through its branches."""
        if isinstance(schema, bool):
            if schema:
                yield {}
            return
        if depth > _DEEPEST:
            return
        flat = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf", "if")}
        parts: list[list[Schema]] = [[part] for part in schema.get("allOf", ())]
        if "$ref" in schema:
            parts.append([resolve(schema["$ref"], self._root)])
        parts += [self._ordered(schema[key], depth, attempt) for key in ("anyOf", "oneOf") if schema.get(key)]
        if "if" in schema:
            parts.append([{"allOf": [schema["if"], schema.get("then", True)]}, schema.get("else", True)])
        yield from self._combine(flat, parts, depth, attempt)

    def _combine(
        self, flat: dict[str, Any], parts: list[list[Schema]], depth: int, attempt: int
    ) -> Iterator[dict[str, Any]]:
        if not parts:
            yield flat
            return
        for branch in parts[0]:
            for inner in self._flatten(branch, depth + 1, attempt):
                yield from self._combine(merge(flat, inner), parts[1:], depth, attempt)

    def _ordered(self, branches: list[Schema], depth: int, attempt: int) -> list[Schema]:
        """Branches as written, so that an example is the author's first choice; deep down the plainest come first."""
        ordered = list(branches)
        if depth > _SHALLOW:
            ordered.sort(key=lambda branch: 0 if isinstance(branch, dict) and "$ref" not in branch else 1)
            ordered.sort(key=lambda branch: 0 if isinstance(branch, dict) and branch.get("type") == "null" else 1)
        elif isinstance(branches[0], dict) and branches[0].get("type") == "null":
            ordered = [*ordered[1:], ordered[0]]
        turn = attempt % len(ordered)
        return ordered[turn:] + ordered[:turn]

    def _from_flat(self, schema: dict[str, Any], name: str, depth: int, attempt: int) -> Any:
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            options = [option for option in schema["enum"] if fits(option, schema, self._root)]
            if not options:
                raise UnsatisfiableError(f"no option fits at “{name}”")
            return self._rng.choice(options)
        if attempt == 0 and "default" in schema and fits(schema["default"], schema, self._root):
            return schema["default"]
        kind = _kind(schema, attempt)
        if kind == "null":
            return None
        if kind == "boolean":
            return self._rng.random() < 0.5
        if kind in ("integer", "number"):
            return _number(schema, kind, self._rng, attempt)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind == "object":
            return self._object(schema, name, depth, sparse=depth >= _SHALLOW or attempt >= _TRIES // 4)
        return make_string(schema, self._word(name), self._rng, attempt)

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        heads, items = schema.get("prefixItems", []), schema.get("items", True)
        low, high = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        wanted = max(low, len(heads), 1 if depth <= _SHALLOW and items is not False else 0)
        wanted = int(min(wanted, high))
        made: list[Any] = []
        if "contains" in schema:
            for _ in range(schema.get("minContains", 1)):
                both = {"allOf": [schema["contains"], items if len(made) >= len(heads) else heads[len(made)]]}
                made.append(self._item(both, made, schema, name, depth))
        while len(made) < wanted:
            under = heads[len(made)] if len(made) < len(heads) else items
            try:
                made.append(self._item(under, made, schema, name, depth))
            except UnsatisfiableError:
                if len(made) < low:
                    raise
                break
        return made

    def _item(self, under: Schema, made: list[Any], schema: dict[str, Any], name: str, depth: int) -> Any:
        for _ in range(_TRIES):
            value = self._make(under, f"{name} {len(made) + 1}", depth + 1)
            if not schema.get("uniqueItems") or not any(same(value, other) for other in made):
                return value
        if isinstance(under, dict) and "enum" in under:
            for option in under["enum"]:
                if not any(same(option, other) for other in made):
                    return option
        raise UnsatisfiableError(f"no further item for “{name}”")

    def _object(self, schema: dict[str, Any], name: str, depth: int, *, sparse: bool) -> dict[str, Any]:
        """All properties, or (``sparse``) no more than are needed."""
        required, most = list(schema.get("required", ())), schema.get("maxProperties", math.inf)
        made = {key: self._make(self._rule(key, schema), key, depth + 1) for key in required}
        optional = [key for key in schema.get("properties", {}) if key not in made]
        least = schema.get("minProperties", 0)
        for key in optional:
            if len(made) >= most or (sparse and len(made) >= least):
                break
            try:
                made[key] = self._make(self._rule(key, schema), key, depth + 1)
            except UnsatisfiableError:
                continue
        self._fill(made, schema, name, depth, int(least))
        return made

    def _fill(self, made: dict[str, Any], schema: dict[str, Any], name: str, depth: int, least: int) -> None:
        """Properties that nothing names, up to ``minProperties``."""
        names = schema.get("propertyNames", True)
        patterns = list(schema.get("patternProperties", {}))
        for number in range(least * _TRIES):
            if len(made) >= least:
                return
            rules = [names, {"type": "string", "pattern": patterns[number % len(patterns)]}] if patterns else [names]
            key = (
                f"key_{number + 1}" if rules == [True] else self._make({"allOf": rules}, f"key_{number + 1}", depth + 1)
            )
            if isinstance(key, str) and key not in made:
                made[key] = self._make(self._rule(key, schema), key, depth + 1)
        if len(made) < least:
            raise UnsatisfiableError(f"too few properties for “{name}”")

    def _rule(self, key: str, schema: dict[str, Any]) -> Schema:
        rules = rules_for(key, schema)
        return rules[0] if len(rules) == 1 else {"allOf": rules}

    def _word(self, name: str) -> str:
        if self._next_word < len(self._words):
            self._next_word += 1
            return self._words[self._next_word - 1]
        return name.replace("_", " ")


def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """One schema for values that fit both; keywords with no common form are left to the final check."""
    merged = {**a, **b}
    for key in a.keys() & b.keys():
        merged[key] = _merge_keyword(key, a[key], b[key])
    return merged


def _merge_keyword(key: str, a: Any, b: Any) -> Any:
    if key in _BOUNDS_THAT_RISE:
        return max(a, b)
    if key in _BOUNDS_THAT_FALL:
        return min(a, b)
    if key == "required":
        return list(dict.fromkeys([*a, *b]))
    if key == "enum":
        return [option for option in a if any(same(option, other) for other in b)]
    if key == "type":
        return _common_types(a, b)
    if key in ("properties", "patternProperties"):
        both = {name: {"allOf": [a[name], b[name]]} for name in a.keys() & b.keys()}
        return {**a, **b, **both}
    if key in ("items", "additionalProperties", "contains", "propertyNames"):
        return {"allOf": [a, b]}
    if key == "multipleOf" and isinstance(a, int) and isinstance(b, int):
        return math.lcm(a, b)
    return b


def _common_types(a: str | list[str], b: str | list[str]) -> list[str]:
    left, right = ([kinds] if isinstance(kinds, str) else kinds for kinds in (a, b))
    common = [kind for kind in left if kind in right]
    if "integer" not in common and {"integer", "number"} <= {*left, *right}:
        common.append("integer")
    return common


def _kind(schema: dict[str, Any], attempt: int) -> str:
    """The JSON type to make: the declared one (``null`` last), or the one that the keywords speak of."""
    declared = schema.get("type")
    if declared is not None:
        kinds = [declared] if isinstance(declared, str) else [kind for kind in declared if kind != "null"]
        if not kinds:
            if not declared:
                raise UnsatisfiableError("no type fits")
            return "null"
        return str(kinds[attempt % len(kinds)])
    if schema.keys() & {"properties", "required", "additionalProperties", "minProperties", "patternProperties"}:
        return "object"
    if schema.keys() & {"items", "prefixItems", "minItems", "contains"}:
        return "array"
    if schema.keys() & {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}:
        return "number"
    return "string"


def _number(schema: dict[str, Any], kind: str, rng: random.Random, attempt: int) -> int | float:
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    if low > high:
        raise UnsatisfiableError("the bounds leave no number")
    start = low if low > -math.inf else min(high - 10, 1)
    end = high if high < math.inf else max(start + 10, 10)
    step = schema.get("multipleOf") or (1 if kind == "integer" else None)
    if step is not None:
        return _multiple(start, end, step, kind, rng)
    if end - start > 1:
        return float(round(start + (end - start) / 2, 2))
    return float(start + (end - start) * (attempt + 1) / (_TRIES + 1) if attempt else start)


def _multiple(start: float, end: float, step: float, kind: str, rng: random.Random) -> int | float:
    """A multiple of ``step`` between the bounds; which of the bounds are exclusive is left to the final check."""
    if kind == "integer":
        step = next((step * factor for factor in range(1, 1000) if math.isclose(step * factor % 1, 0, abs_tol=1e-9)), 1)
    first, last = math.ceil(start / step), math.floor(end / step)
    if first > last:
        raise UnsatisfiableError("the bounds leave no number")
    value = rng.randint(first, last) * step
    return round(value) if kind == "integer" else value
