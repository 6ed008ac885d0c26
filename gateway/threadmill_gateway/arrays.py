"""JSON arrays of any size, sent to the client while a service still reads them.

A small one is an ordinary response. Of a large one only a part is here at any time; what fails after its head has left
cannot become a status any more, so the connection is cut: the client sees a broken response, not a short array.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

import grpc
import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from threadmill_gateway.encode import json_response
from threadmill_gateway.responses import Call, until_gone

log = structlog.get_logger(__name__)

Items = Sequence[bytes]
# The next ready JSON documents of a call; none at its end.
Next = Callable[[], Awaitable[Items]]

# Up to here an answer is gathered: its failures have a status, and its response a length.
SMALL_BYTES = 1024 * 1024
# A client that takes less than a piece in this time, 4 KiB a second, is given up.
PIECE_BYTES = 256 * 1024
PIECE_SECONDS = 64.0


async def array_response(call: Call, next_items: Next) -> Response:
    """The array of all items. Raises what `next_items` does before the array is known to be large."""
    try:
        gathered: list[bytes] = []
        while sum(map(len, gathered)) < SMALL_BYTES:
            items = await next_items()
            if not items:
                return json_response(b"[%b]" % b",".join(gathered))
            gathered += items
    except BaseException:
        call.cancel()
        raise
    return ArrayResponse(call, gathered, next_items)


class ArrayResponse(Response):
    """An array that begins with what was gathered. Ends the call when the client goes."""

    media_type = "application/json"

    def __init__(self, call: Call, gathered: Items, next_items: Next) -> None:
        super().__init__(None)
        del self.headers["content-length"]
        self._call = call
        self._gathered: Items = gathered
        self._next_items = next_items

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves until the array has ended, or its call has failed, or the client has gone."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            self._call.cancel()
            return await send({"type": "http.response.body", "body": b""})
        writer = asyncio.create_task(self._write(send))
        watcher = asyncio.create_task(until_gone(receive))
        try:
            await asyncio.wait({writer, watcher}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._call.cancel()
            for task in (writer, watcher):
                task.cancel()
            await asyncio.wait({writer, watcher})
        # Without the end of the body the server cuts the connection.
        if not writer.cancelled() and writer.result():
            await send({"type": "http.response.body", "body": b"]"})
        return None

    async def _write(self, send: Send) -> bool:
        """Writes all but the end; whether that is to follow."""
        try:
            async with aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    async with asyncio.timeout(PIECE_SECONDS):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
        except (grpc.aio.AioRpcError, HTTPException, OSError) as error:  # TimeoutError is an OSError
            log.warning("array_cut_off", error=repr(error))
            return False
        return True

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        before = b"["
        items, self._gathered = self._gathered, ()
        while items:
            body = memoryview(before + b",".join(items))
            for start in range(0, len(body), PIECE_BYTES):
                yield bytes(body[start : start + PIECE_BYTES])
            before, items = b",", await self._next_items()
