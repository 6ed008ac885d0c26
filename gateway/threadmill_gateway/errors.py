"""How failures become HTTP: the one table from gRPC reason or status to HTTP status, and the error bodies."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
import orjson
import structlog
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from threadmill_chassis.grpc_errors import reason_of

log = structlog.get_logger(__name__)

# Reason of an ErrorInfo, else name of the gRPC status → HTTP status and text; None: the service's own message.
TABLE: Mapping[str, tuple[int, str | None]] = {
    "THREAD_NOT_FOUND": (404, None),
    "THREAD_EXISTS": (409, None),
    "THREAD_BUSY": (409, None),
    "RUN_NOT_FOUND": (404, "Run not found"),
    "NOT_CANCELLABLE": (404, None),
    "ASSISTANT_NOT_FOUND": (404, "Not Found"),
    "ASSISTANT_EXISTS": (409, None),
    "VERSION_NOT_FOUND": (404, None),
    "INVALID_ASSISTANT": (422, None),
    "CRON_NOT_FOUND": (404, "Not Found"),
    "INVALID_SCHEDULE": (422, None),
    "INVALID_TIMEZONE": (422, None),
    "GRAPH_NOT_FOUND": (404, None),
    "GRAPH_FAILED": (422, None),
    "USER_ERROR": (400, None),
    "INVALID_NAMESPACE": (422, None),
    "EMPTY_NAMESPACE": (400, None),
    "RESERVED_NAMESPACE": (400, None),
    "UNSUPPORTED_OPERATOR": (400, None),
    "STATEMENT_TIMEOUT": (504, None),
    "EMBEDDING_FAILED": (502, None),
    "EMBEDDER_UNAVAILABLE": (503, None),
    "INDEX_MISMATCH": (503, None),
    "STATE_CONTENDED": (409, None),
    "FENCED": (409, None),
    "INVALID_ARGUMENT": (422, None),
    "NOT_FOUND": (404, None),
    "ALREADY_EXISTS": (409, None),
    "FAILED_PRECONDITION": (409, None),
    "ABORTED": (409, None),
    "PERMISSION_DENIED": (403, "Forbidden"),
    "UNIMPLEMENTED": (501, "Not Implemented"),
    "UNAVAILABLE": (503, "Service Unavailable"),
    "CANCELLED": (503, "Service Unavailable"),
    "RESOURCE_EXHAUSTED": (503, "Service Unavailable"),
    "DEADLINE_EXCEEDED": (504, "Gateway Timeout"),
}


class PlainRefusal(Exception):
    """A refusal whose body is bare text without a content type: the store's way with bad namespaces."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


# Shown in metrics and logs where the client went before its answer; nobody receives it.
CLIENT_GONE = 499
# What a client should wait before it asks again when a service is away.
RETRY_AFTER = {"retry-after": "5"}


def refuse(status: int, detail: str) -> HTTPException:
    """The exception that answers `{"detail": …}` with this status."""
    return HTTPException(status, detail)


@contextmanager
def answering(**reasons: tuple[int, str]) -> Iterator[None]:
    """Within the block, these gRPC reasons get this status and text in place of the table's."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        answer = reasons.get(reason_of(error))
        if answer is None:
            raise
        raise refuse(*answer) from error


def http_of(error: grpc.aio.AioRpcError) -> tuple[int, str]:
    """HTTP status and text of a failed call; 500 for what the table does not know."""
    status, text = TABLE.get(reason_of(error)) or TABLE.get(error.code().name) or (500, "Internal Server Error")
    return status, text if text is not None else error.details() or ""


def problem_of(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """The `{error, message}` document for a failure after the response has begun, worded as a run's error is."""
    status, text = http_of(error)
    log.warning("stream_broken", code=error.code().name, details=error.details())
    return {"error": "HTTPException", "message": f"{status}: {text}"}


# In place of pydantic's own texts, which name Python types and patterns. The only pattern is the one against NUL.
_WORDS = {
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "string_pattern_mismatch": "must not hold NUL characters",
}


def describe(error: ValidationError) -> str:
    """One line that names each wrong field. Errors that we worded ourselves stand alone."""
    lines = []
    for entry in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
        if entry["type"] == "threadmill":
            return entry["msg"]
        where = ".".join(str(part) for part in entry["loc"]) or "body"
        lines.append(f"{where}: {_WORDS.get(entry['type'], entry['msg'])}")
    return "; ".join(lines)


def detail_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The error body of the whole API."""
    body = orjson.dumps({"detail": detail})
    return Response(body, status, headers=dict(headers or {}), media_type="application/json")


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return detail_response(error.status_code, error.detail, error.headers)


async def _on_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    return detail_response(422, describe(error))


async def _on_plain(_: Request, error: Exception) -> Response:
    assert isinstance(error, PlainRefusal)
    return Response(error.text, error.status)


async def _on_grpc(_: Request, error: Exception) -> Response:
    assert isinstance(error, grpc.aio.AioRpcError)
    status, text = http_of(error)
    if status >= 500:
        log.warning("call_failed", code=error.code().name, details=error.details(), status=status)
    if status == 500:
        return PlainTextResponse("Internal Server Error", 500, headers={"connection": "close"})
    return detail_response(status, text, RETRY_AFTER if status == 503 else None)


async def _on_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


HANDLERS: Mapping[Any, Any] = {
    HTTPException: _on_http,
    ValidationError: _on_validation,
    PlainRefusal: _on_plain,
    ClientDisconnect: _on_gone,
    grpc.aio.AioRpcError: _on_grpc,
}
