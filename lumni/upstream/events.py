"""Reading server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) out of a byte stream."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson

LARGEST = 16 * 2**20
"""Bytes of one event. Nothing that a model says at once is that long."""


class TooLong(ValueError):
    """An event that doesn't end."""


class Mould:
    """What stands around the text of chunks that have nothing else to say, as most of a stream's do."""

    def __init__(self, before: bytes, after: bytes) -> None:
        self.begin, self.end = b"data: " + before, after + b"\n\n"
        self._text = slice(len(before), -len(after))
        self._between = self.end + self.begin

    def texts_in(self, events: bytes) -> tuple[list[str], list[bytes]]:
        """The texts of ``events``, which end with one, and the same as JSON; nothing if they say anything else.

        What stands around the texts is the same, and what stands there is one string of JSON: so nothing else is said.
        They are read in one go; between two of them is a line break, which no string can have in it.
        """
        # Cut at a short mark, then compared as a whole: bytes find long ones slowly.
        spelled = [chunk[self._text] for chunk in events[6:-2].split(b"\n\ndata: ")]
        if self._between.join(spelled) != events[len(self.begin) : -len(self.end)]:
            return [], []
        texts: Any = ()
        with suppress(ValueError):
            texts = orjson.loads(b"[%b]" % b",\n".join(spelled))
        if len(texts) == len(spelled) and "" not in texts and set(map(type, texts)) == {str}:
            return texts, spelled
        return [], []


class EventReader:
    """Cuts bytes, however they arrive, into the data of whole events: :meth:`feed` it, then take what there is.

    Lines end with LF, CRLF or CR. Comments, which keep connections alive, and fields other than ``data`` are skipped.
    """

    def __init__(self) -> None:
        self._text = b""
        self._at = 0  # all before it has been taken
        self._held = b""  # perhaps half of a CRLF
        self._compared = False

    def feed(self, piece: bytes) -> None:
        """Raises :class:`TooLong`."""
        rest = self._text[self._at :]
        if len(rest) >= LARGEST:
            raise TooLong(f"an event of more than {LARGEST} bytes")
        text = rest + self._held + piece
        if b"\r" in text:
            self._held = b"\r" if text.endswith(b"\r") else b""
            text = text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._text, self._at, self._compared = text, 0, False

    def end(self) -> None:
        """Nothing follows. A last event may lack its empty line."""
        if self._text[self._at :].strip():
            self.feed(b"\n\n")

    def take(self) -> Iterator[bytes]:
        """The data of whole events."""
        while (end := self._text.find(b"\n\n", self._at)) >= 0:
            event, self._at = self._text[self._at : end], end + 2
            if event.startswith(b"data: ") and b"\n" not in event:
                yield event[6:]
            else:
                yield from _data(event)

    def take_texts(self, mould: Mould) -> tuple[list[str], list[bytes]]:
        """The texts of the next events, if all of them that end like ``mould`` are of it; see :meth:`Mould.texts_in`.

        Tried once for each piece: after a success no other event ends so, and a failure would fail again.
        """
        if self._compared or not self._text.startswith(mould.begin, self._at):
            return [], []
        self._compared = True
        end = self._text.rfind(mould.end, self._at)
        if end < 0:
            return [], []
        end += len(mould.end)
        texts, spelled = mould.texts_in(self._text[self._at : end])
        if texts:
            self._at = end
        return texts, spelled


def _data(event: bytes) -> list[bytes]:
    """Of several lines each that looks like JSON of its own is one: some servers forget the gap."""
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    if len(lines) > 1 and not all(line.startswith((b"{", b"[DONE]")) for line in lines):
        return [b"\n".join(lines)]
    return [line for line in lines if line]
