"""The lab's own endpoints under ``/_lab``: state, faults, configuration. Only for clients on this machine."""

from typing import Any

import orjson

from .faults import parse_fault
from .state import Lab
from .wire import Connection

_LOOPBACK = ("127.", "::1", "::ffff:127.", "localhost", "testclient")


def is_local(client: tuple[str, int] | None) -> bool:
    """Whether the client is on this machine; a Unix socket has no address and is."""
    return client is None or client[0].startswith(_LOOPBACK)


async def serve_admin(lab: Lab, method: str, path: str, to: Connection) -> None:
    """Answer ``/_lab/…``; a wrong body is a 400 that says what is wrong and changes nothing."""
    raw = await to.body()
    try:
        status, value = _act(lab, method, path, orjson.loads(raw) if raw.strip() else None)
    except orjson.JSONDecodeError:
        status, value = 400, {"error": "the body is not JSON"}
    except (ValueError, TypeError) as error:
        status, value = 400, {"error": str(error)}
    await to.json(status, value)


def _act(lab: Lab, method: str, path: str, body: Any) -> tuple[int, Any]:
    route = (method, path)
    if route == ("GET", "/_lab/state"):
        return 200, lab.snapshot()
    if route == ("POST", "/_lab/reset"):
        lab.reset()
        return 200, {"reset": True}
    if route == ("POST", "/_lab/config"):
        if not isinstance(body, dict):
            raise ValueError("send an object of settings")
        lab.configure(body)
        return 200, lab.snapshot()["settings"]
    if route == ("GET", "/_lab/faults"):
        return 200, {"faults": lab.faults.shown()}
    if route == ("DELETE", "/_lab/faults"):
        lab.faults.clear()
        return 200, {"faults": []}
    if route == ("POST", "/_lab/faults"):
        return 200, _add_faults(lab, body)
    return 404, {"error": f"no {method} {path}: see docs/lab.md"}


def _add_faults(lab: Lab, body: Any) -> Any:
    given = body.get("faults", [body]) if isinstance(body, dict) else body
    if not isinstance(given, list) or not all(isinstance(spec, dict) for spec in given):
        raise ValueError('send a fault, a list of them, or {"faults": […]}')
    for fault in [parse_fault(spec) for spec in given]:
        lab.add_fault(fault)
    return {"faults": lab.faults.shown()}
