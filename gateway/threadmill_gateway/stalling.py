"""The time that a client has to go on reading what is sent to it."""

import asyncio

import structlog

log = structlog.get_logger(__name__)


class Stall:
    """Whether a client has stopped to read. One that does not go on in time is dropped."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def begins(self, transport: asyncio.Transport) -> None:
        """What waits to be read has become too much."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._give_up, transport)

    def ends(self) -> None:
        """The client has read most of it, or has gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self, transport: asyncio.Transport) -> None:
        log.info("client_does_not_read", seconds=self._seconds)
        transport.abort()  # closing would wait until the client has read everything
