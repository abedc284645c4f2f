"""The response cache: who asks what was asked before in the same course gets the answer that was given then."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from lumni import sse
from lumni.catalogue.model import Deployment
from lumni.errors import NotCached
from lumni.types import CacheControl, ChatRequest, Json, Principal, Usage

LARGEST = 256 * 1024  # bytes of an answer that is kept
PREFIX = "lumni:answer:"
MOST_SCOPES = 10_000  # courses whose digest is remembered
# What a body may hold that no model hears of, or that only says how the answer is sent.
UNHEARD = frozenset({
    "metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "store", "stream",
    "stream_options", "user",
})  # fmt: skip


class Store(Protocol):
    """``lumni.upstream.answers`` says what each method does."""

    @property
    def kind(self) -> str: ...
    @property
    def faults(self) -> int: ...
    @property
    def in_memory(self) -> int: ...
    async def size(self, prefix: str) -> int | None: ...
    async def get(self, name: str, key: bytes) -> bytes | None: ...
    @property
    def at_hand(self) -> bool: ...
    def put_down(self, name: str, answer: bytes) -> None: ...
    async def put(self, name: str, key: bytes, answer: bytes) -> None: ...
    async def clear(self, prefix: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that is kept: its ``body`` is a ``chat.completion``, ``at`` the Unix time of its end.

    ``list_cost`` is in nano-USD. ``classification`` and ``benchmark`` are those of the ``lumni`` object that came with
    it.
    """

    at: float
    body: Json
    deployment: str
    provider: str
    model: str
    finish_reason: str | None
    usage: Usage
    list_cost: int | None
    classification: Json | None
    benchmark: Json | None

    def dump(self) -> bytes:
        usage = (
            self.usage.prompt_tokens, self.usage.completion_tokens, self.usage.cached_tokens,
            self.usage.reasoning_tokens, self.usage.estimated,
        )  # fmt: skip
        return sse.dumps({name: getattr(self, name) for name in self.__slots__} | {"usage": usage})

    @classmethod
    def load(cls, written: bytes) -> "Kept":
        """Raises ``ValueError`` or ``TypeError`` for what no version of Lumni wrote that is like this one."""
        fields = sse.loads(written)
        return cls(**fields | {"usage": Usage(*fields["usage"])})


@dataclass(slots=True)
class Ask:
    """What one request asks of the cache. ``answer`` is what comes of it: ``hit``, ``miss`` or ``bypass``.

    ``flight`` is that of the answer to come, if others may wait for it.
    """

    cache: "ResponseCache"
    name: str
    key: bytes
    control: CacheControl
    epoch: int
    answer: str = "miss"
    flight: "asyncio.Future[Kept | None] | None" = None

    @property
    def keeps(self) -> bool:
        """Whether the answer may be kept."""
        return bool(self.name) and not self.control.no_store


@dataclass
class Counts:
    """Since the start of this process. Costs are in nano-USD, by list price; ``shared`` are the hits that waited."""

    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    shared: int = 0
    kept: int = 0
    saved_tokens: int = 0
    saved_cost: int = 0


class ResponseCache:
    """Without a ``store`` nothing is kept. ``ttl`` is in seconds, ``clock`` returns Unix time.

    ``resolve`` gives the deployments that a model's name means.
    """

    def __init__(
        self,
        store: Store | None,
        secret: bytes,
        ttl: float,
        resolve: Callable[[str], Sequence[Deployment]] = lambda _: (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.counts = Counts()
        self.ttl = ttl
        self.resolve = resolve
        self._secret = secret
        self._clock = clock
        self._epoch = 0
        self._flights: dict[str, asyncio.Future[Kept | None]] = {}
        self._prefixes: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def on(self) -> bool:
        return self.store is not None

    def ask(self, request: ChatRequest, principal: Principal) -> Ask | None:
        """What to ask for a request that is prepared; ``None`` if the cache is off.

        One that takes part in an experiment is left alone: its variants are compared by answers of their own.
        """
        if self.store is None:
            return None
        if request.treatment is not None:
            return Ask(self, "", b"", request.cache_control, self._epoch, "bypass")
        scope = scope_of(principal)
        digest = self._digest(scope, canonical(request, principal), 48)
        return Ask(self, self._prefix(scope) + digest[:16].hex(), digest[16:], request.cache_control, self._epoch)

    async def get(self, ask: Ask | None, deadline: float) -> Kept | None:
        """The answer that is kept, or the one that another request is about to get.

        If there is none, who asks leads: what :meth:`keep` takes of hers goes to all who wait for it, and after
        :meth:`leave` the next of them leads. ``deadline`` is in loop time; half of what is left is for waiting.
        Raises :class:`NotCached`.
        """
        if ask is None or not ask.name:
            return None
        if not ask.control.no_cache and (kept := await self._found(ask)):
            return self._hit(ask, kept)
        if ask.control.only_if_cached:
            raise NotCached("No answer to this is kept. Ask without `only-if-cached` for a new one.")
        if ask.control.no_cache:
            ask.answer = "bypass"
        elif not ask.control.no_store:
            return await self._follow(ask, deadline)
        return None

    def keep(self, ask: Ask, kept: Kept) -> None:
        """Keep the answer that came, if it may be, and give it to all who wait for it."""
        if self.store is None or not ask.keeps:
            return
        written = kept.dump()
        if ask.flight is not None and not ask.flight.done():
            ask.flight.set_result(kept)
        wanted = len(written) <= LARGEST and ask.epoch == self._epoch
        if wanted and not self.store.at_hand:
            task = asyncio.get_running_loop().create_task(self._put(self.store, ask, written))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._landed(ask)
        if wanted:
            self.store.put_down(ask.name, written)
            self.counts.kept += 1

    def leave(self, ask: Ask) -> None:
        """The request is over. Who waits for an answer that didn't come is told so."""
        if ask.answer != "hit":
            self.counts.misses += ask.answer == "miss"
            self.counts.bypasses += ask.answer == "bypass"
        if ask.flight is not None and not ask.flight.done():
            ask.flight.set_result(None)
            self._landed(ask)

    def age(self, kept: Kept) -> int:
        """In whole seconds."""
        return max(0, int(self._clock() - kept.at))

    def now(self) -> float:
        return self._clock()

    async def clear(self, course: str | None = None) -> int:
        """Forget what is kept, of one course or all, and say how much that was. Raises ``OSError``."""
        if self.store is None:
            return 0
        self._epoch += 1  # what is on its way isn't kept either
        return await self.store.clear(PREFIX if course is None else self._prefix(f"course:{course}"))

    async def size(self) -> int | None:
        """How many answers are kept; ``None`` if the store doesn't tell."""
        return await self.store.size(PREFIX) if self.store else 0

    async def close(self) -> None:
        """Keep what is on its way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _found(self, ask: Ask) -> Kept | None:
        written = await self.store.get(ask.name, ask.key) if self.store else None
        if written is None:
            return None
        try:
            kept = Kept.load(written)
        except (LookupError, TypeError, ValueError):
            return None
        age, control = self._clock() - kept.at, ask.control
        oldest = self.ttl - control.min_fresh
        return kept if age <= (oldest if control.max_age is None else min(oldest, control.max_age)) else None

    async def _follow(self, ask: Ask, deadline: float) -> Kept | None:
        loop = asyncio.get_running_loop()
        patience = (loop.time() + deadline) / 2
        while flight := self._flights.get(ask.name):
            done, _ = await asyncio.wait([flight], timeout=max(0.0, patience - loop.time()))
            if not done:
                return None
            if kept := flight.result():
                self.counts.shared += 1
                return self._hit(ask, kept)
        ask.flight = self._flights[ask.name] = loop.create_future()
        return None

    async def _put(self, store: Store, ask: Ask, written: bytes) -> None:
        try:
            await store.put(ask.name, ask.key, written)
            self.counts.kept += 1
        finally:
            self._landed(ask)

    def _landed(self, ask: Ask) -> None:
        if ask.flight is not None and self._flights.get(ask.name) is ask.flight:
            del self._flights[ask.name]

    def _hit(self, ask: Ask, kept: Kept) -> Kept:
        ask.answer = "hit"
        self.counts.hits += 1
        self.counts.saved_tokens += kept.usage.total_tokens
        self.counts.saved_cost += kept.list_cost or 0
        return kept

    def _prefix(self, scope: str) -> str:
        if (known := self._prefixes.get(scope)) is None:
            if len(self._prefixes) >= MOST_SCOPES:
                self._prefixes.clear()
            known = self._prefixes[scope] = f"{PREFIX}{self._digest(scope, b'', 8).hex()}:"
        return known

    def _digest(self, scope: str, text: bytes, size: int) -> bytes:
        spelled = scope.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(len(spelled).to_bytes(4) + spelled + text, key=self._secret, digest_size=size).digest()


def scope_of(principal: Principal) -> str:
    """Who share answers: a course; of those in none, each key for itself."""
    return f"key:{principal.key_id}" if principal.course is None else f"course:{principal.course}"


def canonical(request: ChatRequest, principal: Principal) -> bytes:
    """All that the answer may depend on, the same however a client writes it.

    A field that is null counts as left out, and 1.0 as 1. Allowlists are part of it: who may not use a model gets none
    of its answers either.
    """
    body = {
        name: int(value) if type(value) is float and value.is_integer() else value
        for name, value in request.body.items()
        if value is not None and name not in UNHEARD
    }
    asked = [
        body, request.model, request.task_type, request.provider, request.strategy, request.fallback,
        request.pinned, principal.allowlists,
    ]  # fmt: skip
    try:
        return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # half a surrogate pair, or a number that is too large
        return json.dumps(asked, sort_keys=True).encode()
