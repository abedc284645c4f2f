"""Several gateway processes before one listening socket: started one after the other, replaced, stopped together."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from lumni.errors import LumniError
from lumni.settings import Settings
from lumni.telemetry.metrics import share_between_processes

BACKLOG = 2048
HEALTHY_SECONDS = 60.0  # who lived that long is replaced at once
TAKING_SECONDS = 0.02
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
CLOSING_SECONDS = 20.0  # for writing the last records and leaving Redis, beyond the time that requests have

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Post:
    """One worker's place. ``line`` leads to the supervisor: it is told once that the worker serves, and its end, be it
    closed or the supervisor dead, is the word to stop."""

    number: int
    listener: socket.socket
    line: Connection
    first: bool
    profile: Path | None = None

    def serving(self, stop: Callable[[], None]) -> None:
        """Tell the supervisor; ``stop`` is called on the running event loop when it is over."""
        loop, line = asyncio.get_running_loop(), self.line.fileno()

        def over() -> None:
            loop.remove_reader(line)
            stop()

        with suppress(OSError):
            self.line.send_bytes(b"ready")
        loop.add_reader(line, over)


def supervise(load: Callable[[], Settings], profile: Path | None = None) -> int:
    """Run as many processes as the settings say until a signal; the exit code.

    ``load`` reads the settings, at each SIGHUP again. ``profile``: see :mod:`lumni.cli.profile`. Raises ``LumniError``
    if it can't listen.
    """
    settings = load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with _listen(settings.host, settings.port) as listener:
        share_between_processes(settings.data_dir / "metrics")
        return asyncio.run(Supervisor(load, settings, listener, profile).run())


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise LumniError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from None


def _work(settings: Settings, post: Post) -> None:
    """What a worker's process runs."""
    import typer

    from lumni.cli import loop
    from lumni.cli.failure import explained
    from lumni.cli.profile import profiled
    from lumni.cli.serve import run

    if post.line.poll():  # it is over before it began
        return
    try:
        with explained(), profiled(post.profile):
            loop.run(run(settings, post))
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None
    except KeyboardInterrupt:  # Ctrl-C is for all processes of a terminal
        raise SystemExit(0) from None


class Worker:
    """A worker's process as the supervisor sees it."""

    def __init__(
        self, settings: Settings, number: int, listener: socket.socket, *, first: bool, profile: Path | None
    ) -> None:
        context = multiprocessing.get_context("spawn")  # nothing of this process is to be copied into it
        self._line, theirs = context.Pipe()
        with theirs:
            post = Post(number, listener, theirs, first, profile)
            self._process = context.Process(target=_work, args=(settings, post), name=f"lumni-worker-{number}")
            self._process.start()
        self.ready = False
        self._heard, self.ended = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._process.sentinel, self._end)
        self._loop.add_reader(self._line.fileno(), self._hear)

    @property
    def code(self) -> int | None:
        """As a shell has it: negative for the signal that ended it."""
        return self._process.exitcode

    async def started(self) -> bool:
        """Whether it serves, once that is known."""
        await self._heard.wait()
        return self.ready

    def stop(self) -> None:
        """Tell it to finish what it is doing and end."""
        if not self._line.closed:
            self._loop.remove_reader(self._line.fileno())
            self._line.close()

    def hurry(self) -> None:
        """The second Ctrl-C: don't wait for requests that still run."""
        if self._process.pid is not None and not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        self._process.kill()

    def _hear(self) -> None:
        self._loop.remove_reader(self._line.fileno())
        with suppress(EOFError, OSError):
            self.ready = self._line.recv_bytes() == b"ready"
        self._heard.set()

    def _end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._process.join()
        self.stop()
        self._heard.set()
        self.ended.set()


class Supervisor:
    """The first worker starts alone: it migrates the database and says what is wrong, once. Then come the others.

    At SIGHUP one after the other is told to end and replaced by one with new settings, while the rest serve.
    """

    def __init__(
        self, load: Callable[[], Settings], settings: Settings, listener: socket.socket, profile: Path | None
    ) -> None:
        self._load = load
        self._settings = settings
        self._listener = listener
        self._profile = profile
        self._workers: dict[int, Worker] = {}
        self._dismissed: Worker | None = None  # told to make room for one with new settings
        self._renewal: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._clean = True

    async def run(self) -> int:
        """0 after a signal, if every worker ended as it should; else 1."""
        loop = asyncio.get_running_loop()
        for told in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(told, self._stop)
        first = self._start(1, first=True)
        if not await first.started() and not self._stopping.is_set():
            await first.ended.wait()
            return first.code or 1
        loop.add_signal_handler(signal.SIGHUP, self._renew)
        async with asyncio.TaskGroup() as places:
            for number in range(1, self._settings.workers + 1):
                places.create_task(self._keep(number))
        return 0 if self._clean else 1

    def _start(self, number: int, *, first: bool = False) -> Worker:
        path = self._profile and self._profile.with_stem(f"{self._profile.stem}-{number}")
        worker = self._workers[number] = Worker(self._settings, number, self._listener, first=first, profile=path)
        return worker

    async def _keep(self, number: int) -> None:
        """One worker after the other at this place. Who ends soon is replaced after a pause, which doubles."""
        loop, pause = asyncio.get_running_loop(), 0.0
        while not self._stopping.is_set() or number in self._workers:
            began = loop.time()
            worker = self._workers.get(number) or self._start(number)
            await worker.ended.wait()
            del self._workers[number]
            if self._stopping.is_set():
                self._clean = self._clean and (worker.code == 0 or not worker.ready)
                return
            if worker is self._dismissed:
                continue
            lived = loop.time() - began
            pause = 0.0 if lived > HEALTHY_SECONDS else min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * pause))
            logger.warning("worker %d %s; another one starts in %g s", number, _how(worker.code), pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    def _renew(self) -> None:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.get_running_loop().create_task(self._renew_all())
        else:
            logger.warning("the workers are being renewed already: send SIGHUP again when they are")

    async def _renew_all(self) -> None:
        """New settings for one worker after the other. The first that doesn't start with them ends it."""
        try:
            settings = self._load()
        except LumniError as error:
            logger.error("the workers go on with the old settings: %s", error)
            return
        # Where it listens and how many serve stays as it is.
        old = self._settings
        fixed = {name: getattr(old, name) for name in ("host", "port", "workers")}
        self._settings = settings.model_copy(update=fixed)
        for number, worker in sorted(self._workers.items()):
            self._dismissed = worker
            worker.stop()
            await worker.ended.wait()
            while self._workers.get(number) in (None, worker):  # until its place is taken
                if self._stopping.is_set():
                    return
                await asyncio.sleep(TAKING_SECONDS)
            if not await self._workers[number].started():
                logger.error("worker %d doesn't start with the new settings: all go on with the old ones", number)
                self._settings = old
                return
        logger.info("all workers have been renewed")

    def _stop(self) -> None:
        if self._stopping.is_set():
            for worker in self._workers.values():
                worker.hurry()
            return
        self._stopping.set()
        for worker in self._workers.values():
            worker.stop()
        asyncio.get_running_loop().call_later(self._settings.drain_timeout + CLOSING_SECONDS, self._kill)

    def _kill(self) -> None:
        for number, worker in self._workers.items():
            logger.error("worker %d doesn't end, and is killed", number)
            self._clean = False
            worker.kill()


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
