"""Responses that last: event streams and waits. Both notice a client that has gone, and then end the gRPC call.

Three tasks serve each: a writer that reads the call, a beat that keeps proxies and clients from giving up, and a
watcher of the connection. The first to end ends the others.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_gateway import sse
from threadmill_gateway.errors import problem_of, refuse
from threadmill_gateway.hanging import Watch

log = structlog.get_logger(__name__)

# The class is generic in its stubs only.
if TYPE_CHECKING:
    Call = grpc.aio.UnaryStreamCall[Any, Any]
else:
    Call = Any

Outcome = runs_pb2.WaitRunResponse.Outcome
Shape = Callable[[Outcome], Awaitable[bytes]]

# After so many failures on end the client hears of it. The pauses grow; in the first, a replica that stops says so to
# its connections, and new calls go elsewhere.
REJOINS = 5
REJOIN_SECONDS = 0.1


class Following:
    """A call that lasts, and goes on at another replica when the one behind it goes away.

    `rejoin` opens it anew after an event id. `position` is such an id, from where the call begins.
    """

    def __init__(self, call: Call, rejoin: Callable[[str], Call], position: str) -> None:
        self._call = call
        self._rejoin = rejoin
        self._position = position

    async def messages(self) -> AsyncIterator[Any]:
        """What comes. Raises what the service answers, and what its absence does once patience is at an end."""
        failures = 0
        while True:
            try:
                while (message := await self._call.read()) is not grpc.aio.EOF:
                    if order(position := position_of(message)) > order(self._position):
                        self._position, failures = position, 0
                    yield message
                return
            except grpc.aio.AioRpcError as error:
                failures += 1
                if failures > REJOINS or not is_away(error):
                    raise
                log.info("call_rejoined", code=error.code().name, details=error.details(), failures=failures)
            await asyncio.sleep(REJOIN_SECONDS * 2 ** (failures - 1))
            self._call = self._rejoin(self._position)

    def cancel(self) -> None:
        """Ends it."""
        self._call.cancel()


def position_of(message: Any) -> str:
    """How far a stream has come with this message, as an event id; empty if the message does not say."""
    events = message_events(message)
    position: str = getattr(message, "position", "") or (events[-1].id if events else "")
    return position


def order(position: str) -> tuple[int, ...]:
    """By which positions in a log compare; none, which is that of what is in no log, comes first."""
    return tuple(int(part) for part in position.split("-")) if position else ()


def message_events(message: Any) -> Any:
    """The events of a message; none for messages of kinds that have none."""
    return message.batch.events if hasattr(message, "batch") else ()


def is_away(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call failed for want of a service: it is gone, or it stopped and cut its calls."""
    return reason_of(error) in ("UNAVAILABLE", "CANCELLED")


async def first_of(call: Call, timeout_seconds: float, watch: Watch) -> Any:
    """The first message of a stream. Raises what the service answers instead of it; 504 after the timeout."""
    message = await next_of(call, timeout_seconds, watch)
    if message is grpc.aio.EOF:
        raise refuse(502, "the stream ended before it began")
    return message


async def next_of(call: Call, timeout_seconds: float, watch: Watch) -> Any:
    """The next message of a stream, or EOF. Raises as `first_of`."""
    try:
        async with asyncio.timeout(timeout_seconds):
            with watch:
                return await call.read()
    except TimeoutError as error:
        call.cancel()
        raise refuse(504, "Gateway Timeout") from error


class LastingReply(Response):
    """Base of both. `closing` is set when the process shuts down; `on_gone` is called if the client leaves before."""

    beat: bytes
    # Whether a body that the shutdown cuts short is still a whole one.
    may_end_early = False

    def __init__(
        self,
        following: Following,
        headers: Mapping[str, str],
        beat_seconds: float,
        closing: asyncio.Event,
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(None, headers=dict(headers))
        del self.headers["content-length"]
        self._following = following
        self._beat_seconds = beat_seconds
        self._closing = closing
        self._on_gone = on_gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves until the call ends, the client goes or the process shuts down."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            self._following.cancel()
            return await send_part(send, b"", more=False)
        writer = asyncio.create_task(self._write(send))
        beat = asyncio.create_task(self._keep_alive(send))
        watcher = asyncio.create_task(until_gone(receive))
        try:
            await asyncio.wait({writer, beat, watcher}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            finished = writer.done()
            gone = watcher.done()
            for task in (writer, beat, watcher):
                task.cancel()
            self._following.cancel()
            if gone and not finished and not self._closing.is_set() and self._on_gone is not None:
                self._on_gone()
            results = await asyncio.gather(writer, beat, watcher, return_exceptions=True)
        _raise_defects(results)
        if not gone and (finished or self.may_end_early):
            await send_part(send, results[0] if isinstance(results[0], bytes) else b"", more=False)
        return None

    async def _write(self, send: Send) -> bytes:
        """Writes what comes; answers what remains to be written with the end, which saves a packet."""
        raise NotImplementedError

    async def _keep_alive(self, send: Send) -> None:
        while not self._closing.is_set():
            try:
                async with asyncio.timeout(self._beat_seconds):
                    await self._closing.wait()
            except TimeoutError:
                await send_part(send, self.beat)


class EventStream(LastingReply):
    """Server-sent events of a run or a thread. A clean end when the process shuts down: clients look and reconnect."""

    beat = sse.HEARTBEAT
    may_end_early = True

    def __init__(
        self,
        following: Following,
        headers: Mapping[str, str],
        beat_seconds: float,
        closing: asyncio.Event,
        on_gone: Callable[[], None] | None = None,
        *,
        with_ids: bool,
    ) -> None:
        super().__init__(following, {**sse.HEADERS, **headers}, beat_seconds, closing, on_gone)
        self._with_ids = with_ids

    async def _write(self, send: Send) -> bytes:
        try:
            async for message in self._following.messages():
                if events := message_events(message):
                    await self._send_events(events, send)
        except grpc.aio.AioRpcError as error:
            return self._failure(problem_of(error))
        return b""

    async def _send_events(self, events: Any, send: Send) -> None:
        await send_part(send, sse.frames(events, self._with_ids))

    def _failure(self, problem: dict[str, str]) -> bytes:
        return sse.error_frame(problem)


async def as_it_came(outcome: Outcome) -> bytes:
    """The body of a wait, in the LangGraph API."""
    return outcome.body_json or b"null"


class WaitReply(LastingReply):
    """The end of a run as a body, with newlines before it to keep the connection alive.

    `shape` makes the body of the outcome. A shutdown cuts the connection, so that clients follow `Location` instead of
    taking an empty body for the result.
    """

    beat = b"\n"

    def __init__(
        self,
        following: Following,
        headers: Mapping[str, str],
        beat_seconds: float,
        closing: asyncio.Event,
        on_gone: Callable[[], None] | None = None,
        *,
        shape: Shape = as_it_came,
    ) -> None:
        super().__init__(following, {"content-type": "application/json", **headers}, beat_seconds, closing, on_gone)
        self._shape = shape

    async def _write(self, _: Send) -> bytes:
        try:
            outcome = await self._outcome()
        except grpc.aio.AioRpcError as error:
            outcome = Outcome(body_json=orjson.dumps({"__error__": problem_of(error)}))
        return await self._shape(outcome)

    async def _outcome(self) -> Outcome:
        async for message in self._following.messages():
            if message.HasField("outcome"):
                outcome: Outcome = message.outcome
                return outcome
        return Outcome()


async def send_part(send: Send, chunk: bytes, *, more: bool = True) -> None:
    """Sends a part of a body, by default not the last one."""
    await send({"type": "http.response.body", "body": chunk, "more_body": more})


async def until_gone(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _raise_defects(results: Iterable[object]) -> None:
    """What a side task raised, unless it was cancelled or could not write to a client that has gone."""
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, OSError):
            raise result


def event_reply(name: str, error: dict[str, str], headers: Mapping[str, str]) -> Response:
    """A stream of one event."""
    return Response(sse.frame(name, orjson.dumps(error)), headers={**sse.HEADERS, **headers})
