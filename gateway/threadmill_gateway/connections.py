"""One connection of a client, with limits on what it may hold and for how long.

Uvicorn bounds none of: the bytes and the duration of a request's head, the time that a client takes to read what is
sent to it, and (in our words) the number of connections. Its own buffers are bounded: 64 KiB a direction, beyond which
reading from the client, or from the service behind a stream, pauses.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from threadmill_gateway.errors import RETRY_AFTER, detail_response
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.stalling import Stall

log = structlog.get_logger(__name__)

CLOSE = {"connection": "close"}
TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
# Served beyond the limit of connections too: a process that is busy must not be taken for a dead one.
PROBES = frozenset({b"/ok", b"/metrics"})
# The parser takes no longer ones, whatever a head may hold.
URL_MAX_BYTES = 65_535
METHODS = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE"})
# Stands in for every other method, of which the parser refuses most: no route has it either, so that the answer is the
# right 404 or 405, and clients cannot fill the metrics with names of their own.
NO_METHOD = b"TRACE"
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?= /)")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process allows."""

    connections: int
    head_bytes: int
    head_seconds: float
    stall_seconds: float


def limits_of(settings: GatewaySettings) -> Limits:
    """The limits of the process."""
    return Limits(
        connections=settings.http_max_connections,
        head_bytes=settings.http_max_header_bytes,
        head_seconds=settings.http_header_timeout_seconds,
        stall_seconds=settings.http_stall_timeout_seconds,
    )


class Connection(HttpToolsProtocol):
    """Closed when a head does not arrive in time, when nothing is asked, and when what is sent is not read."""

    def __init__(self, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._head_bytes = 0
        self._between_requests = True
        self._head_timer: asyncio.TimerHandle | None = None
        self._refusal: tuple[HTTPStatus, str] | None = None
        self._upgraded = False
        self._stall = Stall(limits.stall_seconds)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A new client. One that asks for nothing is an idle one from the start."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client, or we, closed."""
        _stop(self._head_timer)
        self._stall.ends()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a client. Whatever comes outside of a request begins one, and has to become its head in time."""
        asks = self.cycle is None or self.cycle.response_complete
        if asks:
            self._head_bytes += len(data)
        super().data_received(_with_known_method(data) if self._between_requests else data)
        if self._upgraded:
            return
        if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            return
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(TOO_LARGE, TOO_LARGE.phrase)
        elif self._head_timer is None:
            late = HTTPStatus.REQUEST_TIMEOUT
            self._head_timer = self.loop.call_later(self._limits.head_seconds, self._refuse, late, late.phrase)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._between_requests = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        super().on_message_complete()
        self._between_requests = True

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused as everything else is."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def on_headers_complete(self) -> None:
        """The head is whole: the request is served, or refused if it is too large or there are too many."""
        _stop(self._head_timer)
        self._head_timer = None
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self._head_bytes = 0
        if size > self._limits.head_bytes or len(self.url) > URL_MAX_BYTES:
            self.url = b"/"  # uvicorn would fail to parse a long one
            self._refusal = (TOO_LARGE, TOO_LARGE.phrase)
        elif len(self.connections) > self._limits.connections and self.url.partition(b"?")[0] not in PROBES:
            log.warning("too_many_connections", connections=len(self.connections))
            self._refusal = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE.phrase)
        if self._refusal is not None:
            self.app = _answering(*self._refusal)
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """The head asks for a WebSocket, which has a protocol and time-outs of its own (`websockets`)."""
        self._unset_keepalive_if_required()
        if self._refusal is not None:
            self._refuse(*self._refusal)
        else:
            self._upgraded = True
            super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """The client does not keep up. It has some time to go on reading."""
        super().pause_writing()
        self._stall.begins(self.transport)

    def resume_writing(self) -> None:
        """The client has read most of what it was sent."""
        self._stall.ends()
        super().resume_writing()

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answers what never became a request, and closes."""
        if self.transport.is_closing():
            return
        response = _refusing(status, detail)
        head = b"".join(b"%b: %b\r\n" % header for header in response.raw_headers)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, status.phrase.encode(), head, bytes(response.body))
        )
        self.transport.close()


def _with_known_method(data: bytes) -> bytes:
    """The beginning of a request, its method replaced if it is one that no route can have."""
    method = _METHOD.match(data)
    if method is None or method.group() in METHODS:
        return data
    return NO_METHOD + data[method.end() :]


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _refusing(status: HTTPStatus, detail: str) -> Response:
    away = status is HTTPStatus.SERVICE_UNAVAILABLE
    return detail_response(status, detail, CLOSE | RETRY_AFTER if away else CLOSE)


def _answering(status: HTTPStatus, detail: str) -> ASGIApp:
    response: ASGIApp = _refusing(status, detail)
    return response


def connections(limits: Limits) -> Callable[..., Connection]:
    """What uvicorn makes a connection with."""

    def make(**given: Any) -> Connection:
        return Connection(limits, **given)

    return make
