"""Calls to the threads service that outlast its restarts, and those of its database."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random

# A call also waits for a threads service that restarts; every write is idempotent, so the channel may repeat it.
CALL_TIMEOUT_SECONDS = 60.0
# So long a run waits for the service or its database to come back, as long as it keeps its lease.
OUTAGE_SECONDS = 300.0
T = TypeVar("T")


async def through_outages(call: Callable[[], Awaitable[T]]) -> T:
    """Makes a call, again and again while the service or its database is down; the run waits, and does not fail."""
    try:
        return await call()
    except grpc.aio.AioRpcError as error:
        if not _is_outage(error):
            raise
    retrying = AsyncRetrying(
        retry=retry_if_exception(_is_outage),
        wait=wait_exponential(0.2, max=2) + wait_random(0, 0.2),
        stop=stop_after_delay(OUTAGE_SECONDS),
        reraise=True,
    )

    async def attempt() -> T:
        return await call()

    return await retrying(attempt)


def _is_outage(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.UNAVAILABLE
