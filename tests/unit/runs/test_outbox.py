"""The outbox between a user loop and the control loop: order, bounded batches, back-pressure."""

import asyncio
import threading

import pytest
from threadmill_runs.executor.running import outbox as module
from threadmill_runs.executor.running.outbox import Outbox


@pytest.fixture
async def outbox():
    return Outbox(asyncio.get_running_loop())


async def test_events_come_in_order_and_numbered(outbox):
    for name in "abc":
        outbox.put(name, b"1")
    await outbox.arrival()
    assert [(each.seq, each.name) for each in outbox.take()] == [(1, "a"), (2, "b"), (3, "c")]
    assert outbox.take() == []
    outbox.put("d", b"1")
    await outbox.arrival()
    assert [each.seq for each in outbox.take()] == [4]


async def test_batches_are_bounded(outbox, monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH_EVENTS", 2)
    for _ in range(5):
        outbox.put("a", b"1")
    sizes = []
    while sizes != [2, 2, 1]:
        await asyncio.wait_for(outbox.arrival(), 5)
        sizes.append(len(outbox.take()))


async def test_batches_are_bounded_in_bytes_but_never_empty(outbox, monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH_BYTES", 10)
    for size in (4, 4, 40, 40):
        outbox.put("a", b"x" * size)
    assert [len(outbox.take()) for _ in range(3)] == [3, 1, 0]


@pytest.mark.parametrize(("limit", "value"), [("MAX_PENDING_EVENTS", 2), ("MAX_PENDING_BYTES", 20)])
async def test_the_graph_waits_while_too_much_is_unacknowledged(outbox, monkeypatch, limit, value):
    monkeypatch.setattr(module, limit, value)
    for _ in range(2):
        outbox.put("a", b"0123456789")
    await asyncio.wait_for(outbox.room(), 5)
    outbox.put("b", b"0123456789")
    blocked = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    batch = outbox.take()
    assert len(batch) == 3, "the event itself goes out; it is the next that has to wait"
    await asyncio.sleep(0)
    assert not blocked.done()
    outbox.acknowledge(batch)
    await asyncio.wait_for(blocked, 5)


@pytest.mark.parametrize("before", [True, False])
async def test_nothing_waits_once_it_is_closed(outbox, monkeypatch, before):
    monkeypatch.setattr(module, "MAX_PENDING_EVENTS", 0)
    if before:
        outbox.close()
    outbox.put("a", b"1")
    putting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0)
    outbox.close()
    await asyncio.wait_for(putting, 5)


async def test_counts_stay_right_across_threads(outbox, monkeypatch):
    """Two threads count; an update that got lost would let the graph run ahead, or stop it for good."""
    monkeypatch.setattr(module, "MAX_PENDING_EVENTS", 50)
    events = 20_000
    failures = []

    def produce():
        async def put_all():
            for number in range(events):
                outbox.put("a", b"x" * (number % 7))
                await outbox.room()

        try:
            asyncio.run(asyncio.wait_for(put_all(), 60))
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=produce)
    thread.start()
    seen = []
    async with asyncio.timeout(60):
        while len(seen) < events:
            await outbox.arrival()
            batch = outbox.take()
            assert len(batch) <= 52
            seen += [each.seq for each in batch]
            outbox.acknowledge(batch)
    await asyncio.to_thread(thread.join)
    assert not failures
    assert seen == list(range(1, events + 1))
    assert outbox.pending() == (0, 0)
