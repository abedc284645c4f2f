"""Experiments: requests that are dealt to variants, the same ones each time, by models or by prompts. Pure."""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lumni.types import ChatRequest, Prompt, Treatment

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PROMPT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
Unit = Literal["student", "course"]
PromptName = Annotated[str, StringConstraints(pattern=PROMPT_NAME)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PromptChoice(_Frozen):
    """A prompt, and which of its versions: by number or by label, else the one that is published."""

    id: PromptName
    version: int | None = Field(None, ge=1)
    label: PromptName | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "PromptChoice":
        if self.version is not None and self.label is not None:
            raise ValueError("a prompt has a version or a label, not both")
        return self

    def filled(self, variables: Mapping[str, str | bool | int | float]) -> Prompt:
        which = self.label if self.version is None else str(self.version)
        return Prompt(self.id if which is None else f"{self.id}@{which}", variables)


class Variant(_Frozen):
    """``weight`` is relative to the other variants'. What is left out stays as the client asked."""

    name: str = Field(pattern=NAME.pattern + "$")
    weight: float = Field(1.0, ge=0)
    model: str | None = Field(None, min_length=1)
    prompt: PromptChoice | None = None


class Experiment(_Frozen):
    """Which requests take part, and the variants that they are dealt to.

    They take part by asking for it (``experiment`` in the body); and, where ``models`` are named, whenever they ask
    for one of these, in one of the ``courses`` if these are named too. All requests of one ``unit`` get one variant.
    """

    unit: Unit = "student"
    models: tuple[str, ...] = ()
    courses: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _can_be_dealt(self) -> "Experiment":
        names = [variant.name for variant in self.variants]
        if len(set(names)) != len(names):
            raise ValueError("two variants have the same name")
        if sum(variant.weight for variant in self.variants) <= 0:
            raise ValueError("no variant has a weight")
        return self

    def invites(self, request: ChatRequest, course: str | None) -> bool:
        """Whether a request that didn't ask takes part."""
        return request.model in self.models and (not self.courses or course in self.courses)

    def variant_of(self, experiment: str, unit: str) -> Variant:
        """The same one each time, as long as names and weights stay.

        A hash of both names is uniform, and independent of other experiments'.
        """
        digest = hashlib.blake2b(f"{experiment}\0{unit}".encode(), digest_size=8).digest()
        left = int.from_bytes(digest) / 2**64 * sum(variant.weight for variant in self.variants)
        for variant in self.variants:
            left -= variant.weight
            if left < 0:
                return variant
        return next(variant for variant in reversed(self.variants) if variant.weight)

    def treat(self, name: str, request: ChatRequest, unit: str) -> tuple[Treatment, str, Prompt | None]:
        """What the request of that unit gets: its treatment, model and prompt."""
        variant = self.variant_of(name, unit)
        given = request.prompt.variables if request.prompt else {}
        prompt = variant.prompt.filled(given) if variant.prompt else request.prompt
        return Treatment(name, variant.name, unit), variant.model or request.model, prompt
