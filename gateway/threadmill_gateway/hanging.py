"""Tells a service that hangs from one that takes its time.

A stopped or blocked process keeps its connections, so its calls would last until their deadlines. A call that takes
long is therefore followed by a question to the health service of the same process, which an able one answers at once.
"""

import asyncio
from types import TracebackType
from typing import Any, Self

import grpc
import structlog
from grpc_health.v1 import health_pb2
from starlette.exceptions import HTTPException

from threadmill_gateway.errors import RETRY_AFTER

log = structlog.get_logger(__name__)

# A call is thought about after the first, and given up after both.
SUSPECT_SECONDS = 5.0
PROBE_SECONDS = 5.0


class Watch:
    """Around waiting for `call`: cancels it, and raises 503 in place of that, when its service does not live.

    `health` is the Check method of the service's own health service.
    """

    def __init__(self, call: Any, health: Any) -> None:
        self._call = call
        self._health = health
        self._hangs = False
        self._probe: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(SUSPECT_SECONDS, self._suspect)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._probe is not None:
            self._probe.cancel()
        if self._hangs and kind is asyncio.CancelledError:
            raise HTTPException(503, "Service Unavailable", headers=RETRY_AFTER) from error

    def _suspect(self) -> None:
        self._probe = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            await self._health(health_pb2.HealthCheckRequest(), timeout=PROBE_SECONDS)
        except grpc.aio.AioRpcError as error:
            log.warning("service_hangs", code=error.code().name)
            self._hangs = True
            self._call.cancel()
