"""A gRPC channel whose small calls share a stream."""

import asyncio
from collections.abc import AsyncIterator, Collection, Generator
from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc import status_pb2
from threadmill_protos.common.v1 import calls_pb2, calls_pb2_grpc

from threadmill_chassis.grpc_errors import REQUEST_ID, rpc_error, told_error
from threadmill_chassis.shared_calls.line import Exchange, Line, LineBroken

# Of services of our own; others, such as health, are asked whether the very connection is alive.
OURS = "/threadmill."
# What is larger goes alone, and so holds nobody up.
ALONE_BYTES = 256 * 1024
LOST = "the connection was lost"


class SharedChannel(grpc.aio.Channel):
    """`plain`, with calls of one answer on a shared stream, and of `streams` too: full names of methods.

    A shared stream has no flow control between its calls, so only those of `streams` whose answers are few, or bounded
    by what was asked, may be named.
    """

    def __init__(self, plain: grpc.aio.Channel, name: str, max_bytes: int, streams: Collection[str] = ()) -> None:
        self._plain = plain
        self._line = Line(calls_pb2_grpc.CallsStub(plain), name)
        self._max_bytes = max_bytes
        self._streams = frozenset(streams)

    async def __aenter__(self) -> Self:
        """The channel, to be closed at the block's end."""
        await self._plain.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""
        await self._line.close()
        await self._plain.__aexit__(kind, error, trace)

    async def close(self, grace: float | None = None) -> None:
        """Closes."""
        await self._line.close()
        await self._plain.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # gRPC's
        """As the plain channel."""
        return self._plain.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """As the plain channel."""
        await self._plain.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """As the plain channel."""
        await self._plain.channel_ready()

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method of one request and one response."""
        plain = self._plain.unary_unary(method, *args, **kwargs)
        return _Method(_UnaryCall, self._line, method, plain, kwargs) if method.startswith(OURS) else plain

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method of one request and many responses."""
        plain = self._plain.unary_stream(method, *args, **kwargs)
        return _Method(_StreamCall, self._line, method, plain, kwargs) if method in self._streams else plain

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """As the plain channel."""
        return self._plain.stream_unary(*args, **kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method of many requests and responses."""
        plain = self._plain.stream_stream(method, *args, **kwargs)
        return _DuplexMethod(self._line, method, plain, kwargs, self._max_bytes) if method in self._streams else plain


class _Method:
    """A method with one request. Calling it sends the request."""

    def __init__(self, kind: Any, line: Line, name: str, plain: Any, codec: dict[str, Any]) -> None:
        self._kind = kind
        self._line = line
        self._name = name
        self.plain = plain
        self._encode = codec["request_serializer"]
        self.decode = codec["response_deserializer"]

    def __call__(self, request: Any, **options: Any) -> Any:
        """The call: gRPC's own, or one that behaves like it."""
        if not self._line.ready():
            return self.plain(request, **options)
        message = self._encode(request)
        if len(message) > ALONE_BYTES:
            return self.plain(request, **options)
        exchange = self._line.begin(self._name, _request_id(options), message, last=True)
        return self._kind(self, exchange, request, options)


class _DuplexMethod:
    def __init__(self, line: Line, name: str, plain: Any, codec: dict[str, Any], max_bytes: int) -> None:
        self._line = line
        self._name = name
        self._plain = plain
        self.encode = codec["request_serializer"]
        self.decode = codec["response_deserializer"]
        self.max_bytes = max_bytes

    def __call__(self, requests: Any = None, **options: Any) -> Any:
        """The call, as above; with an iterator of requests, always gRPC's own."""
        if requests is not None or not self._line.ready():
            return self._plain(requests, **options)
        return _DuplexCall(self, self._line.begin(self._name, _request_id(options), None, last=False))


class _Repeated:
    """What calls with one request have in common: when the stream fails them, gRPC's own way is left."""

    def __init__(self, method: _Method, exchange: Exchange, request: Any, options: dict[str, Any]) -> None:
        self._method = method
        self._exchange = exchange
        self._request = request
        self._options = options
        self._again: Any = None
        self._failed: grpc.aio.AioRpcError | None = None
        timeout = options.get("timeout")
        loop = asyncio.get_running_loop()
        self._deadline = None if timeout is None else loop.time() + timeout
        self._timer = None if timeout is None else loop.call_later(timeout, self._expire)

    def _expire(self) -> None:
        self._exchange.end(rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    def cancel(self) -> bool:
        """Ends the call; who waits for it is cancelled."""
        self._settle()
        if self._again is not None:
            return bool(self._again.cancel())
        self._exchange.cancel()
        return True

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _repeat(self) -> Any:
        self._settle()
        options = self._options
        if self._deadline is not None:
            options = options | {"timeout": max(0.0, self._deadline - asyncio.get_running_loop().time())}
        self._again = self._method.plain(self._request, **options)
        return self._again

    async def _next(self) -> calls_pb2.Frame | None:
        """An answer; None if the call is to be repeated. Raises AioRpcError, from then on always the same."""
        if self._failed is not None:
            raise self._failed
        try:
            frame = await self._exchange.next()
        except LineBroken:
            return None
        if not frame.HasField("failure"):
            return frame
        self._settle()
        error = told_error(status_pb2.Status.FromString(frame.failure.status))
        if error.code() is grpc.StatusCode.UNAVAILABLE and not frame.failure.final:
            return None
        self._failed = error
        raise error


class _UnaryCall(_Repeated):
    """To be awaited, once."""

    def __await__(self) -> Generator[Any, None, Any]:
        """The response."""
        return self._response().__await__()

    async def _response(self) -> Any:
        try:
            frame = await self._next()
        finally:
            self._settle()
            self._exchange.close()
        return await self._repeat() if frame is None else self._method.decode(frame.message)


class _StreamCall(_Repeated):
    """To be read, or iterated. Repeated only before the first answer; later, its reader has to know."""

    _heard = False
    _ended = False

    def __del__(self) -> None:
        """As gRPC's: nobody will read the answers."""
        self._settle()
        self._exchange.close()

    async def read(self) -> Any:
        """The next response; EOF after the last."""
        if self._again is not None:
            return await self._again.read()
        if self._ended:
            return grpc.aio.EOF
        try:
            frame = await self._next()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if frame is None and not self._heard:
            return await self._repeat().read()
        if frame is None:
            self._failed = rpc_error(grpc.StatusCode.UNAVAILABLE, LOST)
            raise self._failed
        self._heard = True
        self._ended = frame.last
        if frame.last:
            self._settle()
        return self._method.decode(frame.message) if frame.HasField("message") else grpc.aio.EOF

    async def __aiter__(self) -> AsyncIterator[Any]:
        """All responses."""
        while (response := await self.read()) is not grpc.aio.EOF:
            yield response


class _DuplexCall:
    """To be written and read; its writer cancels it in the end, and sends again what was not answered."""

    def __init__(self, method: _DuplexMethod, exchange: Exchange) -> None:
        self._method = method
        self._exchange = exchange
        self._ended = False

    async def write(self, request: Any) -> None:
        """Sends; does not wait until it has left."""
        message = self._method.encode(request)
        if len(message) > self._method.max_bytes:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            self._exchange.end(rpc_error(code, f"a message of {len(message)} bytes is larger than the limit"))
        self._exchange.say(message)

    async def done_writing(self) -> None:
        """Nothing follows."""
        self._exchange.say(None, last=True)

    async def read(self) -> Any:
        """The next response; EOF after the last. Raises AioRpcError."""
        if self._ended:
            return grpc.aio.EOF
        try:
            frame = await self._exchange.next()
        except LineBroken:
            raise rpc_error(grpc.StatusCode.UNAVAILABLE, LOST) from None
        except asyncio.CancelledError:
            self.cancel()
            raise
        if frame.HasField("failure"):
            raise told_error(status_pb2.Status.FromString(frame.failure.status))
        self._ended = frame.last
        return self._method.decode(frame.message) if frame.HasField("message") else grpc.aio.EOF

    async def __aiter__(self) -> AsyncIterator[Any]:
        """All responses."""
        while (response := await self.read()) is not grpc.aio.EOF:
            yield response

    def cancel(self) -> bool:
        """Ends the call; who waits for it is cancelled."""
        self._exchange.cancel()
        return True


def _request_id(options: dict[str, Any]) -> str:
    return next((value for key, value in options.get("metadata") or () if key == REQUEST_ID), "")
