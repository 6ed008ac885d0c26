"""The outermost middleware: request id, access log, metrics, and the answer to what nothing else caught."""

import re
from time import perf_counter

import structlog
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid4

from threadmill_gateway.clients import REQUEST_ID
from threadmill_gateway.errors import CLIENT_GONE
from threadmill_gateway.header_rule import HeaderRule
from threadmill_gateway.metrics import HttpMetrics

log = structlog.get_logger(__name__)

# gRPC metadata holds printable ASCII only; any other id is replaced.
_REQUEST_ID = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?")
# Probes would drown the log.
_QUIET = frozenset({"/ok", "/metrics"})


class Telemetry:
    """Pure ASGI: nothing is buffered, so streams stay streams. `logged` picks request headers for the access log."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, logged: HeaderRule | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = perf_counter()
        request_id = _request_id(scope)
        REQUEST_ID.set(request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status, ended = 0, False
        self._metrics.in_progress.inc()

        async def observed(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                ended = True
                self._observe(scope, status, perf_counter() - started)

        try:
            await self._app(scope, receive, observed)
        except Exception:  # top of a request: logged in full, masked for the client
            log.exception("unhandled_error", method=scope["method"], path=scope["path"])
            if status:
                raise  # the server cuts a response that had begun
            response = PlainTextResponse("Internal Server Error", 500, headers={"connection": "close"})
            await response(scope, receive, observed)
        finally:
            self._metrics.in_progress.dec()
            if not ended:  # the client went first
                self._observe(scope, CLIENT_GONE, perf_counter() - started)
        return None

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("threadmill.route", "unmatched")
        self._metrics.observe(scope["method"], route, status, seconds)
        if route not in _QUIET:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round(seconds * 1000, 1),
                **({"headers": self._logged.select(Headers(scope=scope))} if self._logged else {}),
            )


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "").strip()
    return given if _REQUEST_ID.fullmatch(given) else str(uuid4())
