"""Items from a user loop to the control loop: in order, no faster than they are read, and no longer."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from threadmill_runs.executor.handover import Put, ReaderGone, handed_over


class UserThread:
    """A loop in another thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    async def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def user() -> Iterator[UserThread]:
    thread = UserThread()
    yield thread
    thread.stop()


async def test_items_come_in_order(user: UserThread) -> None:
    async def write(put: Put[int]) -> None:
        for n in range(100):
            await put(n)

    assert [n async for n in handed_over(write, user.run)] == list(range(100))


async def test_what_the_writer_raises_comes_after_its_items(user: UserThread) -> None:
    async def write(put: Put[int]) -> None:
        await put(1)
        raise LookupError("no more")

    async with aclosing(handed_over(write, user.run)) as items:
        assert await anext(items) == 1
        with pytest.raises(LookupError, match="no more"):
            await anext(items)


async def test_the_writer_is_one_item_ahead_and_ends_with_its_reader(user: UserThread) -> None:
    begun: list[int] = []
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    control = asyncio.get_running_loop()

    async def write(put: Put[int]) -> None:
        try:
            for n in range(100):
                begun.append(n)
                await put(n)
        except ReaderGone as gone:
            control.call_soon_threadsafe(ended.set_result, gone)
            raise

    async with aclosing(handed_over(write, user.run)) as items:
        assert [await anext(items), await anext(items)] == [0, 1]
    async with asyncio.timeout(10):
        assert isinstance(await ended, ReaderGone)
    assert len(begun) <= 4


async def test_a_reader_that_is_cancelled_while_it_waits(user: UserThread) -> None:
    release, writing = asyncio.Event(), asyncio.Event()
    control = asyncio.get_running_loop()

    async def write(put: Put[int]) -> None:
        control.call_soon_threadsafe(writing.set)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(release.wait(), control))
        await put(1)

    async def read() -> None:
        async for _ in handed_over(write, user.run):
            pass

    reader = asyncio.create_task(read())
    await writing.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    others = [task for task in asyncio.all_tasks() if task.get_name() == "handover"]
    assert len(others) == 1
    release.set()
    with pytest.raises(ReaderGone):
        await others[0]
