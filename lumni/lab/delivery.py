"""Sending an answer: latency, pace, and the faults that happen on the way."""

from collections.abc import Iterable

from .faults import Fault
from .state import Lab
from .wire import EVENTS, Connection, Headers

_BROKEN_EVENT = b'data: {"id":"chatcmpl-lab","object":"chat.completion.chunk","choi\n\n'


class Broken(Exception):
    """A fault ended the answer before it was complete."""


async def deliver_whole(
    lab: Lab, to: Connection, body: bytes, tokens: int, headers: Headers, fault: Fault | None
) -> None:
    """Send one JSON body. Raises ``Broken`` when the fault kept it from arriving whole."""
    kind = fault.kind if fault else None
    await to.pause(lab.pause(lab.timing.latency + lab.timing.pace * tokens))
    if fault and kind == "slow_first_token":
        await to.pause(fault.seconds)
    half = len(body) // 2
    if kind == "malformed":
        body = body[:half] + b"}" * (len(body) - half)
    length = {} if kind == "truncate" else {"content-length": str(len(body))}
    await to.start(200, "application/json", {**length, **headers})
    if fault and kind in ("cut", "truncate", "stall"):
        await to.write(body[:half])
        if kind == "stall":
            await to.pause(fault.seconds)
            await to.write(body[half:], more=False)
            return
        if kind == "truncate":
            await to.write(b"", more=False)
        raise Broken
    await to.write(body, more=False)
    if kind == "malformed":
        raise Broken


async def deliver_stream(
    lab: Lab, to: Connection, events: Iterable[bytes], headers: Headers, fault: Fault | None, content_type: str = EVENTS
) -> None:
    """Send a stream's events. Without pace and fault they leave in one write, as cheap as a load target should be."""
    await to.pause(lab.pause(lab.timing.latency))
    await to.start(200, content_type, {"cache-control": "no-cache", **headers})
    if fault is None and not lab.timing.pace:
        await to.write(b"".join(events), more=False)
        return
    if fault and fault.kind == "slow_first_token":
        await to.pause(fault.seconds)
    broken = False
    for position, event in enumerate(events):
        if fault and position == fault.after + 1:  # the first event only names the role
            broken = await _strike(to, fault)
        if position and lab.timing.pace:
            await to.pause(lab.pause(lab.timing.pace))
        await to.write(event)
    await to.write(b"", more=False)
    if broken:
        raise Broken


async def _strike(to: Connection, fault: Fault) -> bool:
    """Let the fault happen in mid stream; tells whether what was sent is broken although the stream goes on."""
    if fault.kind == "stall":
        await to.pause(fault.seconds)
    elif fault.kind == "malformed":
        await to.write(_BROKEN_EVENT)
        return True
    elif fault.kind == "truncate":
        await to.write(b"", more=False)
        raise Broken
    elif fault.kind == "cut":
        raise Broken
    return False
