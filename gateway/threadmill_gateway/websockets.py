"""A WebSocket as the gateway serves it. Loaded with the first one: the module that it builds on takes 2 MB."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from threadmill_gateway.stalling import Stall


class Socket(WebSocketsSansIOProtocol):
    """Dropped when what is sent is not read: uvicorn closes such a socket, which waits until all has been read."""

    def __init__(self, stall_seconds: float, **given: Any) -> None:
        super().__init__(**given)
        self._stall = Stall(stall_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client, or we, closed."""
        self._stall.ends()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not keep up. It has some time to go on reading."""
        super().pause_writing()
        self._stall.begins(self.transport)

    def resume_writing(self) -> None:
        """The client has read most of what it was sent."""
        self._stall.ends()
        super().resume_writing()

    def keepalive_timeout(self) -> None:
        """The client has not answered a ping."""
        super().keepalive_timeout()
        self.transport.abort()
