"""What is kept of prompts and answers, who looked at it, and how it is forgotten."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from lumni import sse
from lumni.classroom import Content, Student
from lumni.errors import NotFound
from lumni.people import rights
from lumni.people.audit import Audit
from lumni.people.redaction import redact
from lumni.people.secret import Secret
from lumni.people.students import Students
from lumni.types import ChatRequest, Principal, Privacy

logger = logging.getLogger(__name__)

MOST_WAITING = 2_000  # requests whose content is not stored yet; that of more is let go
TOGETHER = 0.2  # seconds in which content is gathered
PAUSE = 5.0  # seconds until a database that is away is tried again
EXPIRE_EVERY = 6 * 3600.0  # seconds


class ContentStore(Protocol):
    """``lumni.storage.contents`` says what each method does."""

    async def add(self, kept: Sequence[Content]) -> None: ...
    async def get(self, request_id: str) -> Content | None: ...
    async def erase(self, student: str) -> None: ...
    async def expire(self, now: datetime) -> int: ...


class Roster(Protocol):
    """``lumni.storage.people`` says what each method does."""

    async def students(self, course: str | None = None) -> list[Student]: ...
    async def remove_student(self, student: str) -> bool: ...


class Balances(Protocol):
    async def forget(self, who: str) -> None: ...


class Contents:
    """Takes content of requests at once and stores it in the background, as far as their course allows it.

    ``told`` hears of each that was stored, as it was stored.
    """

    def __init__(self, store: ContentStore, roster: Roster, secret: Secret, now: Callable[[], datetime]) -> None:
        self.told: Callable[[Content], None] | None = None
        self._store = store
        self._roster = roster
        self._secret = secret
        self._now = now
        self._waiting: deque[Content] = deque()
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._expire())]

    def keep(self, request: ChatRequest, principal: Principal, answer: str) -> None:
        """Keep what ``principal``'s course allows of a request; by default nothing."""
        privacy: Privacy = principal.privacy
        if privacy == "none" or principal.course is None or len(self._waiting) >= MOST_WAITING:
            return
        prompt = sse.dumps({"messages": request.messages}).decode()
        content = Content(
            request.request_id,
            request.created_at,
            principal.course,
            principal.student,
            privacy,
            self._secret.digest("content", principal.course, prompt).hex(),
            self._secret.digest("content", principal.course, answer).hex(),
        )
        if privacy != "hash":
            content = replace(content, prompt=prompt, answer=answer)
        self._waiting.append(content)
        self._arrived.set()

    async def close(self) -> None:
        """Store what is left, if the database takes it."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(Exception):
            async with asyncio.timeout(PAUSE):
                await self._store_all()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await asyncio.sleep(TOGETHER)
            try:
                await self._store_all()
            except Exception as error:  # noqa: BLE001  (content waits for the database as records do)
                logger.warning("the database takes no content (%s); %d wait", type(error).__name__, len(self._waiting))
                await asyncio.sleep(PAUSE)
                self._arrived.set()

    async def _store_all(self) -> None:
        while batch := list(self._waiting)[:100]:
            names = {course: await self._names(course) for course in {one.course for one in batch if _redacted(one)}}
            kept = [_blackened(one, names[one.course]) if _redacted(one) else one for one in batch]
            await self._store.add(kept)
            for one in kept:
                self._waiting.popleft()
                if self.told:
                    self.told(one)

    async def _names(self, course: str) -> list[str]:
        return [student.name for student in await self._roster.students(course) if student.name]

    async def _expire(self) -> None:
        """Forget what courses keep no longer, soon after the start and every six hours."""
        while True:
            try:
                if forgotten := await self._store.expire(self._now()):
                    logger.info("%d records have lost whose they were, as their courses want it", forgotten)
            except Exception as error:  # noqa: BLE001
                logger.warning("old content can't be deleted (%s)", type(error).__name__)
            await asyncio.sleep(EXPIRE_EVERY)


class PrivacyDesk:
    """Looks at content, each on record, and erasure."""

    def __init__(
        self, store: ContentStore, roster: Roster, balances: Balances, students: Students, audit: Audit
    ) -> None:
        self._store = store
        self._roster = roster
        self._balances = balances
        self._students = students
        self._audit = audit

    async def look(self, actor: Principal, request_id: str) -> Content:
        """What is kept of a request. Raises :class:`NotFound`, also for courses of others."""
        rights.manager(actor)
        found = await self._store.get(request_id)
        if found is None or not rights.manages(actor, found.course):
            raise NotFound("Nothing is kept of this request: its course doesn't want it, or it is none of yours.")
        await self._audit.note(actor, "content.read", request_id, found.course, student=found.student)
        return found

    async def erase(self, actor: Principal, student: str) -> None:
        """Forget a student for good: name, address, keys, content, balances, and whose her records are."""
        found = await self._students.get(actor, student)
        await self._store.erase(found.id)
        await self._roster.remove_student(found.id)
        await self._balances.forget(found.id)
        await self._audit.done(actor, "student.erase", found.id, found.course)


def content_json(content: Content) -> Mapping[str, Any]:
    """The messages as they were sent, and the answer's text; ``null`` where only hashes are kept."""
    return {
        "request_id": content.request_id,
        "created_at": content.created_at.isoformat(),
        "course": content.course,
        "student": content.student,
        "privacy": content.privacy,
        "prompt_hash": content.prompt_hash,
        "answer_hash": content.answer_hash,
        "messages": None if content.prompt is None else sse.loads(content.prompt.encode())["messages"],
        "answer": content.answer,
    }


def _redacted(content: Content) -> bool:
    return content.privacy == "redacted"


def _blackened(content: Content, names: Sequence[str]) -> Content:
    """Redacted text by text, so that the prompt stays JSON."""
    prompt = _each_text(sse.loads((content.prompt or "{}").encode()), names)
    return replace(content, prompt=sse.dumps(prompt).decode(), answer=redact(content.answer or "", names))


def _each_text(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, str):
        return "[data]" if value.startswith("data:") else redact(value, names)
    if isinstance(value, list):
        return [_each_text(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _each_text(item, names) for key, item in value.items()}
    return value
