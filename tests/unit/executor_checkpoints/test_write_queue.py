"""WriteQueue: what arrives while a call is in flight goes together, in order; errors and closing reach the callers.

The stub here only records and waits: when calls begin and end is what these tests are about.
"""

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2
from threadmill_runs.executor.checkpoints import write_queue as module
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


# Enqueued writes: nobody waits for them


def run_end() -> threads_pb2.RunEnd:
    return threads_pb2.RunEnd(stamp_metadata_json=b'{"graph_id":"g"}')


async def turns(count: int = 5) -> None:
    """Lets everything that is ready happen; less than the time that writes linger passes meanwhile."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_enqueued_writes_linger_for_company(queue: WriteQueue, stub: GatedStub, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.05)
    for name in "abc":
        assert queue.enqueue("t", op(name)) is None
        await turns()
    assert stub.names() == []
    await stub.began.acquire()
    assert stub.names() == [["a", "b", "c"]]


async def test_what_comes_during_a_call_lingers_after_it(queue: WriteQueue, stub: GatedStub) -> None:
    queue.enqueue("t", op("a"))
    await stub.began.acquire()
    queue.enqueue("t", op("b"))
    stub.gate.release()
    await turns()
    assert stub.names() == [["a"]]
    queue.enqueue("t", op("c"))
    await stub.began.acquire()
    assert stub.names() == [["a"], ["b", "c"]]


@pytest.mark.parametrize("urgent", ["submit", "settled", "much"])
async def test_nobody_waits_for_what_lingers(queue: WriteQueue, stub: GatedStub, monkeypatch: Any, urgent: str) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 60)
    stub.gate.release()
    queue.enqueue("t", op("a"))
    await turns()
    if urgent == "submit":
        await done(queue.submit("t", op("b")))
    elif urgent == "settled":
        await asyncio.wait_for(queue.settled(), 5)
    else:
        monkeypatch.setattr(module, "HURRY_BYTES", 100)
        queue.enqueue("t", op("b"))
        await asyncio.wait_for(stub.began.acquire(), 5)
    assert [name for call in stub.names() for name in call] == (["a"] if urgent == "settled" else ["a", "b"])


async def test_without_room_the_writer_waits_until_there_is(
    queue: WriteQueue, stub: GatedStub, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "ROOM_BYTES", 1500)
    assert queue.enqueue("t", op("a")) is None
    assert queue.enqueue("t", op("b")) is None
    room = queue.enqueue("t", op("c"))
    assert room is not None
    await turns()
    assert not room.done()
    stub.gate.release()
    await done(room)
    assert queue.enqueue("t", op("d")) is None


async def test_closing_lets_go_whoever_waits_for_room(queue: WriteQueue, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "ROOM_BYTES", 0)
    room = queue.enqueue("t", op("a"))
    assert room is not None
    queue.close()
    await done(room)
    await asyncio.wait_for(queue.settled(), 5)
    with pytest.raises(SaverClosed):
        queue.check()


async def test_nothing_is_written_after_an_enqueued_write_that_failed(queue: WriteQueue, stub: GatedStub) -> None:
    stub.error = ConnectionError("gone")
    queue.enqueue("t", op("a"))
    await stub.began.acquire()
    queue.enqueue("t", op("b"))
    stub.gate.release()
    await asyncio.wait_for(queue.settled(), 5)
    assert queue.failed
    for attempt in (queue.check, lambda: queue.enqueue("t", op("c")), lambda: queue.submit("t", op("d"))):
        with pytest.raises(ConnectionError):
            attempt()
    with pytest.raises(ConnectionError):
        await queue.end("t", run_end())
    assert stub.names() == [["a"]]


# The end of the run


async def test_the_end_travels_with_the_last_writes(queue: WriteQueue, stub: GatedStub, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 60)
    stub.gate.release()
    for name in "ab":
        queue.enqueue("t", op(name))
    assert await queue.end("t", run_end())
    assert stub.names() == [["a", "b"]]
    assert stub.calls[0].end == run_end()


async def test_the_end_follows_a_call_in_flight_and_alone_if_need_be(queue: WriteQueue, stub: GatedStub) -> None:
    queue.enqueue("t", op("a"))
    await stub.began.acquire()
    ending = asyncio.ensure_future(queue.end("t", run_end()))
    await turns()
    assert not stub.calls[0].HasField("end")
    assert len(stub.calls) == 1
    stub.gate.release()
    stub.gate.release()
    assert await ending
    assert (stub.names(), stub.calls[1].thread_id) == ([["a"], []], "t")
    assert stub.calls[1].end == run_end()


async def test_the_end_goes_to_its_own_thread(queue: WriteQueue, stub: GatedStub) -> None:
    queue.enqueue("t", op("a"))
    queue.enqueue("u", op("b"))
    for _ in range(3):
        stub.gate.release()
    assert await queue.end("t", run_end())
    assert [(call.thread_id, call.HasField("end")) for call in stub.calls] == [("t", False), ("u", False), ("t", True)]


async def test_an_end_that_is_not_taken_does_not_cost_the_writes(queue: WriteQueue, stub: GatedStub) -> None:
    stub.error = ValueError("too large")
    queue.enqueue("t", op("a"))
    ending = asyncio.ensure_future(queue.end("t", run_end()))
    await stub.began.acquire()
    stub.gate.release()
    await stub.began.acquire()
    stub.error = None
    stub.gate.release()
    assert await ending is False
    await queue.settled()
    queue.check()
    assert stub.names() == [["a"], ["a"]]
    assert [call.HasField("end") for call in stub.calls] == [True, False]


async def test_closing_ends_the_wait_for_an_end_that_is_not_under_way(queue: WriteQueue, stub: GatedStub) -> None:
    sent = queue.submit("t", op("a"))
    await stub.began.acquire()
    ending = asyncio.ensure_future(queue.end("t", run_end()))
    await turns()
    queue.close()
    with pytest.raises(SaverClosed):
        await ending
    stub.gate.release()
    await done(sent)
    assert len(stub.calls) == 1


async def test_what_comes_while_events_are_awaited_goes_along_after_its_own_events(stub: Any) -> None:
    """A step's checkpoint catches up with its tasks' writes: a crash between the two would show the step twice."""
    steps: list[str] = []
    delivered = asyncio.Semaphore(0)

    async def before_write() -> None:
        steps.append("events")
        await delivered.acquire()

    queue = WriteQueue(stub, asyncio.get_running_loop(), fence=None, on_fenced=None, before_write=before_write)
    futures = [queue.submit("t", op("a"))]
    await turns()
    futures.append(queue.submit("t", op("b")))
    delivered.release()
    await turns()
    assert (steps, stub.calls) == (["events", "events"], [])
    delivered.release()
    stub.gate.release()
    await done(*futures)
    assert stub.names() == [["a", "b"]]


@pytest.mark.parametrize("delivered_before", [0, 1])
async def test_a_checkpoint_whose_events_may_never_arrive_is_not_written(stub: Any, delivered_before: int) -> None:
    """The run was taken over meanwhile: written, the step would be skipped by the next attempt, and seen by nobody."""
    delivered = asyncio.Semaphore(delivered_before)

    async def before_write() -> None:
        await delivered.acquire()

    queue = WriteQueue(stub, asyncio.get_running_loop(), fence=None, on_fenced=None, before_write=before_write)
    future = queue.submit("t", op("a"))
    await turns()
    queue.close()
    stub.gate.release()
    delivered.release()
    with pytest.raises(SaverClosed):
        await done(future)
    await queue.settled()
    assert stub.calls == []
