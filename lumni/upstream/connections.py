"""Connections to providers that are kept open: a pool for each account, which nobody else's requests can fill."""

import os

import aiohttp

from lumni.catalogue.model import Deployment

KEPT_SECONDS = 60.0
"""How long an idle connection is kept; servers and what lies between close theirs after a minute or more."""
DNS_SECONDS = 300
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class Connections:
    """HTTP/1.1 with keep-alive. Sessions are opened when an account is first called."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, str], aiohttp.ClientSession] = {}
        # Looking for a proxy at each request would cost more than the rest of it.
        self._proxied = any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES)

    def of(self, deployment: Deployment) -> aiohttp.ClientSession:
        """The session of the deployment's account."""
        key = (deployment.provider, deployment.account)
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = aiohttp.ClientSession(
                # How many calls may run at once is the quota's to decide.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS, ttl_dns_cache=DNS_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the attempt's own time bounds it all
                skip_auto_headers=("accept", "accept-encoding", "user-agent"),
                trust_env=self._proxied,
            )
        return session

    async def close(self) -> None:
        while self._sessions:
            await self._sessions.popitem()[1].close()
