"""WriteQueue: what arrives while a call is in flight goes together, in order; errors and closing reach the callers.

The stub here only records and waits: when calls begin and end is what these tests are about.
"""

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from threadmill_protos.threads.v1 import checkpoints_pb2
from threadmill_runs.executor.checkpoints.errors import SaverClosed
from threadmill_runs.executor.checkpoints.write_queue import WriteQueue

Op = checkpoints_pb2.WriteCheckpointsRequest.Op


class GatedStub:
    """Holds every call until it is let through."""

    def __init__(self) -> None:
        self.calls: list[checkpoints_pb2.WriteCheckpointsRequest] = []
        self.began = asyncio.Semaphore(0)
        self.gate = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def WriteCheckpoints(self, request: checkpoints_pb2.WriteCheckpointsRequest, **_: Any) -> None:  # noqa: N802
        self.calls.append(request)
        self.began.release()
        await self.gate.acquire()
        if self.error is not None:
            raise self.error

    def names(self) -> list[list[str]]:
        return [[op.writes.checkpoint_id for op in call.ops] for call in self.calls]


def op(name: str) -> Op:
    return Op(writes=checkpoints_pb2.TaskWrites(checkpoint_id=name))


@pytest.fixture
async def stub() -> GatedStub:
    return GatedStub()


@pytest.fixture
async def queue(stub: Any) -> WriteQueue:
    return WriteQueue(stub, asyncio.get_running_loop(), fence=None, on_fenced=None)


async def done(*futures: Future[None]) -> None:
    await asyncio.gather(*map(asyncio.wrap_future, futures))


async def test_writes_of_one_tick_and_of_a_call_in_flight_go_together(queue: WriteQueue, stub: GatedStub) -> None:
    first = [queue.submit("t", op(name)) for name in "ab"]
    await stub.began.acquire()
    later = [queue.submit("t", op(name)) for name in "cde"]
    stub.gate.release()
    await done(*first)
    assert not any(future.done() for future in later)
    stub.gate.release()
    await done(*later)
    assert stub.names() == [["a", "b"], ["c", "d", "e"]]


async def test_threads_are_never_mixed_in_one_call(queue: WriteQueue, stub: GatedStub) -> None:
    futures = [queue.submit(thread, op(name)) for thread, name in (("t", "a"), ("u", "b"), ("u", "c"), ("t", "d"))]
    for _ in range(3):
        stub.gate.release()
    await done(*futures)
    assert stub.names() == [["a"], ["b", "c"], ["d"]]
    assert [call.thread_id for call in stub.calls] == ["t", "u", "t"]


async def test_an_error_reaches_every_caller_of_its_call_and_no_other(queue: WriteQueue, stub: GatedStub) -> None:
    failing = [queue.submit("t", op(name)) for name in "ab"]
    await stub.began.acquire()
    later = queue.submit("t", op("c"))
    stub.error = ConnectionError("gone")
    stub.gate.release()
    for future in failing:
        with pytest.raises(ConnectionError):
            await asyncio.wrap_future(future)
    stub.error = None
    stub.gate.release()
    await done(later)


async def test_closing_fails_what_waits_and_lets_the_call_in_flight_end(queue: WriteQueue, stub: GatedStub) -> None:
    sent = queue.submit("t", op("a"))
    await stub.began.acquire()
    waiting = queue.submit("t", op("b"))
    queue.close()
    with pytest.raises(SaverClosed):
        await asyncio.wrap_future(waiting)
    with pytest.raises(SaverClosed):
        queue.submit("t", op("c"))
    stub.gate.release()
    await done(sent)
    assert stub.names() == [["a"]]


async def test_a_cancelled_callers_write_is_sent_all_the_same(queue: WriteQueue, stub: GatedStub) -> None:
    first = queue.submit("t", op("a"))
    await stub.began.acquire()
    abandoned = queue.submit("t", op("b"))
    abandoned.cancel()
    last = queue.submit("t", op("c"))
    stub.gate.release()
    stub.gate.release()
    await done(first, last)
    assert stub.names() == [["a"], ["b", "c"]]


async def test_settled_waits_for_what_was_queued_before_and_not_for_more(queue: WriteQueue, stub: GatedStub) -> None:
    await queue.settled()
    first = queue.submit("t", op("a"))
    await stub.began.acquire()
    settled = asyncio.ensure_future(queue.settled())
    await asyncio.sleep(0)
    queue.submit("t", op("b"))
    assert not settled.done()
    stub.gate.release()
    await settled
    assert first.done()
    stub.gate.release()
    await queue.settled()


async def test_many_threads_submit_at_once(queue: WriteQueue, stub: GatedStub) -> None:
    futures: list[Future[None]] = []
    barrier = threading.Barrier(4)

    def submit(writer: int) -> None:
        barrier.wait()
        futures.extend(queue.submit("t", op(f"{writer}:{number:03d}")) for number in range(50))

    for _ in range(200):
        stub.gate.release()
    await asyncio.gather(*(asyncio.to_thread(submit, writer) for writer in range(4)))
    await done(*futures)
    sent = [name for call in stub.names() for name in call]
    assert len(sent) == 200
    for writer in range(4):
        own = [name for name in sent if name.startswith(f"{writer}:")]
        assert own == sorted(own)
