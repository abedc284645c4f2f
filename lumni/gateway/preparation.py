"""What a request is before it is planned: its experiment's variant, and its prompt's text."""

from collections.abc import Mapping
from dataclasses import replace

from lumni.experiment import Experiment
from lumni.gateway.admission import person_of
from lumni.telemetry.prompts import Prompts
from lumni.types import ChatRequest, Principal


class Preparation:
    """``experiments`` by their names."""

    def __init__(self, experiments: Mapping[str, Experiment], prompts: Prompts) -> None:
        self._experiments = experiments
        self._prompts = prompts

    async def prepare(self, request: ChatRequest, principal: Principal) -> ChatRequest:
        """The request with all that is decided before any model is. Raises :class:`LumniError`."""
        request = self.treat(request, principal)
        if request.prompt is None:
            return request
        text = await self._prompts.render(request.prompt)
        messages = [*text["messages"], *request.messages]
        return replace(request, body={**text, **request.body, "messages": messages})

    def treat(self, request: ChatRequest, principal: Principal) -> ChatRequest:
        """The request with its variant, if it takes part in an experiment. In an exam nobody does."""
        if request.pinned:
            return request
        name = request.experiment
        if name is None:
            invited = (name for name, one in self._experiments.items() if one.invites(request, principal.course))
            name = next(invited, None)
        if name is None or name not in self._experiments:  # it may be over: students' programs go on without
            return request
        experiment = self._experiments[name]
        person = person_of(principal, request.label)
        unit = (principal.course or person) if experiment.unit == "course" else person
        treatment, model, prompt = experiment.treat(name, request, unit)
        return replace(request, model=model, body={**request.body, "model": model}, prompt=prompt, treatment=treatment)
