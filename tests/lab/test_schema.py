"""What the lab makes up for a schema is valid under that schema, as an independent validator sees it."""

import random
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lumni.lab.schema import ExampleMaker, UnsatisfiableError
from lumni.lab.validation import fits

Schema = dict[str, Any]

_NAMES = st.sampled_from(["city", "unit", "days", "when", "tags", "home"])
_PATTERNS = [
    r"^[A-Z]{2}-\d{3,5}$",
    r"^(red|green|blue)$",
    r"\d+",
    r"^[^\s]+@[^\s]+\.com$",
    r"^\+?[1-9]\d{6,14}$",
    r"^a*b?$",
]
_FORMATS = ["date-time", "date", "time", "email", "uuid", "uri", "hostname", "ipv4", "ipv6", "duration"]


@st.composite
def _numbers(draw: st.DrawFn) -> Schema:
    schema: Schema = {"type": draw(st.sampled_from(["integer", "number"]))}
    low = draw(st.integers(-1000, 1000))
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + draw(st.integers(25, 500))
    if draw(st.booleans()):
        schema["multipleOf"] = draw(st.sampled_from([1, 2, 5, 0.5, 10]))
    return schema


@st.composite
def _strings(draw: st.DrawFn) -> Schema:
    kind = draw(st.sampled_from(["plain", "bounded", "format", "pattern", "enum"]))
    if kind == "bounded":
        low = draw(st.integers(0, 30))
        return {"type": "string", "minLength": low, "maxLength": low + draw(st.integers(0, 20))}
    if kind == "format":
        return {"type": "string", "format": draw(st.sampled_from(_FORMATS))}
    if kind == "pattern":
        return {"type": "string", "pattern": draw(st.sampled_from(_PATTERNS))}
    if kind == "enum":
        return {
            "enum": draw(
                st.lists(
                    st.one_of(st.text(max_size=5), st.integers(-(2**53), 2**53), st.none()), min_size=1, max_size=4
                )
            )
        }
    return {"type": "string"}


def _compound(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    @st.composite
    def objects(draw: st.DrawFn) -> Schema:
        properties = draw(st.dictionaries(_NAMES, inner, max_size=4))
        required = [name for name in properties if draw(st.booleans())]
        schema: Schema = {"type": "object", "properties": properties, "required": required}
        if draw(st.booleans()):
            schema["additionalProperties"] = False
        elif draw(st.booleans()):
            schema["minProperties"] = len(properties) + draw(st.integers(0, 2))
        return schema

    @st.composite
    def arrays(draw: st.DrawFn) -> Schema:
        low = draw(st.integers(0, 3))
        schema: Schema = {"type": "array", "items": draw(inner), "minItems": low}
        if draw(st.booleans()):
            schema["maxItems"] = low + draw(st.integers(0, 2))
        if draw(st.booleans()):
            schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=2))
        return schema

    @st.composite
    def choices(draw: st.DrawFn) -> Schema:
        return {draw(st.sampled_from(["anyOf", "oneOf"])): draw(st.lists(inner, min_size=1, max_size=3))}

    @st.composite
    def nullable(draw: st.DrawFn) -> Schema:
        return {"anyOf": [{"type": "null"}, draw(inner)]}

    @st.composite
    def both(draw: st.DrawFn) -> Schema:
        return {"allOf": [draw(objects()), draw(objects())], "type": "object"}

    return st.one_of(objects(), arrays(), choices(), nullable(), both())


_SCHEMAS = st.recursive(st.one_of(_numbers(), _strings(), st.just({"type": "boolean"})), _compound, max_leaves=8)


def _satisfied(schema: Schema, value: Any) -> bool:
    """Valid, formats included; where combined schemas may ask for two formats at once, formats are annotations."""
    return jsonschema_rs.validator_for(schema, validate_formats=not _may_contradict(schema)).is_valid(value)


@settings(max_examples=300, deadline=None)
@given(schema=_SCHEMAS, seed=st.integers(0, 2**32))
def test_every_example_is_valid_under_its_schema(schema: Schema, seed: int) -> None:
    """003-42: tool arguments and structured outputs fit the schema that asked for them."""
    try:
        value = ExampleMaker(schema, random.Random(seed)).make()
    except UnsatisfiableError:
        # allOf of two closed objects, or oneOf of equal branches, may truly have no value
        assume(not _may_contradict(schema))
        raise
    assert _satisfied(schema, value), value
    assert fits(value, schema, schema)


def _may_contradict(schema: Any) -> bool:
    if isinstance(schema, dict):
        return bool(schema.keys() & {"allOf", "oneOf"}) or any(map(_may_contradict, schema.values()))
    return isinstance(schema, list) and any(map(_may_contradict, schema))


@given(
    schema=_SCHEMAS,
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=4)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=3)),
        max_leaves=5,
    ),
)
@settings(max_examples=300, deadline=None)
def test_our_check_agrees_with_an_independent_validator(schema: Schema, value: Any) -> None:
    """003-42: what the lab takes for valid is valid (formats aside, which it only makes)."""
    assert fits(value, schema, schema) == jsonschema_rs.validator_for(schema, validate_formats=False).is_valid(value)


_HARD: dict[str, Schema] = {
    "a tree that refers to itself": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["value", "children", "next"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
    "a schema that is its own root": {
        "type": "object",
        "properties": {"child": {"$ref": "#"}, "id": {"type": "string"}},
        "required": ["id"],
    },
    "branches told apart by a constant": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": "a"}, "x": {"type": "number"}},
                "required": ["kind", "x"],
            },
            {
                "type": "object",
                "properties": {"kind": {"const": "b"}, "y": {"type": "string"}},
                "required": ["kind", "y"],
            },
        ]
    },
    "unique options": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    "one that contains another": {
        "type": "array",
        "contains": {"const": 7},
        "items": {"type": "integer"},
        "minItems": 2,
    },
    "a condition": {
        "type": "object",
        "properties": {"pay": {"enum": ["card", "cash"]}, "number": {"type": "string"}},
        "required": ["pay"],
        "if": {"properties": {"pay": {"const": "card"}}},
        "then": {"required": ["number"]},
    },
    "something forbidden": {"type": "integer", "minimum": 1, "maximum": 3, "not": {"const": 2}},
    "names by pattern": {
        "type": "object",
        "patternProperties": {"^x-[a-z]{3}$": {"type": "integer"}},
        "additionalProperties": False,
        "minProperties": 2,
    },
    "named properties only": {"type": "object", "propertyNames": {"pattern": "^[a-z]{4}$"}, "minProperties": 1},
    "a tight open interval": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    "two ranges at once": {"allOf": [{"type": "number", "minimum": 5}, {"type": "integer", "maximum": 5}]},
    "several types": {"type": ["null", "string", "integer"]},
    "a long pattern": {"type": "string", "pattern": "^[a-f0-9]+$", "minLength": 32, "maxLength": 32},
    "anything": {},
}


@pytest.mark.parametrize("name", _HARD)
def test_hard_schemas_have_valid_examples(name: str) -> None:
    """003-42: references, recursion and combinations are met."""
    for seed in range(5):
        value = ExampleMaker(_HARD[name], random.Random(seed)).make()
        assert _satisfied(_HARD[name], value), value


def test_a_schema_without_values_is_said_to_have_none() -> None:
    """003-42: no wrong value is passed off as an example."""
    with pytest.raises(UnsatisfiableError):
        ExampleMaker({"type": "integer", "minimum": 5, "maximum": 4}, random.Random(0)).make()


def test_names_in_the_prompt_become_the_arguments() -> None:
    """003-42: a demo's tool call is about what was asked."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert ExampleMaker(schema, random.Random(0), ["Paris"]).make() == {"city": "Paris"}


def test_optional_properties_give_way_to_a_closed_schema() -> None:
    """003-42: what one part of ``allOf`` offers and another forbids is left out."""
    closed = {"type": "object", "properties": {"home": {"type": "boolean"}}, "additionalProperties": False}
    offering = {"type": "object", "properties": {"when": {"type": "string"}}, "required": ["home"]}
    value = ExampleMaker({"allOf": [closed, offering]}, random.Random(0)).make()
    assert value.keys() == {"home"}
