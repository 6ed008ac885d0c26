"""A real HTTP server that notes what webhooks send to it and answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return orjson.loads(self.content)


@dataclass(slots=True)
class Receiver:
    """Answers with the statuses in turn, and with the last one ever after; but not before `answers` is set."""

    port: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    statuses: Sequence[int] = (200,)
    calls: asyncio.Queue[Call] = field(default_factory=asyncio.Queue)
    count: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def call(self, seconds: float = 30.0) -> Call:
        """The next request, as soon as it is there."""
        async with asyncio.timeout(seconds):
            return await self.calls.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        status = self.statuses[min(self.count, len(self.statuses) - 1)]
        self.count += 1
        self.calls.put_nowait(Call(first.split(" ")[1], headers, content))
        await self.answers.wait()
        location = f"Location: {self.url}/elsewhere\r\n"
        writer.write(f"HTTP/1.1 {status} X\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def receiving(*statuses: int, hangs: bool = False) -> AsyncIterator[Receiver]:
    """A receiver on a free port of the loopback interface, for the block; if it `hangs`, `answers` must be set."""
    receiver = Receiver(statuses=statuses or (200,))
    if not hangs:
        receiver.answers.set()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver
