"""Connections to providers that are kept open: a pool for each account, which nobody else's requests can fill.

aiohttp opens them, since it knows names, addresses, TLS and proxies; what is said over them is :class:`Exchange`'s, as
aiohttp's own client costs seven times the CPU for it.
"""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from lumni.upstream.exchange import Exchange

KEPT_SECONDS = 60.0
"""How long an idle connection is kept; servers and what lies between close theirs after a minute or more."""
DNS_SECONDS = 300


class Connections:
    """HTTP/1.1 with keep-alive, by account."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, URL], Pool] = {}

    def of(self, account: str, url: URL) -> "Pool":
        """The account's connections to where ``url`` is."""
        key = account, url.origin()
        if key not in self._pools:
            self._pools[key] = Pool(url.origin())
        return self._pools[key]

    async def close(self) -> None:
        while self._pools:
            await self._pools.popitem()[1].close()


class Pool:
    """One account's connections to one scheme, host and port. How many are open at once is the quota's to decide."""

    def __init__(self, origin: URL) -> None:
        self._origin = origin
        self._idle: list[Connection] = []  # the latest is the last
        self._proxy = _proxy_to(origin)
        self._connector: aiohttp.TCPConnector | None = None
        self._sweep: asyncio.TimerHandle | None = None

    def head(self, url: URL, headers: Mapping[str, str]) -> bytes:
        """All that comes before a body's length in a POST. Raises ``ValueError`` for a header that can't be sent."""
        target, sent = url.raw_path_qs, {"host": url.host_port_subcomponent or "", **headers}
        if url.user is not None and "authorization" not in headers:
            sent["authorization"] = _credentials(url)
        if self._proxy and url.scheme == "http":
            target = str(url.with_user(None))
            sent |= _for_proxy(self._proxy)
        lines = [f"{name}: {value}" for name, value in sent.items()]
        if any(set(line) & set("\r\n\0") for line in lines):
            raise ValueError("a header of more than one line")
        return "\r\n".join([f"POST {target} HTTP/1.1", *lines, "content-length: "]).encode()

    async def post(self, head: bytes, body: bytes) -> Exchange:
        """Send what :meth:`head` made, and a body. Raises ``OSError``."""
        connection = self._kept() or await self._open()
        return connection.carry(b"%b%d\r\n\r\n%b" % (head, len(body), body))

    async def close(self) -> None:
        if self._sweep:
            self._sweep.cancel()
        for connection in self._idle:
            connection.transport.close()
        if self._connector:
            await self._connector.close()

    def put_back(self, connection: "Connection") -> None:
        """It can carry another request."""
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        self._sweep = self._sweep or loop.call_later(KEPT_SECONDS, self._drop_old)

    def forget(self, connection: "Connection") -> None:
        """It is closed."""
        with suppress(ValueError):
            self._idle.remove(connection)

    def _kept(self) -> "Connection | None":
        """The one that was used last, so that those in excess grow old."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    def _drop_old(self) -> None:
        loop = asyncio.get_running_loop()
        expired = loop.time() - KEPT_SECONDS
        while self._idle and self._idle[0].idle_since <= expired:
            self._idle.pop(0).transport.close()
        self._sweep = loop.call_at(self._idle[0].idle_since + KEPT_SECONDS, self._drop_old) if self._idle else None

    async def _open(self) -> "Connection":
        loop = asyncio.get_running_loop()
        if self._connector is None:
            self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=DNS_SECONDS)
        asked = aiohttp.ClientRequest(
            "POST",
            self._origin,
            loop=loop,
            proxy=self._proxy.with_user(None) if self._proxy else None,
            proxy_headers=_for_proxy(self._proxy) if self._proxy else None,
        )
        # The attempt's own time bounds it all.
        opened = await self._connector.connect(asked, [], aiohttp.ClientTimeout(total=None, sock_connect=None))
        return Connection(self, opened, loop)


class Connection(asyncio.Protocol):
    """One that aiohttp ``opened``, and that carries one exchange after the other for ``pool``."""

    def __init__(self, pool: Pool, opened: aiohttp.connector.Connection, loop: asyncio.AbstractEventLoop) -> None:
        if opened.transport is None or opened.protocol is None:
            raise ConnectionError("the connection was closed at once")
        self.transport = opened.transport
        self.idle_since = 0.0
        self._pool = pool
        self._loop = loop
        self._opened = opened
        self._opener = opened.protocol
        self._exchange: Exchange | None = None
        self.transport.set_protocol(self)

    def carry(self, request: bytes) -> Exchange:
        self._exchange = Exchange(self.transport, self._free, self._loop)
        self.transport.write(request)
        return self._exchange

    def data_received(self, data: bytes) -> None:
        if self._exchange:
            self._exchange.heard(data)
        else:
            self.transport.close()  # nobody asked

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        exchange, self._exchange = self._exchange, None
        if exchange:
            exchange.lost(exc)
        self._opener.connection_lost(exc)  # aiohttp waits for it when it closes
        self._opened.close()

    def _free(self) -> None:
        self._exchange = None
        self._pool.put_back(self)


def _proxy_to(origin: URL) -> URL | None:
    """As the environment says (``HTTPS_PROXY``, ``NO_PROXY``, …)."""
    found = getproxies().get(origin.scheme)
    return URL(found) if found and not proxy_bypass(origin.host or "") else None


def _for_proxy(proxy: URL) -> dict[str, str]:
    return {} if proxy.user is None else {"proxy-authorization": _credentials(proxy)}


def _credentials(url: URL) -> str:
    """Those inside of an address (RFC 7617)."""
    password = url.password or ""
    return "Basic " + b64encode(f"{url.user}:{password}".encode()).decode()
