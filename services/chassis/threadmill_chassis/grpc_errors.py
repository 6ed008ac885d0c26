"""Domain errors to gRPC status with google.rpc.ErrorInfo, and back."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn
from uuid import uuid4

import grpc
import structlog
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from threadmill_chassis.errors import DomainError

DOMAIN = "threadmill"
# Metadata of a call: the id of the client's request that causes it.
REQUEST_ID = "x-request-id"
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
# With these a call ends because its peer, or the way there, is gone or slow: it may pass.
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
log = structlog.get_logger(__name__)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Gives every call the caller's request id in its logs and maps what it raises.

    A DomainError becomes its own status. Anything else is a defect: logged in full with an id, while the
    caller sees neutral text and that id.
    """

    def __init__(self) -> None:
        self._guarded: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of one call, wrapped; made once per method, because gRPC asks for it at every call."""
        known = self._guarded.get(handler_call_details.method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        guarded = self._guarded[handler_call_details.method] = _guard(handler)
        return guarded


def _guard(handler: Any) -> Any:
    streams, takes_stream = handler.response_streaming, handler.request_streaming
    if streams:
        inner = handler.unary_stream or handler.stream_stream
        build = grpc.stream_stream_rpc_method_handler if takes_stream else grpc.unary_stream_rpc_method_handler
        return build(_guard_stream(inner), handler.request_deserializer, handler.response_serializer)
    inner = handler.unary_unary or handler.stream_unary
    build = grpc.stream_unary_rpc_method_handler if takes_stream else grpc.unary_unary_rpc_method_handler
    return build(_guard_unary(inner), handler.request_deserializer, handler.response_serializer)


def _guard_unary(inner: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        _bind_request_id(context)
        try:
            return await inner(request, context)
        except Exception as error:  # top of a call: what is not a domain error is logged and masked
            await _abort(context, error)

    return guarded


def _guard_stream(inner: Callable[..., AsyncGenerator[Any, None]]) -> Callable[..., AsyncIterator[Any]]:
    async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        _bind_request_id(context)
        try:
            # Closed at once when the caller goes, not when the garbage collector comes by.
            async with aclosing(inner(request, context)) as responses:
                async for response in responses:
                    yield response
        except Exception as error:  # top of a call, as above
            await _abort(context, error)

    return guarded


def _bind_request_id(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID:
            structlog.contextvars.bind_contextvars(request_id=value)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    await context.abort_with_status(rpc_status.to_status(failure_of(error)))


def failure_of(error: Exception) -> status_pb2.Status:
    """What a caller is told of an error that ends its call. What is neither a domain error nor a peer's is logged."""
    if isinstance(error, DomainError):
        return to_status(error)
    if isinstance(error, grpc.aio.AioRpcError):  # a peer's answer, passed on with its reason
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # duck-typed: reads code, details, metadata
        if status is not None:
            return status
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return plain_status(grpc.StatusCode.UNAVAILABLE, f"a backing service did not answer: {error.details()}")
    error_id = uuid4().hex
    log.error("internal_error", error_id=error_id, exc_info=error)
    return plain_status(grpc.StatusCode.INTERNAL, f"An internal error occurred (id {error_id})")


def plain_status(code: grpc.StatusCode, message: str) -> status_pb2.Status:
    """A status without details."""
    return status_pb2.Status(code=code.value[0], message=message)


def to_status(error: DomainError) -> status_pb2.Status:
    """The google.rpc.Status of a domain error."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    detail = any_pb2.Any()
    detail.Pack(info)
    code: int = code_pb2.Code.Value(error.status.name)
    return status_pb2.Status(code=code, message=error.message, details=[detail])


def rpc_error(code: grpc.StatusCode, message: str) -> grpc.aio.AioRpcError:
    """The error of a call that failed on the way to its peer, as its caller would see it."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), message)


def told_error(status: status_pb2.Status) -> grpc.aio.AioRpcError:
    """The error of a call that its peer ended with this status, as its caller would see it."""
    details = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    code = STATUS_CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), details, status.message)


def reason_of(error: grpc.RpcError) -> str:
    """The ErrorInfo reason of a failed call; the status name (`UNAVAILABLE`, …) when it carries none."""
    info = error_info(error)
    if info is not None:
        return str(info.reason)
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else "UNKNOWN"


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo | None:
    """The ErrorInfo of a failed call, if its server attached one."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return None
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # duck-typed: reads code, details, metadata
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info
    return None
