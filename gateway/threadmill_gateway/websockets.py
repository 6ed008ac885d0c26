"""A WebSocket as the gateway serves it. Loaded with the first one: the module that it builds on takes 2 MB."""

import asyncio
from typing import Any

import structlog
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = structlog.get_logger(__name__)


class Socket(WebSocketsSansIOProtocol):
    """Dropped when what is sent is not read: uvicorn closes such a socket, which waits until all has been read."""

    def __init__(self, stall_seconds: float, **given: Any) -> None:
        super().__init__(**given)
        self._stall_seconds = stall_seconds
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client, or we, closed."""
        self._stop_stalling()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not keep up. It has some time to go on reading."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self._stall_seconds, self._give_up)

    def resume_writing(self) -> None:
        """The client has read most of what it was sent."""
        self._stop_stalling()
        super().resume_writing()

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping."""
        super().keepalive_timeout()
        self.transport.abort()

    def _stop_stalling(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _give_up(self) -> None:
        log.info("client_does_not_read", seconds=self._stall_seconds)
        self.transport.abort()
