"""Uvicorn as the gateway runs it: on a socket of our own, without signal handlers, ending streams at shutdown."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from threadmill_chassis.grpc_server import AddressInUse

from threadmill_gateway.connections import connections, limits_of
from threadmill_gateway.settings import GatewaySettings

BACKLOG = 2048


class Server(uvicorn.Server):
    """Sets `closing` before it waits for open responses: streams would otherwise use up the whole drain time."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends streams, drains, closes."""
        self._closing.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's (`lifecycle`), which sets `should_exit`."""
        yield


class _Unfounded(logging.Filter):
    """Uvicorn takes for forgotten what is meant: streams that a shutdown cuts, WebSockets refused with an answer."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to keep the record."""
        return not str(record.msg).startswith("ASGI callable returned without completing")


def _socket(**given: Any) -> asyncio.Protocol:
    """A WebSocket's protocol, of a module that takes 2 MB and is loaded with the first one."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol  # noqa: PLC0415 - as said

    return WebSocketsSansIOProtocol(**given)


def make_server(app: ASGIApp, settings: GatewaySettings, closing: asyncio.Event) -> Server:
    """A server that has yet to be given its socket."""
    server_log = logging.getLogger("uvicorn.error")
    server_log.setLevel(logging.WARNING)  # it tells of each WebSocket twice, and so do we
    server_log.addFilter(_Unfounded())
    config = uvicorn.Config(
        app,
        http=connections(limits_of(settings)),  # type: ignore[arg-type]  # only ever called
        loop="none",  # the process has one: `lifecycle`
        ws=_socket,  # type: ignore[arg-type]  # only ever called
        ws_max_size=settings.http_max_request_body_bytes,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.http_keep_alive_seconds,
        timeout_graceful_shutdown=settings.http_drain_seconds,
    )
    return Server(config, closing)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises AddressInUse with one clear sentence."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # at once: only then does a second process on this port fail
    except OSError as error:
        listener.close()
        raise AddressInUse(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener
