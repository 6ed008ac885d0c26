"""How the end-to-end tests drive the system: waiting for facts, gates in graphs, and event streams byte by byte."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson

T = TypeVar("T")
DEADLINE_SECONDS = 30.0
POLL_SECONDS = 0.02
Document = dict[str, Any]


async def until(probe: Callable[[], Awaitable[T]], seconds: float = DEADLINE_SECONDS) -> T:
    """Asks `probe` again and again; answers its first true answer. TimeoutError when there is none in time."""
    async with asyncio.timeout(seconds):
        while not (answer := await probe()):  # noqa: ASYNC110 - what is waited for is in other processes
            await asyncio.sleep(POLL_SECONDS)
        return answer


async def run_has(client: Any, run: Document, *statuses: str) -> Document:
    """The run, once its status is one of `statuses`."""

    async def probe() -> Document | None:
        found: Document = await client.runs.get(run["thread_id"], run["run_id"])
        return found if found["status"] in statuses else None

    found = await until(probe)
    assert found is not None
    return found


async def thread_has(client: Any, thread_id: str, status: str) -> Document:
    """The thread, once it has this status."""

    async def probe() -> Document | None:
        found: Document = await client.threads.get(thread_id)
        return found if found["status"] == status else None

    found = await until(probe)
    assert found is not None
    return found


async def collect(stream: AsyncIterable[T]) -> list[T]:
    """Everything that a stream gives."""
    async with asyncio.timeout(60):
        return [part async for part in stream]


async def collect_into(parts: list[T], stream: AsyncIterable[T]) -> None:
    """The same, seen by others while it grows."""
    async with asyncio.timeout(60):
        async for part in stream:
            parts.append(part)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a run of the graph `gated` waits at."""

    file: Path

    def input(self, name: str) -> Document:
        """The run's input; `name` shows in its log as `entered <name>` and `left <name>`."""
        return {"gate": str(self.file), "name": name}

    def open(self) -> None:
        """Lets the runs pass that wait here, and those to come."""
        self.file.touch()


@dataclass(frozen=True, slots=True)
class SentEvent:
    """A server-sent event as it was on the wire."""

    name: str
    data: Any
    id: str | None


async def sent_events(response: httpx.Response) -> AsyncIterator[SentEvent]:
    """The events of a response, with the framing of the contract insisted on; comments are skipped."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *blocks, rest = (rest + chunk).split(b"\r\n\r\n")
        for block in blocks:
            if not block.startswith(b":"):
                yield parse_event(block)
    assert rest == b"", f"the stream ended inside an event: {rest!r}"


def parse_event(block: bytes) -> SentEvent:
    """One event: lines end in CRLF, the fields are event, data and perhaps id, in that order."""
    fields = [line.partition(b": ") for line in block.split(b"\r\n")]
    names = [name for name, _, _ in fields]
    assert names in ([b"event", b"data"], [b"event", b"data", b"id"]), block
    values = [value for _, _, value in fields]
    return SentEvent(values[0].decode(), orjson.loads(values[1]), values[2].decode() if len(values) > 2 else None)
