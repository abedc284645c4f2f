"""Where answers are kept: LiteLLM's ``Cache`` object over memory, Redis or disk.

Of its keys and of what a hit becomes it decides nothing: its own keys know no courses, and its own hits are models.
"""

import asyncio
import base64
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lumni.files import ConfigurationError, Finding
from lumni.settings import Settings
from lumni.upstream.clearings import Clearings
from lumni.upstream.runtime import load_litellm

T = TypeVar("T")
logger = logging.getLogger(__name__)

PATIENCE = 0.25  # seconds that a request waits for a store; a healthy one takes a thousandth of that
OPENING = 5.0  # seconds that the start waits for a store; then it is opened in the background
FAILURES = 3  # in a row, after which a store is left alone for REST seconds
REST = 5.0
BATCH = 500  # names that are deleted at once
CLEARING = 30.0  # seconds
COUNTING = 2.0
MOST_COUNTED = 100_000


class AnswerStore:
    """Keeps bytes by name for a time. What leaves this process is sealed, with a key that the store never sees.

    :meth:`get` and :meth:`put` never raise, and take no longer than :data:`PATIENCE`: a store that fails or hangs has
    nothing, and is left alone for a while. ``faults`` counts how often. ``kind`` is where answers are kept.
    """

    def __init__(self, settings: Settings, params: Mapping[str, Any]) -> None:
        self._settings = settings
        self._params = params
        self.kind = settings.cache_type
        if self.kind == "redis" and settings.redis_url is None and not params.keys() & _PLACES:
            self.kind = "memory"
        self.faults = 0
        shared = settings.workers > 1 and self.kind == "memory"
        self._clearings = Clearings(settings.data_dir / "cache.cleared") if shared else None
        self._backend: Any = None
        self._opening: asyncio.Future[Any] | None = None
        self._in_a_row = 0
        self._rest_until = 0.0
        # SQLite would block the event loop; one thread, for it gives each its own connection.
        self._thread = ThreadPoolExecutor(1, "cache") if self.kind == "disk" else None

    async def start(self) -> None:
        """Open the store; one that doesn't answer is opened behind the scenes, and has nothing until then.

        Raises ``ConfigurationError`` if it never can be.
        """
        self._opening = asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        await asyncio.wait([self._opening], timeout=OPENING if self.kind == "redis" else None)
        if self._opening.done():
            self._backend = self._opening.result()
        else:
            logger.warning("the response cache's %s does not answer yet", self.kind)
            self._opening.add_done_callback(self._opened)

    @property
    def ready(self) -> bool:
        """Whether the store was opened."""
        return self._backend is not None

    async def close(self) -> None:
        if self._opening is not None:
            await asyncio.wait([self._opening])
        with suppress(Exception):
            async with asyncio.timeout(PATIENCE):
                if self._thread:
                    await self._on_thread(self._backend.disk_cache.close)
                elif self.kind == "redis":
                    if client := self._backend.redis_async_client:  # one of another cache's, if that had the same place
                        await client.connection_pool.disconnect()
                    await self._backend.disconnect()
        if self._thread:
            self._thread.shutdown()

    async def get(self, name: str, key: bytes) -> bytes | None:
        """What was kept under this name with this key."""
        if self._backend is None:
            return None
        if self.kind == "memory":
            for prefix in self._clearings.heard() if self._clearings else ():
                self._forget(prefix)
            found = self._backend.get_cache(name)
            return found["answer"] if found else None
        found = await self._in_time(lambda: self._call("get_cache", name))
        try:
            return _unsealed(key, name, found["answer"]) if found else None
        except (InvalidTag, LookupError, TypeError, ValueError):
            return None  # somebody else wrote it

    @property
    def at_hand(self) -> bool:
        """Whether nothing has to be waited for: :meth:`put_down` does it then."""
        return self.kind == "memory"

    def put_down(self, name: str, answer: bytes) -> None:
        """As :meth:`put`, in memory."""
        if self._backend is not None:
            self._backend.delete_cache(name)  # else this would end when the one before would have
            self._backend.set_cache(name, {"answer": answer}, ttl=self._settings.cache_ttl_seconds)

    async def put(self, name: str, key: bytes, answer: bytes) -> None:
        """Keep it for ``cache_ttl_seconds``; ``key`` has 32 bytes."""
        if self.at_hand:
            self.put_down(name, answer)
            return
        if self._backend is None:
            return
        ttl = self._settings.cache_ttl_seconds
        sealed = {"answer": _sealed(key, name, answer)}
        await self._in_time(lambda: self._call("set_cache", name, sealed, ttl=max(1, int(ttl))))

    async def clear(self, prefix: str) -> int:
        """Forget all names that begin so, and say how many those were. Raises ``OSError`` if the store doesn't."""
        if self._backend is None:
            return 0
        if self.kind == "memory":
            if self._clearings:
                self._clearings.tell(prefix)
            return self._forget(prefix)
        try:
            async with asyncio.timeout(CLEARING):
                if self._thread:
                    return await self._on_thread(lambda: self._clear_disk(prefix))
                return await self._clear_redis(prefix)
        except Exception as error:
            self._failed()
            raise OSError(f"the response cache's {self.kind} does not answer") from error

    async def size(self, prefix: str) -> int | None:
        """How many names begin so; ``None`` if the store doesn't tell. In memory they are this process's."""
        if self._backend is None:
            return None
        if self.kind == "memory":
            return len(self._names_in_memory(prefix))
        with suppress(Exception):
            async with asyncio.timeout(COUNTING):
                if self._thread:
                    return await self._on_thread(lambda: len(self._names_on_disk(prefix)))
                return len(set(await self._backend.async_scan_iter(prefix, count=MOST_COUNTED)))
        return None

    @property
    def in_memory(self) -> int:
        """How many answers this process keeps in its memory."""
        return len(self._backend.cache_dict) if self.kind == "memory" and self._backend is not None else 0

    def _open(self) -> Any:
        """LiteLLM's object, in a thread: for Redis it asks the server, and waits."""
        litellm = load_litellm()
        from litellm.caching.caching import Cache
        from litellm.caching.in_memory_cache import InMemoryCache

        try:
            backend = Cache(**self._arguments()).cache
        except ModuleNotFoundError:
            mend = "Install it: pip install 'lumni[disk]', or set CACHE_TYPE=memory"
            raise ConfigurationError([Finding("error", "A cache on disk needs the package diskcache", mend)]) from None
        finally:
            _forget_callbacks(litellm)
        # LiteLLM's own holds 200, and has no argument for it.
        return InMemoryCache(self._settings.cache_max_entries) if self.kind == "memory" else backend

    def _arguments(self) -> dict[str, Any]:
        if self.kind == "memory":
            return {"type": "local"}
        if self.kind == "disk":
            folder = self._params.get("disk_cache_dir") or self._settings.data_dir / "cache"
            return {"type": "disk", "disk_cache_dir": str(folder)}
        given = {name: value for name, value in self._params.items() if name != "disk_cache_dir"}
        if not given.keys() & _PLACES and self._settings.redis_url:
            given["url"] = self._settings.redis_url.get_secret_value()
        return {
            "type": "redis",
            "socket_timeout": PATIENCE,
            "service_logger_obj": _listener(self._went_well, self._failed),
            **given,
        }

    def _opened(self, opening: "asyncio.Future[Any]") -> None:
        with suppress(Exception):
            self._backend = opening.result()

    def _call(self, method: str, *arguments: Any, **more: Any) -> "Awaitable[Any]":
        if self._thread:
            return self._on_thread(lambda: getattr(self._backend, method)(*arguments, **more))
        work: Awaitable[Any] = getattr(self._backend, f"async_{method}")(*arguments, **more)
        return work

    async def _in_time(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Its result; nothing if it fails or takes too long, or has done so of late."""
        if asyncio.get_running_loop().time() < self._rest_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                result = await work()
        except Exception:  # noqa: BLE001  (whatever a store's client raises: the answer comes from elsewhere)
            self._failed()
            return None
        if self._thread:
            self._went_well()  # LiteLLM says nothing of what is on disk, and doesn't swallow its errors either
        return result

    def _went_well(self) -> None:
        self._in_a_row = 0

    def _failed(self) -> None:
        self.faults += 1
        self._in_a_row += 1
        if self._in_a_row >= FAILURES:
            self._rest_until = asyncio.get_running_loop().time() + REST
            logger.warning("the response cache's %s fails; it is left alone for %.0f s", self.kind, REST)

    def _on_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _forget(self, prefix: str) -> int:
        """Of this process's memory."""
        names = self._names_in_memory(prefix)
        for name in names:
            self._backend.delete_cache(name)
        return len(names)

    def _names_in_memory(self, prefix: str) -> list[str]:
        return [name for name in self._backend.cache_dict if name.startswith(prefix)]

    def _names_on_disk(self, prefix: str) -> list[str]:
        names = self._backend.disk_cache.iterkeys()
        return [name for name in names if isinstance(name, str) and name.startswith(prefix)]

    def _clear_disk(self, prefix: str) -> int:
        return sum(bool(self._backend.disk_cache.delete(name)) for name in self._names_on_disk(prefix))

    async def _clear_redis(self, prefix: str) -> int:
        count = 0
        while found := await self._backend.async_scan_iter(prefix, count=BATCH):
            names = {name.decode() for name in found}  # a scan may find one twice
            await self._backend.delete_cache_keys(list(names))
            count += len(names)
        return count


def _sealed(key: bytes, name: str, answer: bytes) -> str:
    nonce = os.urandom(12)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, answer, name.encode())).decode()


def _unsealed(key: bytes, name: str, text: str) -> bytes:
    sealed = base64.b64decode(text)
    return AESGCM(key).decrypt(sealed[:12], sealed[12:], name.encode())


_PLACES = frozenset({"host", "url", "redis_startup_nodes"})


def _listener(went_well: Callable[[], None], failed: Callable[[], None]) -> Any:
    """LiteLLM swallows Redis' errors, but tells this object of them, and of each success."""
    from litellm._service_logger import ServiceLogging

    class Listener(ServiceLogging):  # type: ignore[misc]  # mypy doesn't read LiteLLM
        async def async_service_success_hook(self, *_: Any, **__: Any) -> None:
            went_well()

        async def async_service_failure_hook(self, *_: Any, **__: Any) -> None:
            failed()

    return Listener()


def _forget_callbacks(litellm: Any) -> None:
    """``Cache`` registers a callback by name for each call of LiteLLM's: only its own cache, which is off, needs it."""
    for callbacks in (litellm.input_callback, litellm.success_callback, litellm._async_success_callback):  # noqa: SLF001
        while "cache" in callbacks:
            callbacks.remove("cache")
