"""Streams that are cut and taken up again: no event is lost, none comes twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from threadmill_cli.stack import Stack

from .driving import Document, Gate, SentEvent, collect, sent_events

COUNT = 40
RUN: Document = {
    "assistant_id": "tokens",
    "input": {"messages": [{"role": "user", "content": "go"}], "count": COUNT, "pause": 0.01},
    "stream_mode": ["messages-tuple", "values"],
    "stream_resumable": True,
}


def tokens_of(events: list[SentEvent]) -> list[str]:
    return [event.data[0]["content"] for event in events if event.name == "messages" and event.data[0]["content"]]


def position(event_id: str | None) -> tuple[int, int]:
    assert event_id is not None
    milliseconds, _, count = event_id.partition("-")
    return int(milliseconds), int(count)


async def read(http: httpx.AsyncClient, location: str, last_event_id: str, count: int | None = None) -> list[SentEvent]:
    """The events of a stream taken up after `last_event_id`; the connection is cut after `count` of them."""
    events: list[SentEvent] = []
    async with http.stream("GET", location, headers={"Last-Event-ID": last_event_id}) as response:
        assert response.status_code == 200
        async for event in sent_events(response):
            events.append(event)
            if len(events) == count:
                break
    return events


@asynccontextmanager
async def started(http: httpx.AsyncClient, thread_id: str, **changes: Any) -> AsyncIterator[httpx.Response]:
    async with http.stream("POST", f"/threads/{thread_id}/runs/stream", json={**RUN, **changes}) as response:
        assert response.status_code == 200
        yield response


@pytest.mark.parametrize("cuts", [[1], [2, 1, 1], [5, 10, 3], [COUNT // 2], [1] * 12])
async def test_stream_cut_at_any_point_continues_without_loss_or_repetition(
    http: httpx.AsyncClient, thread_id: str, cuts: list[int]
) -> None:
    events: list[SentEvent] = []
    async with started(http, thread_id) as response:
        location = response.headers["location"]
        async for event in sent_events(response):
            events.append(event)
            if len(events) == cuts[0]:
                break
    for cut in [*cuts[1:], None]:
        assert events[-1].id is not None
        events += await read(http, location, events[-1].id, cut)
    assert [event.name for event in events[:2]] == ["metadata", "values"]
    assert tokens_of(events) == [f"t{n} " for n in range(COUNT)]
    assert events[-1].name == "values"
    ids = [position(event.id) for event in events]
    assert ids == sorted(set(ids))
    assert await read(http, location, "-1") == events


async def test_stream_taken_up_from_the_middle_after_the_end(http: httpx.AsyncClient, thread_id: str) -> None:
    async with started(http, thread_id, input={**RUN["input"], "pause": 0.0}) as response:
        location = response.headers["location"]
        events = [event async for event in sent_events(response)]
    for index in (0, 1, len(events) // 2, len(events) - 1):
        event_id = events[index].id
        assert event_id is not None
        assert await read(http, location, event_id) == events[index + 1 :]


async def test_many_readers_from_different_points_see_the_same(
    http: httpx.AsyncClient, thread_id: str, gate: Gate
) -> None:
    run = {"assistant_id": "gated", "input": gate.input("A"), "stream_mode": ["updates", "custom"]}
    async with started(http, thread_id, **run) as response:
        location = response.headers["location"]
        head: list[SentEvent] = []
        source = sent_events(response)
        async for event in source:
            head.append(event)
            if event.name == "custom":
                break
        readers = [asyncio.create_task(read(http, location, event.id or "")) for event in head for _ in range(5)]
        readers.append(asyncio.create_task(read(http, location, "-1")))
        gate.open()
        whole = head + [event async for event in source]
    for number, events in enumerate(await asyncio.gather(*readers[:-1])):
        assert events == whole[number // 5 + 1 :]
    assert await readers[-1] == whole


async def test_without_stream_resumable_there_are_no_ids_and_no_replay(http: httpx.AsyncClient, thread_id: str) -> None:
    async with started(http, thread_id, stream_resumable=False) as response:
        location = response.headers["location"]
        events = [event async for event in sent_events(response)]
    assert {event.id for event in events} == {None}
    assert await read(http, location, "-1") == []


async def test_garbage_as_last_id_replays_nothing(http: httpx.AsyncClient, thread_id: str) -> None:
    async with started(http, thread_id, input={**RUN["input"], "pause": 0.0}) as response:
        location = response.headers["location"]
        await collect(sent_events(response))
    assert await read(http, location, "nonsense") == []


async def test_stateless_stream_is_taken_up_where_it_says(http: httpx.AsyncClient) -> None:
    events: list[SentEvent] = []
    async with http.stream("POST", "/runs/stream", json=RUN) as response:
        location = response.headers["location"]
        async for event in sent_events(response):
            events.append(event)
            if len(events) == 7:
                break
    events += await read(http, location, events[-1].id or "")
    assert tokens_of(events) == [f"t{n} " for n in range(COUNT)]


class Cutter:
    """A proxy before the gateway that cuts each of its first connections after so many bytes of the answer."""

    def __init__(self, target_port: int, cut_after: list[int]) -> None:
        self.target_port = target_port
        self.cut_after = cut_after
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: everything up, and down until the cut."""
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        uploading = asyncio.create_task(self._upload(reader, up_writer))
        try:
            await self._download(up_reader, writer)
        finally:
            uploading.cancel()
            up_writer.close()
            writer.transport.abort()

    async def _upload(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)

    async def _download(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left: int | None = None
        while chunk := await reader.read(65536):
            if left is None and b"text/event-stream" in chunk and self.cut_after:
                left = self.cut_after.pop(0)
            if left is not None and len(chunk) >= left:
                writer.write(chunk[:left])
                await writer.drain()
                self.cuts += 1
                return
            left = None if left is None else left - len(chunk)
            writer.write(chunk)
            await writer.drain()


async def test_the_sdk_reconnects_by_itself_and_misses_nothing(stack: Stack, thread_id: str) -> None:
    cutter = Cutter(stack.port, [2500, 6000])
    async with await asyncio.start_server(cutter.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with get_client(url=f"http://127.0.0.1:{port}") as client:
            parts = await collect(
                client.runs.stream(
                    thread_id,
                    "tokens",
                    input=RUN["input"],
                    stream_mode="messages-tuple",
                    stream_resumable=True,
                )
            )
    assert cutter.cuts == 2
    contents = [part.data[0]["content"] for part in parts if part.event == "messages"]
    assert [content for content in contents if content] == [f"t{n} " for n in range(COUNT)]
    assert [part.event for part in parts].count("metadata") == 1


async def test_gateway_that_dies_under_a_stream_loses_nothing(
    client: LangGraphClient, stack: Stack, thread_id: str
) -> None:
    given = {**RUN["input"], "count": 120, "pause": 0.02}
    seen: list[Any] = []
    async for part in client.runs.stream(
        thread_id, "tokens", input=given, stream_mode="messages-tuple", stream_resumable=True
    ):
        seen.append(part)
        if len(seen) == 10:
            stack.kill("gateway")
    await stack.wait_ready("gateway")
    contents = [part.data[0]["content"] for part in seen if part.event == "messages"]
    assert [content for content in contents if content] == [f"t{n} " for n in range(120)]
