"""Asking a gateway that runs somewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


@contextmanager
def connected(url: str, key: str | None) -> "Iterator[httpx.Client]":
    """A client for the gateway's ``/v1``. Raises ``LumniError`` for what is no address or no key."""
    import httpx

    from lumni.errors import LumniError

    base = url.rstrip("/")
    base = base if base.endswith("/v1") else f"{base}/v1"
    if not base.startswith(("http://", "https://")):
        raise LumniError(f"{url} is no address of a gateway: it begins with http:// or https://.")
    if key and not key.isascii():
        raise LumniError("This is no key: keys are printable ASCII, since they travel in a header.")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        client = httpx.Client(base_url=base, headers=headers, timeout=10)
    except httpx.InvalidURL as error:
        raise LumniError(f"{url} is no address of a gateway: {error}.") from None
    with client:
        yield client


def asked(client: "httpx.Client", method: str, path: str, *names: str, **parameters: str) -> dict[str, Any]:
    """These fields of what the gateway answers. Raises ``LumniError``, which says what is wrong."""
    import httpx

    from lumni.errors import LumniError

    base = str(client.base_url).rstrip("/")
    try:
        response = client.request(method, path, params=parameters)
    except httpx.HTTPError as error:
        reason = (str(error) or type(error).__name__).rstrip(".")
        raise LumniError(f"No gateway answers at {base}: {reason}. Is `lumni serve` running there?") from None
    try:
        told = response.json()
        if response.status_code == 401:
            raise LumniError(f"{told['error']['message']} Give it with --key, or in LUMNI_API_KEY.")
        if response.status_code != 200:
            raise LumniError(told["error"]["message"])
        return {name: told[name] for name in names}
    except (ValueError, LookupError, TypeError):
        raise LumniError(f"What answers at {base} is no gateway of this version of Lumni.") from None
