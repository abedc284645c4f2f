"""Small catalogues and availabilities, made by hand or by hypothesis."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from lumni.catalogue.model import Capabilities, Catalogue, Deployment, Price
from lumni.intelligence import Availability, Plan, plan
from lumni.money import NanoUSD
from lumni.types import Json, TaskType

PROVIDERS = ("groq", "gemini", "cerebras")
PROOF = "Prove that √2 is irrational, and that the sum of √2 and a rational number is irrational too."


def deployment(id_: str, **fields: Any) -> Deployment:
    """A free, capable deployment; its provider is the id's first word."""
    provider = id_.partition("-")[0]
    defaults = {"group": id_, "provider": provider, "account": "a", "model": f"x/{id_}-model", "params": {}}
    return Deployment(id=id_, **{**defaults, **fields})


def chat(text: str, **fields: Any) -> Json:
    return {"messages": [{"role": "user", "content": text}], **fields}


def ask(
    catalogue: Catalogue | tuple[Deployment, ...],
    requested: str = "auto",
    *,
    text: str = "Hi!",
    body: Json | None = None,
    hint: TaskType | None = None,
    provider: str | None = None,
    fallback: bool = True,
    availability: Mapping[str, Availability] | None = None,
) -> Plan:
    """``plan`` with the defaults of an ordinary request."""
    return plan(
        requested=requested,
        body=body if body is not None else chat(text),
        hint=hint,
        provider=provider,
        fallback=fallback,
        catalogue=catalogue if isinstance(catalogue, Catalogue) else Catalogue(catalogue),
        availability=availability or {},
    )


def ids(made: Plan) -> list[str]:
    return [candidate.deployment.id for candidate in made.candidates]


def why(made: Plan) -> dict[str, str]:
    """Reasons of the excluded by deployment id."""
    return {out.deployment.id: out.reason for out in made.excluded}


capabilities = st.builds(
    Capabilities,
    context_window=st.none() | st.integers(100, 100_000),
    max_output=st.none() | st.integers(1, 10_000),
    tools=st.none() | st.booleans(),
    vision=st.none() | st.booleans(),
    json_schema=st.none() | st.booleans(),
    streaming=st.none() | st.booleans(),
)
prices = st.builds(Price, st.integers(0, 10**11).map(NanoUSD), st.integers(0, 10**11).map(NanoUSD))


@st.composite
def catalogues(draw: st.DrawFn, able: bool = False) -> Catalogue:
    """Up to seven deployments in three groups; with ``able`` all are enabled chat models that can do everything."""
    deployments = tuple(
        deployment(
            f"{draw(st.sampled_from(PROVIDERS))}-{number}",
            group=draw(st.sampled_from("abc")),
            priority=draw(st.integers(0, 3)),
            tier=draw(st.sampled_from(("fast", "powerful"))),
            free=draw(st.booleans()),
            price=draw(st.none() | prices),
            capabilities=Capabilities() if able else draw(capabilities),
            disabled="" if able else draw(st.sampled_from(("", "", "", "GROQ_API_KEY is not set"))),
            info={} if able else draw(st.sampled_from(({}, {"mode": "chat"}, {"mode": "embedding"}))),
        )
        for number in range(draw(st.integers(1, 7)))
    )
    fallbacks = draw(st.dictionaries(st.sampled_from(["a", "b", "*"]), st.lists(st.sampled_from("abc")).map(tuple)))
    return Catalogue(deployments, aliases={"gpt-4o": "a", "best": "powerful"}, fallbacks=fallbacks)


def availabilities(catalogue: Catalogue) -> st.SearchStrategy[dict[str, Availability]]:
    one = st.builds(
        Availability,
        headroom=st.floats(0, 1),
        blocked=st.sampled_from(("", "out of requests for this minute")),
        until=st.none() | st.floats(0, 3600),
        price=st.none() | st.floats(0, 1),
        calls=st.floats(0, 1000),
        unfit=st.sampled_from(("", "", "its quota is 100 tokens a minute")),
        room=st.booleans(),
    )
    return st.dictionaries(st.sampled_from([d.id for d in catalogue.deployments]), one)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
parts = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "file", "video"]) | anything}, optional={"text": anything}
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["system", "user", "assistant", "tool"]) | anything,
        "content": st.text() | st.none() | st.lists(parts | anything, max_size=4) | anything,
        "tool_calls": anything | st.lists(st.fixed_dictionaries({"function": anything}), max_size=2),
    },
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(messages | anything, max_size=5) | anything,
        "tools": anything,
        "functions": anything,
        "response_format": anything | st.just({"type": "json_schema"}),
        "reasoning_effort": anything | st.sampled_from(["low", "high"]),
        "max_tokens": anything,
        "max_completion_tokens": anything,
        "stream": anything,
    },
)
"""Bodies as strange as JSON allows, most of them nearly right."""
