"""The server's side: methods that are served by gRPC already, called by frames."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
import structlog
from google.rpc import status_pb2
from threadmill_protos.common.v1 import calls_pb2, calls_pb2_grpc

from threadmill_chassis.grpc_errors import REQUEST_ID, failure_of, plain_status
from threadmill_chassis.shared_calls.frames import Assembly, FrameQueue

Failure = calls_pb2.Frame.Failure
Requests = AsyncIterator[calls_pb2.ShareRequest]
# A server's word to gRPC's retries (gRFC A6): do not repeat.
PUSHBACK = "grpc-retry-pushback-ms"


class Recorder:
    """Stands for a server while services are added to it, and keeps their methods by full name."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """As the server's."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """As the server's."""
        self._server.add_registered_method_handlers(service, handlers)
        self.handlers.update({f"/{service}/{method}": handler for method, handler in handlers.items()})


class SharedCalls(calls_pb2_grpc.CallsServicer):
    """Serves threadmill.common.v1.Calls."""

    def __init__(self, handlers: Mapping[str, Any], max_bytes: int) -> None:
        self._handlers = handlers
        self._max_bytes = max_bytes
        self._sessions: set[_Session] = set()
        self._going_away = False

    def go_away(self) -> None:
        """The server is about to stop."""
        self._going_away = True
        for session in self._sessions:
            session.go_away()

    async def Share(  # noqa: N802  # the name of the method
        self, request_iterator: Requests, context: Any
    ) -> AsyncIterator[calls_pb2.ShareResponse]:
        """See the proto."""
        session = _Session(self._handlers, self._max_bytes)
        if self._going_away:
            session.go_away()
        self._sessions.add(session)
        try:
            async with aclosing(session.serve(request_iterator)) as responses:
                async for response in responses:
                    yield response
        finally:
            self._sessions.discard(session)


class _Session:
    """One stream."""

    def __init__(self, handlers: Mapping[str, Any], max_bytes: int) -> None:
        self._handlers = handlers
        self._max_bytes = max_bytes
        self._calls: dict[int, _Call] = {}
        self._newest_id = 0
        self._answers = FrameQueue()
        self._changed = asyncio.Event()
        self._going_away = False
        self._ended = False

    def go_away(self) -> None:
        self._going_away = True
        self._changed.set()

    async def serve(self, requests: Requests) -> AsyncGenerator[calls_pb2.ShareResponse, None]:
        """To the end of the stream. What is under way then is cancelled, as by the loss of a gRPC call."""
        yield calls_pb2.ShareResponse()
        reader = asyncio.create_task(self._read(requests), name="shared calls")
        told = False
        try:
            while not (self._ended or (told and not self._calls and not self._answers)):
                await self._changed.wait()
                self._changed.clear()
                while self._answers or self._going_away != told:
                    told = self._going_away
                    yield calls_pb2.ShareResponse(frames=self._answers.take(), going_away=told)
        finally:
            tasks = [reader, *(call.task for call in self._calls.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, requests: Requests) -> None:
        try:
            async for request in requests:
                for frame in request.frames:
                    self._take(frame)
        finally:
            self._ended = True
            self._changed.set()

    def _take(self, frame: calls_pb2.Frame) -> None:
        if frame.call_id > self._newest_id:
            self._newest_id = frame.call_id
            call = self._calls[frame.call_id] = _Call(self.answer, self._handlers.get(frame.method), frame)
            call.task.add_done_callback(lambda _: self._end(frame.call_id))
        elif frame.call_id in self._calls:  # else it has ended, of which the client will hear
            self._calls[frame.call_id].take(frame)

    def answer(self, frame: calls_pb2.Frame) -> None:
        """Sends, together with what else there is by then."""
        size = len(frame.message)
        if size > self._max_bytes:
            message = f"an answer of {size} bytes is larger than the limit"
            failure = _failure(plain_status(grpc.StatusCode.RESOURCE_EXHAUSTED, message))
            frame = calls_pb2.Frame(call_id=frame.call_id, failure=failure)
        self._answers.put(frame)
        self._changed.set()

    def _end(self, call_id: int) -> None:
        del self._calls[call_id]
        self._changed.set()


class _Call:
    """One call: the method at work on it."""

    def __init__(self, answer: Callable[[calls_pb2.Frame], None], handler: Any, first: calls_pb2.Frame) -> None:
        self._answer = answer
        self._handler = handler
        self._id = first.call_id
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._assembly = Assembly()
        self.task = asyncio.create_task(self._serve(first), name=first.method)
        self.take(first)

    def take(self, frame: calls_pb2.Frame) -> None:
        """What the client says."""
        if frame.cancelled:
            self.task.cancel()
            return
        if not self._assembly.add(frame):
            return
        if frame.HasField("message"):
            self._inbox.put_nowait(frame.message)
        if frame.last:
            self._inbox.put_nowait(None)

    async def _serve(self, first: calls_pb2.Frame) -> None:
        if first.request_id:
            structlog.contextvars.bind_contextvars(request_id=first.request_id)
        try:
            if self._handler is None:
                self._fail(plain_status(grpc.StatusCode.UNIMPLEMENTED, f"no method {first.method}"))
            else:
                await self._call(self._handler, first)
        except _Aborted as abort:
            self._fail(abort.status, final=abort.final)
        except asyncio.CancelledError:  # if that was its client, nobody hears it
            self._fail(plain_status(grpc.StatusCode.CANCELLED, "cancelled"))
            raise
        except Exception as error:  # noqa: BLE001  # the top of a call: others go on
            self._fail(failure_of(error))

    async def _call(self, handler: Any, first: calls_pb2.Frame) -> None:
        context = SharedContext(first.request_id)
        encode = handler.response_serializer
        if handler.unary_unary is not None:
            response = await handler.unary_unary(await self._request(handler), context)
            self._answer(self._frame(message=encode(response), last=True))
            return
        if handler.request_streaming:
            responses = handler.stream_stream(self._requests(handler.request_deserializer), context)
        else:
            responses = handler.unary_stream(await self._request(handler), context)
        async with aclosing(responses):
            async for response in responses:
                self._answer(self._frame(message=encode(response)))
        self._answer(self._frame(last=True))

    async def _request(self, handler: Any) -> Any:
        """Of a method that has one. Empty stands for one that does not come, which no client of ours does."""
        return handler.request_deserializer(await self._inbox.get() or b"")

    def _fail(self, status: status_pb2.Status, *, final: bool = False) -> None:
        self._answer(self._frame(failure=_failure(status, final=final)))

    def _frame(self, **content: Any) -> calls_pb2.Frame:
        return calls_pb2.Frame(call_id=self._id, **content)

    async def _requests(self, decode: Any) -> AsyncIterator[Any]:
        while (message := await self._inbox.get()) is not None:
            yield decode(message)


class _Aborted(Exception):
    def __init__(self, status: status_pb2.Status, *, final: bool) -> None:
        super().__init__(status.message)
        self.status = status
        self.final = final


class SharedContext:
    """As much of gRPC's context as our methods use."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """What has come along."""
        return ((REQUEST_ID, self._request_id),) if self._request_id else ()

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Sequence[tuple[str, str]] = ()
    ) -> NoReturn:
        """Ends the call."""
        raise _Aborted(plain_status(code, details), final=PUSHBACK in dict(trailing_metadata))


def _failure(status: status_pb2.Status, *, final: bool = False) -> Failure:
    return Failure(status=status.SerializeToString(), final=final)
