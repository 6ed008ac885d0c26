"""From a coroutine on a user loop to a reader on the control loop, item by item, no faster than they are read."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Put = Callable[[T], Awaitable[None]]
_END = object()


class ReaderGone(Exception):
    """Raised in the writer: nobody reads what it makes any more."""


async def handed_over(
    write: Callable[[Put[T]], Coroutine[Any, Any, None]],
    run: Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]],
) -> AsyncGenerator[T, None]:
    """What `write` puts, while `run` executes it on a user loop. On the control loop; raises what `run` does.

    While one item is being read the writer makes the next, and waits with it. When the reader stops (`aclosing`), the
    writer's next `put` raises ReaderGone.
    """
    control = asyncio.get_running_loop()
    items: asyncio.Queue[Any] = asyncio.Queue()
    room = asyncio.Semaphore(1)
    gone = False

    async def accept(item: T) -> None:
        await room.acquire()
        if gone:
            raise ReaderGone
        items.put_nowait(item)

    async def put(item: T) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(accept(item), control))

    writer = asyncio.create_task(run(write(put)), name="handover")
    writer.add_done_callback(_heard)
    writer.add_done_callback(lambda _: items.put_nowait(_END))
    try:
        while (item := await items.get()) is not _END:
            yield item
            room.release()
        await writer
    finally:
        gone = True
        room.release()


def _heard(writer: "asyncio.Task[None]") -> None:
    """Looks at the outcome: of a writer whose reader has gone nobody else does."""
    if not writer.cancelled():
        writer.exception()
