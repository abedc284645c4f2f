"""Prompts are had from Portkey, filled in here, and there when Portkey isn't."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lumni.errors import PromptNotFound, PromptUnavailable
from lumni.telemetry.prompts import Prompts
from lumni.types import Prompt
from tests.telemetry.portkey_double import KEY, Portkey, portkey

TUTOR = {
    "model": "gpt-4o",
    "temperature": 0.2,
    "messages": [
        {"role": "system", "content": "You teach {{topic}}.{{#strict}} Never give the answer.{{/strict}}"},
        {"role": "user", "content": [{"type": "text", "text": "I am {{ name }}."}]},
    ],
}


@pytest.fixture
async def service() -> AsyncIterator[Portkey]:
    async with portkey() as double:
        double.prompts = {"tutor": TUTOR, "tutor@3": {"messages": [{"role": "user", "content": "Third {{name}}"}]}}
        yield double


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Shelf:
    """Prompts over a folder of the test's own; ``again`` is the same after a restart."""

    def __init__(self, service: Portkey | None, folder: Path) -> None:
        self.clock = Clock()
        self._url = service.base if service else None
        self._folder = folder
        self.made: list[Prompts] = []
        self.prompts = self.again()

    def again(self) -> Prompts:
        headers = {"x-portkey-api-key": KEY}
        self.prompts = Prompts(self._url, headers, self._folder, self._folder / "kept", 60.0, self.clock)
        self.made.append(self.prompts)
        return self.prompts

    async def texts(self, prompt: str = "tutor", /, **variables: Any) -> list[Any]:
        rendered = await self.prompts.render(Prompt(prompt, variables))
        return [message["content"] for message in rendered["messages"]]


@pytest.fixture
async def shelf(service: Portkey, tmp_path: Path) -> AsyncIterator[Shelf]:
    made = Shelf(service, tmp_path)
    yield made
    for prompts in made.made:
        await prompts.close()


async def test_prompts_are_filled_here(shelf: Shelf, service: Portkey) -> None:
    """001-04: with sections by Portkey; what students put in doesn't leave, and is no template itself."""
    system, [part] = await shelf.texts(topic="loops", name="{{topic}} & \u27e6lumni:topic\u27e7", strict=True)
    assert system == "You teach loops. Never give the answer."
    assert part["text"] == "I am {{topic}} & \u27e6lumni:topic\u27e7."
    assert (await shelf.texts(topic="loops", name="Ada", strict=False))[0] == "You teach loops."
    sent = json.dumps(service.rendered)
    assert not [word for word in ("loops", "Ada", "&") if word in sent]


async def test_a_prompt_says_how_but_not_which_model(shelf: Shelf) -> None:
    """001-04: its temperature counts, its model doesn't: the Router has that."""
    rendered = await shelf.prompts.render(Prompt("tutor", {}))
    assert (rendered["temperature"], "model" in rendered) == (0.2, False)
    assert rendered["messages"][0]["content"] == "You teach ."


async def test_versions_are_prompts_of_their_own(shelf: Shelf, service: Portkey) -> None:
    """001-04: asked for as Portkey wants it."""
    assert await shelf.texts("tutor@3", name="Ada") == ["Third Ada"]
    assert [name for name, _ in service.rendered] == ["tutor@3"]


async def test_a_class_asks_portkey_once(shelf: Shelf, service: Portkey) -> None:
    """001-04: thirty students at once, and all of the next minute."""
    service.hold.clear()
    waiting = [asyncio.ensure_future(shelf.texts(topic="loops", name=f"student {n}")) for n in range(30)]
    while not service.rendered:
        await asyncio.sleep(0.005)
    service.hold.set()
    told = await asyncio.gather(*waiting)
    assert [part["text"] for _, [part] in told] == [f"I am student {n}." for n in range(30)]
    shelf.clock.now = 59.0
    await shelf.texts(topic="sorting", name="Ada")
    assert len(service.rendered) == 1
    shelf.clock.now = 61.0
    service.prompts["tutor"] = {"messages": [{"role": "user", "content": "New for {{name}}"}]}
    assert await shelf.texts(topic="sorting", name="Ada") == ["New for Ada"]


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_the_last_good_one_serves_while_portkey_is_away(shelf: Shelf, service: Portkey, status: int) -> None:
    """001-04: for other students too, and after a restart; Portkey is asked again now and then."""
    await shelf.texts(topic="loops", name="Ada")
    service.status = status
    shelf.clock.now = 100.0
    for _ in range(3):
        assert (await shelf.texts(topic="trees", name="Ben"))[0] == "You teach trees."
    assert len(service.rendered) == 2
    shelf.again()
    assert (await shelf.texts(topic="graphs", name="Eve"))[0] == "You teach graphs."
    service.status = 200
    service.prompts["tutor"] = {"messages": [{"role": "user", "content": "Back, {{name}}"}]}
    shelf.clock.now = 200.0
    assert await shelf.texts(topic="graphs", name="Eve") == ["Back, Eve"]


async def test_a_file_serves_where_nothing_was_kept(shelf: Shelf, service: Portkey, tmp_path: Path) -> None:
    """001-04: by version if there is one for it."""
    service.status = 503
    with pytest.raises(PromptUnavailable):
        await shelf.texts("local", name="Ada")
    (tmp_path / "local.yaml").write_text('messages: [{role: user, content: "Hello {{ name }}"}]', encoding="utf-8")
    (tmp_path / "local@2.yaml").write_text('messages: [{role: user, content: "Second {{name}}"}]', encoding="utf-8")
    assert await shelf.texts("local", name="Ada") == ["Hello Ada"]
    assert await shelf.texts("local@2", name="{{name}}") == ["Second {{name}}"]
    assert await shelf.texts("local@9", name="Ada") == ["Hello Ada"]


async def test_files_do_without_portkey(tmp_path: Path) -> None:
    """001-04: with no key at all; and a file that is wrong is told so."""
    shelf = Shelf(None, tmp_path)
    (tmp_path / "good.yaml").write_text('messages: [{role: user, content: "{{a}}{{b}}"}]', encoding="utf-8")
    (tmp_path / "bad.yaml").write_text("messages: [", encoding="utf-8")
    (tmp_path / "empty.yaml").write_text("temperature: 1", encoding="utf-8")
    assert await shelf.texts("good", a=1, b=True) == ["1true"]
    for name in ("bad", "empty"):
        with pytest.raises(PromptUnavailable, match=name):
            await shelf.texts(name)
    with pytest.raises(PromptNotFound, match="nothing"):
        await shelf.texts("nothing")


async def test_unknown_prompts_are_not_found(shelf: Shelf) -> None:
    """001-04"""
    with pytest.raises(PromptNotFound, match="no prompt nothing"):
        await shelf.texts("nothing")


@pytest.mark.parametrize("data", [{}, {"messages": []}, {"messages": ["hello"]}, {"messages": [{"content": "x"}]}])
async def test_an_answer_without_messages_is_none(shelf: Shelf, service: Portkey, data: dict[str, Any]) -> None:
    """001-04"""
    service.prompts["odd"] = data
    with pytest.raises(PromptUnavailable):
        await shelf.texts("odd")


async def test_made_up_variables_fill_no_disk(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """001-04: the oldest templates are forgotten, in memory and on the disk."""
    monkeypatch.setattr("lumni.telemetry.prompts.MOST_KEPT", 5)
    for number in range(12):
        await shelf.texts("tutor@3", **{f"made-up-{number}": "x"})
    assert len(list((tmp_path / "kept").iterdir())) == 5


async def test_who_leaves_early_is_no_trouble(shelf: Shelf, service: Portkey) -> None:
    """001-04: a fetch that fails after its only student has gone is heard of by nobody."""
    service.hold.clear()
    service.status = 500
    waiting = asyncio.ensure_future(shelf.texts())
    while not service.rendered:
        await asyncio.sleep(0.005)
    waiting.cancel()
    service.hold.set()
    while shelf.prompts._fetching:
        await asyncio.sleep(0.005)
