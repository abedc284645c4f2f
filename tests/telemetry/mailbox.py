"""A mail server that keeps what it gets: as much of SMTP (RFC 5321) as a client without TLS needs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Mailbox:
    """``extensions`` are offered in the greeting; ``said`` are the client's commands."""

    extensions: tuple[str, ...] = ()
    messages: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    address: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mailbox\r\n")
        try:
            while line := (await reader.readline()).decode().strip():
                self.said.append(line)
                command = line.split(" ")[0].upper()
                if command == "EHLO":
                    lines = ("mailbox", *self.extensions)
                    writer.write("".join(f"250-{one}\r\n" for one in lines[:-1]).encode())
                    writer.write(f"250 {lines[-1]}\r\n".encode())
                elif command == "DATA":
                    writer.write(b"354 go on\r\n")
                    self.messages.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    writer.write(b"250 taken\r\n")
                elif command == "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                else:
                    writer.write(b"250 ok\r\n")
        finally:
            writer.close()


@asynccontextmanager
async def mailbox(*extensions: str) -> AsyncIterator[Mailbox]:
    """On a free port; ``address`` is its ``smtp://`` URL without a user."""
    box = Mailbox(extensions)
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    box.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield box
    finally:
        server.close()
