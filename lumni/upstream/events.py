"""Reading server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) out of a byte stream."""

LARGEST = 16 * 2**20
"""Bytes of one event. Nothing that a model says at once is that long."""


class TooLong(ValueError):
    """An event that doesn't end."""


class EventReader:
    """Cuts bytes, however they arrive, into the data of whole events.

    Lines end with LF, CRLF or CR. Comments, which keep connections alive, and fields other than ``data`` are skipped.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that ``piece`` completes. Raises :class:`TooLong`."""
        text = self._rest + piece if self._rest else piece
        if b"\r" in text:
            held = text.endswith(b"\r")  # perhaps half of a CRLF
            text = text[: len(text) - held].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            tail = b"\r" if held else b""
        else:
            tail = b""
        *events, rest = text.split(b"\n\n")
        self._rest = rest + tail
        if len(self._rest) > LARGEST:
            raise TooLong(f"an event of more than {LARGEST} bytes")
        found: list[bytes] = []
        for event in events:
            if event.startswith(b"data: ") and b"\n" not in event:
                found.append(event[6:])
            else:
                found += _data(event)
        return found

    def end(self) -> list[bytes]:
        """The data of a last event that lacks its empty line."""
        return self.feed(b"\n\n") if self._rest.strip() else []


def _data(event: bytes) -> list[bytes]:
    """Of several lines each that looks like JSON of its own is one: some servers forget the gap."""
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    if len(lines) > 1 and not all(line.startswith((b"{", b"[DONE]")) for line in lines):
        return [b"\n".join(lines)]
    return [line for line in lines if line]
