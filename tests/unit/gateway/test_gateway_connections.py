"""What one client may hold and for how long: heads, bodies, connections, unread streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from threadmill_gateway.context import Gateway
from threadmill_protos.runs.v1 import runs_pb2

from .gateway_script import RUN_ID, THREAD_ID, Script, live_client, open_gateway, run_row

SHORT = {
    "http_header_timeout_seconds": 0.2,
    "http_body_timeout_seconds": 0.2,
    "http_stall_timeout_seconds": 0.2,
    "http_max_header_bytes": 1000,
}
ASK = b"GET /ok HTTP/1.1\r\nhost: gateway\r\n\r\n"
SECONDS = 5


class Connection:
    """A client that writes bytes as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Everything up to the end, which the server has to bring about."""
        return await asyncio.wait_for(self.reader.read(), SECONDS)

    async def answer(self) -> bytes:
        """The status line of the next answer, whose body is read too."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), SECONDS)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await self.reader.readexactly(length)
        return head.split(b"\r\n")[0]


class Server:
    """A gateway with short patience."""

    def __init__(self, socket: Path, gateway: Gateway) -> None:
        self._socket = socket
        self.gateway = gateway

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        yield Connection(reader, writer)
        writer.close()


@asynccontextmanager
async def serving(gateway: Gateway, folder: Path, **changes: Any) -> AsyncIterator[Server]:
    settings = gateway.settings.model_copy(update={**SHORT, **changes})
    async with open_gateway(settings) as opened, live_client(opened, folder):
        yield Server(folder / "http.sock", opened)


@pytest.mark.parametrize("begun", [b"GET /ok HTT", b"GET /ok HTTP/1.1\r\nx-slow: ", b"\r\n"])
async def test_a_head_that_does_not_come_is_408(gateway: Gateway, tmp_path: Path, begun: bytes) -> None:
    async with serving(gateway, tmp_path) as server, server.connect() as client:
        await client.send(begun)
        found = await client.rest()
    assert found.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert found.endswith(b'{"detail":"Request Timeout"}')


async def test_the_second_request_of_a_connection_is_timed_too(gateway: Gateway, tmp_path: Path) -> None:
    async with serving(gateway, tmp_path) as server, server.connect() as client:
        await client.send(ASK)
        assert await client.answer() == b"HTTP/1.1 200 OK"
        await client.send(ASK[:10])
        assert (await client.rest()).startswith(b"HTTP/1.1 408")


async def test_a_connection_that_asks_nothing_is_closed(gateway: Gateway, tmp_path: Path) -> None:
    async with serving(gateway, tmp_path, http_keep_alive_seconds=1) as server, server.connect() as client:
        assert await client.rest() == b""


@pytest.mark.parametrize("ended", [True, False])
async def test_a_head_that_is_too_large_is_431(gateway: Gateway, tmp_path: Path, ended: bool) -> None:
    async with serving(gateway, tmp_path, http_header_timeout_seconds=60) as server, server.connect() as client:
        await client.send(b"GET /ok HTTP/1.1\r\nx-large: " + b"x" * 1000 + (b"\r\n\r\n" if ended else b""))
        found = await client.rest()
    assert found.startswith(b"HTTP/1.1 431 ")
    assert found.endswith(b'{"detail":"Request Header Fields Too Large"}')


@pytest.mark.parametrize("limit", [1000, 1_000_000])
async def test_a_url_that_is_too_long_is_431(gateway: Gateway, tmp_path: Path, limit: int) -> None:
    async with serving(gateway, tmp_path, http_max_header_bytes=limit) as server, server.connect() as client:
        await client.send(b"GET /ok?" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: gateway\r\n\r\n")
        found = await client.rest()
    assert found.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert found.endswith(b'{"detail":"Request Header Fields Too Large"}')


@pytest.mark.parametrize("begun", [b"GARBAGE\r\n\r\n", b"GET /ok HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x00\xa5\x01"])
async def test_what_is_no_http_is_400(gateway: Gateway, tmp_path: Path, begun: bytes) -> None:
    async with serving(gateway, tmp_path) as server, server.connect() as client:
        await client.send(begun)
        found = await client.rest()
    assert found.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/json\r\n" in found
    assert found.endswith(b'{"detail":"Invalid HTTP request received."}')


@pytest.mark.parametrize("method", [b"FOO", b"get", b"PROPFIND", b"M-SEARCH", b"TRACE"])
async def test_unknown_methods_are_405_where_a_route_is(gateway: Gateway, tmp_path: Path, method: bytes) -> None:
    """Twice on one connection: it is still good."""
    async with serving(gateway, tmp_path) as server, server.connect() as client:
        await client.send(ASK.replace(b"GET", method))
        head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), SECONDS)
        assert head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
        assert b"allow: " in head
        assert await client.reader.readexactly(31) == b'{"detail":"Method Not Allowed"}'
        await client.send(ASK.replace(b"GET /ok", method + b" /nowhere"))
        assert await client.answer() == b"HTTP/1.1 404 Not Found"
        await client.send(ASK)
        assert await client.answer() == b"HTTP/1.1 200 OK"


async def test_a_body_is_never_taken_for_a_method(gateway: Gateway, tmp_path: Path) -> None:
    """A response that is complete before its request: what follows is still the body."""
    async with serving(gateway, tmp_path) as server, server.connect() as client:
        await client.send(b"POST /nowhere HTTP/1.1\r\nhost: gateway\r\ncontent-length: 9\r\n\r\n")
        assert await client.answer() == b"HTTP/1.1 404 Not Found"
        await client.send(b"FOO /nope")
        await client.send(ASK)
        assert await client.answer() == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("body", [b"", b'{"metadata":'])
async def test_a_body_that_does_not_come_is_408(gateway: Gateway, tmp_path: Path, body: bytes) -> None:
    async with serving(gateway, tmp_path) as server, server.connect() as client:
        await client.send(b"POST /threads HTTP/1.1\r\nhost: gateway\r\ncontent-length: 100\r\n\r\n" + body)
        found = await client.rest()
    assert found.startswith(b"HTTP/1.1 408 ")
    assert found.endswith(b'{"detail":"Request Timeout"}')


async def test_a_body_that_drips_is_408(gateway: Gateway, tmp_path: Path) -> None:
    async with serving(gateway, tmp_path) as server, server.connect() as client:
        await client.send(b"POST /threads HTTP/1.1\r\nhost: gateway\r\ncontent-length: 10000\r\n\r\n")
        answer = asyncio.ensure_future(client.reader.readline())
        while not answer.done():
            await client.send(b" ")
            await asyncio.wait({answer}, timeout=0.02)
        assert answer.result().startswith(b"HTTP/1.1 408 ")


async def test_beyond_the_limit_of_connections_only_probes_are_served(
    gateway: Gateway, script: Script, tmp_path: Path
) -> None:
    script.on(GetQueueStats=runs_pb2.QueueStats())
    async with (
        serving(gateway, tmp_path, http_max_connections=2) as server,
        server.connect() as first,
        server.connect() as second,
        server.connect() as third,
    ):
        for client in (first, second, third):
            await client.send(ASK)
            assert await client.answer() == b"HTTP/1.1 200 OK"
        await third.send(ASK.replace(b"/ok", b"/info"))
        refused = await third.rest()
        await second.send(ASK.replace(b"/ok", b"/info"))
        assert await second.answer() == b"HTTP/1.1 200 OK"
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5\r\n" in refused
    assert refused.endswith(b'{"detail":"Service Unavailable"}')


async def test_a_client_that_does_not_read_its_stream_is_closed(
    gateway: Gateway, script: Script, tmp_path: Path
) -> None:
    """What it did not read stays with the service: the gateway holds no more than its buffers."""
    batch = runs_pb2.EventBatch(events=[runs_pb2.Event(name="values", data_json=b'"%b"' % (b"x" * 100_000))])
    sent, ended = 0, asyncio.Event()

    async def stream(_: Any) -> AsyncIterator[runs_pb2.StreamRunResponse]:
        nonlocal sent
        try:
            yield runs_pb2.StreamRunResponse(run=run_row())
            for _ in range(1000):
                yield runs_pb2.StreamRunResponse(batch=batch)
                sent += 1
        finally:
            ended.set()

    script.on(StreamRun=stream)
    async with serving(gateway, tmp_path) as server, server.connect() as client:
        path = f"/threads/{THREAD_ID}/runs/{RUN_ID}/stream"
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket
        await client.send(f"GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n".encode())
        async with asyncio.timeout(SECONDS):
            await ended.wait()
    assert sent < 300
