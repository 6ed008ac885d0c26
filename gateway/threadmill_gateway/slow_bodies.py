"""Bodies that a client sends too slowly: each holds a connection and memory for as long as we let it."""

import asyncio
from time import monotonic

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

# Below this rate an upload takes longer than anybody waits for it.
BYTES_PER_SECOND = 4096


def timed(receive: Receive, seconds: float) -> Receive:
    """Receives a body whose pauses last `seconds` at most and that comes at 4 KiB a second on average; else 408."""
    started, size = monotonic(), 0

    async def timed_receive() -> Message:
        nonlocal size
        left = started + seconds + size / BYTES_PER_SECOND - monotonic()
        try:
            async with asyncio.timeout(min(max(left, 0), seconds)):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, "Request Timeout", headers={"connection": "close"}) from error
        size += len(message.get("body", b""))
        return message

    return timed_receive
