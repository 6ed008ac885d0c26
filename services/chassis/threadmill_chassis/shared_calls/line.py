"""The client's side of one stream: opens it when it is wanted, and gives each call its answers."""

import asyncio
from collections import deque
from typing import Any

import grpc
import structlog
from threadmill_protos.common.v1 import calls_pb2

from threadmill_chassis.grpc_errors import PASSING, rpc_error
from threadmill_chassis.shared_calls.frames import Assembly, FrameQueue

log = structlog.get_logger(__name__)

# While so much waits because the peer does not read, calls go gRPC's own way.
BACKLOG_BYTES = 2 * 1024 * 1024
# After a stream whose peer went; and after one that ended otherwise, which may be the fault of something that was sent.
RECONNECT_SECONDS = 0.5
SUSPECT_SECONDS = 60.0
# How long the reader may take to learn why a write has failed.
REASON_SECONDS = 0.2


class LineBroken(Exception):
    """The stream has ended before the call did. Whether the peer has got it is not known."""


class Line:
    """The stream to one peer; for one event loop."""

    def __init__(self, stub: Any, name: str) -> None:
        self._stub = stub
        self._name = name
        self._exchanges: dict[int, Exchange] = {}
        self._last_id = 0
        self._begun_id = 0  # of the newest call that the peer may have got something of
        self._outgoing = FrameQueue()
        self._wanted = asyncio.Event()
        self._open = False
        self._keeper: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._closed = False

    def ready(self) -> bool:
        """Whether calls can go this way. If not, it will be seen to it that they soon can."""
        if not self._open and self._keeper is None and not self._closed:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._not_before:
                self._keeper = loop.create_task(self._keep(), name=f"shared calls to {self._name}")
        return self._open and self._outgoing.bytes_count < BACKLOG_BYTES

    def begin(self, method: str, request_id: str, message: bytes | None, *, last: bool) -> "Exchange":
        """Begins a call; only when ready."""
        self._last_id += 1
        exchange = self._exchanges[self._last_id] = Exchange(self, self._last_id)
        self.send(
            calls_pb2.Frame(call_id=self._last_id, method=method, request_id=request_id, message=message, last=last)
        )
        return exchange

    def send(self, frame: calls_pb2.Frame) -> None:
        """Queues a frame. It leaves in the same turn of the loop or the next, with all others of that time."""
        self._outgoing.put(frame)
        self._wanted.set()

    def forget(self, call_id: int) -> None:
        """The call is over, for one side or both."""
        self._exchanges.pop(call_id, None)

    def give_up(self, call_id: int) -> None:
        """Its client does not want the answer any more. What the peer has not got of the call it does not get."""
        self.forget(call_id)
        self._outgoing.withdraw(call_id)
        if call_id <= self._begun_id:
            self.send(calls_pb2.Frame(call_id=call_id, cancelled=True))

    async def close(self) -> None:
        """Ends the stream, for good."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        """One stream, from its opening to its end."""
        pause = RECONNECT_SECONDS
        try:
            failure = await self._connected()
            if failure is not None and failure.code() not in PASSING:
                log.warning("shared_calls_failed", peer=self._name, error=failure.details())
                pause = SUSPECT_SECONDS
        finally:
            self._open = False
            self._keeper = None
            self._not_before = asyncio.get_running_loop().time() + pause
            self._outgoing.clear()
            exchanges = list(self._exchanges.values())
            self._exchanges.clear()
            for exchange in exchanges:
                exchange.break_off()

    async def _connected(self) -> grpc.aio.AioRpcError | None:
        """Why the stream ended; None: its peer has ended it as it should."""
        call = self._stub.Share()
        reader = asyncio.create_task(self._read(call), name=f"shared answers of {self._name}")
        writer = asyncio.create_task(self._write(call), name=f"shared questions to {self._name}")
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({reader}, timeout=REASON_SECONDS)
            for task in (reader, writer):
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    return _as_rpc_error(error)
            return None
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            call.cancel()

    async def _read(self, call: Any) -> None:
        async for response in call:
            self._open = not response.going_away
            for frame in response.frames:
                exchange = self._exchanges.get(frame.call_id)
                if exchange is not None:
                    exchange.hear(frame)

    async def _write(self, call: Any) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._outgoing:
                frames = self._outgoing.take()
                self._begun_id = max(self._begun_id, *(frame.call_id for frame in frames))
                await call.write(calls_pb2.ShareRequest(frames=frames))


class Exchange:
    """One call on the stream, as its client has it."""

    __slots__ = ("_assembly", "_broken", "_ended", "_frames", "_id", "_line", "_refused", "_waiter")

    def __init__(self, line: Line, call_id: int) -> None:
        self._line = line
        self._id = call_id
        self._frames: deque[calls_pb2.Frame] = deque()
        self._assembly = Assembly()
        self._waiter: asyncio.Future[None] | None = None
        self._broken = False
        self._ended = False
        self._refused: BaseException | None = None

    def say(self, message: bytes | None, *, last: bool = False) -> None:
        """Goes on. Raises InvalidStateError, as gRPC does, when the call has ended."""
        if self._ended:
            raise asyncio.InvalidStateError("the call has ended")
        self._line.send(calls_pb2.Frame(call_id=self._id, message=message, last=last))

    async def next(self) -> calls_pb2.Frame:
        """The next answer. Raises LineBroken; what `end` was given; CancelledError after `cancel`."""
        while not self._frames:
            if self._refused is not None:
                raise self._refused
            if self._broken or self._ended:
                raise LineBroken
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._frames.popleft()

    def hear(self, frame: calls_pb2.Frame) -> None:
        """Takes an answer, or a part of one."""
        if not self._assembly.add(frame):
            return
        if frame.last or frame.HasField("failure"):
            self._ended = True
            self._line.forget(self._id)
        self._frames.append(frame)
        self._wake()

    def break_off(self) -> None:
        """The stream is gone."""
        self._ended = self._broken = True
        self._wake()

    def end(self, error: BaseException) -> None:
        """The client does not want the answer any more; who waits for it gets the error."""
        self._refused = error
        self.close()
        self._wake()

    def cancel(self) -> None:
        """As `end`."""
        self.end(asyncio.CancelledError())

    def close(self) -> None:
        """Tells the peer, unless the call has ended."""
        if not self._ended:
            self._ended = True
            self._line.give_up(self._id)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _as_rpc_error(error: BaseException) -> grpc.aio.AioRpcError:
    if isinstance(error, grpc.aio.AioRpcError):
        return error
    if isinstance(error, asyncio.InvalidStateError):  # gRPC's word for a call that has ended
        return rpc_error(grpc.StatusCode.UNAVAILABLE, "the call has ended")
    return rpc_error(grpc.StatusCode.INTERNAL, f"it cannot be sent: {error!r}")
