"""The event log itself: what append.lua accepts, in which order ids come out, and what is forgotten when."""

import asyncio
from dataclasses import replace

import pytest
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.api.wiring import open_redis
from threadmill_runs.events.log import (
    END_EVENT,
    START,
    Appended,
    Bounds,
    EventId,
    EventLog,
    LogKeys,
    event,
)

KEEP_SECONDS = 60
OPEN_SECONDS = 9000
BOUNDS = Bounds(
    max_batches=1000, max_bytes=10**9, keep_seconds=KEEP_SECONDS, open_seconds=OPEN_SECONDS, timeout_seconds=5.0
)


@pytest.fixture
def log(redis):
    return EventLog(redis, BOUNDS)


@pytest.fixture
def thread_id():
    return new_id()


def batch(*names):
    return [event("run", name, b"{}") for name in names]


def write(log, thread_id, token, events, first_seq):
    """Of an attempt that is known to own its run."""
    return log.append(thread_id, token, events, first_seq, opens=True)


async def stored(log, thread_id):
    events = (await log.read(thread_id, START, 100)).events
    return [(each.name, each.id) for each in events]


async def names(log, thread_id):
    return [name for name, _ in await stored(log, thread_id)]


async def assert_increasing(log, thread_id):
    ids = [EventId.parse(each) for _, each in await stored(log, thread_id)]
    assert ids == sorted(set(ids))


async def test_repeated_batches_enter_once(log, thread_id):
    for _ in range(3):
        await write(log, thread_id, 5, batch("a", "b"), 1)
    assert await write(log, thread_id, 5, batch("c"), 3) is Appended.WRITTEN
    assert await write(log, thread_id, 5, batch("a", "b"), 1) is Appended.DUPLICATE
    assert await write(log, thread_id, 5, batch("c"), 3) is Appended.DUPLICATE
    assert await names(log, thread_id) == ["a", "b", "c"]
    await assert_increasing(log, thread_id)


async def test_older_tokens_are_fenced(log, thread_id):
    await write(log, thread_id, 5, batch("old"), 1)
    await write(log, thread_id, 7, batch("new"), 1)
    assert await write(log, thread_id, 5, batch("late"), 2) is Appended.FENCED
    assert await write(log, thread_id, 6, batch("never started"), 1) is Appended.FENCED
    assert await names(log, thread_id) == ["old", "new"]
    await assert_increasing(log, thread_id)


async def test_a_closed_attempt_writes_no_more_but_may_repeat(log, thread_id):
    await write(log, thread_id, 5, batch("a"), 1)
    assert await log.close(thread_id, 5, batch(END_EVENT)) is Appended.WRITTEN
    assert await write(log, thread_id, 5, batch("a"), 1) is Appended.DUPLICATE
    assert await write(log, thread_id, 5, batch("late"), 3) is Appended.FENCED
    assert await names(log, thread_id) == ["a", END_EVENT]


async def test_closing_needs_no_events_before(log, thread_id):
    await log.close(thread_id, 5, batch(END_EVENT))
    assert await names(log, thread_id) == [END_EVENT]


async def test_a_run_without_a_token_ends_between_the_events_of_another(log, thread_id):
    await write(log, thread_id, 5, batch("a"), 1)
    await log.close(thread_id, 0, [event("other", END_EVENT, b"{}")])
    assert await write(log, thread_id, 5, batch("b"), 2) is Appended.WRITTEN
    assert await names(log, thread_id) == ["a", END_EVENT, "b"]
    await assert_increasing(log, thread_id)


async def test_ids_increase_when_the_clock_of_redis_goes_back(log, redis, thread_id):
    await write(log, thread_id, 1, batch("a"), 1)
    ahead = 9_000_000_000_000  # as if the events before had been written by a server whose clock was far ahead
    keys = LogKeys(thread_id)
    entries = await redis.xrange(keys.stream)
    await redis.xadd(keys.stream, {"m": b"%d 1 " % ahead + entries[0][1][b"m"].split(b" ", 3)[3]}, id=f"{ahead}-1")
    await write(log, thread_id, 2, batch("b", "c"), 1)
    await log.publish(thread_id, batch("state_update"))
    await write(log, thread_id, 2, batch("d"), 3)
    assert await names(log, thread_id) == ["a", "a", "b", "c", "state_update", "d"]
    await assert_increasing(log, thread_id)


async def test_runs_within_one_millisecond_have_different_ids(log, thread_id):
    for token in range(1, 60):
        await write(log, thread_id, token, batch("a", "b"), 0)
    await assert_increasing(log, thread_id)


async def test_reading_begins_inside_a_batch(log, thread_id):
    await write(log, thread_id, 5, batch("a", "b", "c"), 1)
    ids = [EventId.parse(each) for _, each in await stored(log, thread_id)]
    page = await log.read(thread_id, ids[0])
    assert ([each.name for each in page.events], page.more) == (["b", "c"], False)
    page = await log.read(thread_id, ids[2])
    assert (page.events, page.more) == ([], False)
    assert await log.newest(thread_id) == ids[2]
    assert await log.newest(new_id()) == START


async def test_the_log_is_bounded(redis, thread_id):
    log = EventLog(redis, replace(BOUNDS, max_batches=100))
    for seq in range(1, 500):
        await write(log, thread_id, 1, batch("a"), seq)
    assert await redis.xlen(LogKeys(thread_id).stream) < 350  # Redis trims whole nodes


async def test_every_log_expires_but_not_before_the_longest_run_could_end(log, redis, thread_id):
    keys = LogKeys(thread_id)

    async def expiry():
        return {await redis.ttl(keys.stream), await redis.ttl(keys.fence)}

    await write(log, thread_id, 1, batch("a"), 1)
    open_range = range(OPEN_SECONDS - 2, OPEN_SECONDS + 1)
    assert min(await expiry()) in open_range, "also without a close, which Redis may miss"
    await log.publish(thread_id, batch("state_update"))
    assert min(await expiry()) in open_range, "an attempt is writing"
    await log.close(thread_id, 1, batch(END_EVENT))
    assert max(await expiry()) in range(KEEP_SECONDS - 1, KEEP_SECONDS + 1)
    await write(log, thread_id, 2, batch("b"), 1)
    assert min(await expiry()) in open_range, "the next run of the thread is writing"

    await log.publish(new_thread := new_id(), batch("state_update"))
    assert await redis.ttl(LogKeys(new_thread).stream) > 0, "a state update of a thread at rest"


async def test_an_attempt_that_the_log_does_not_know_is_not_believed(log, thread_id):
    """An executor that slept until long after its run was over, and its fence forgotten."""
    assert await log.append(thread_id, 5, batch("late"), 7) is Appended.UNOPENED
    assert await names(log, thread_id) == []
    await write(log, thread_id, 5, batch("a"), 0)
    assert await log.append(thread_id, 5, batch("b"), 1) is Appended.WRITTEN
    assert await log.append(thread_id, 6, batch("c"), 1) is Appended.UNOPENED, "and needs no fence to be known"


async def test_a_long_log_is_read_in_pages_that_grow(log, thread_id):
    for seq in range(100):
        await write(log, thread_id, 1, batch("a"), seq)
    after, batches, sizes = START, 4, []
    while True:
        page = await log.read(thread_id, after, batches)
        sizes.append(len(page.events))
        if not page.more:
            break
        after, batches = EventId.parse(page.events[-1].id), page.next_batches
    assert sizes == [4, 16, 64, 16]


async def test_pages_of_large_events_hold_few(log, thread_id):
    large = b'"' + b"x" * 1_500_000 + b'"'
    for seq in range(6):
        await write(log, thread_id, 1, [event("run", "values", large)], seq)
    page = await log.read(thread_id, START)
    assert (len(page.events), page.next_batches) == (4, 1)


async def test_a_log_that_is_too_large_loses_its_older_half(redis, thread_id):
    log = EventLog(redis, replace(BOUNDS, max_bytes=10_000))
    for seq in range(50):
        await write(log, thread_id, 1, [event("run", f"n{seq}", b"1" * 900)], seq)
        assert await redis.memory_usage(LogKeys(thread_id).stream) < 20_000
    kept = await names(log, thread_id)
    assert 4 <= len(kept) <= 11
    assert kept == [f"n{seq}" for seq in range(50 - len(kept), 50)]


@pytest.mark.parametrize("ticks", range(12))
async def test_a_cancelled_append_ends_its_loop_whatever_the_moment(redis, redis_socket, thread_id, ticks):
    """With time-outs by redis-py (`asyncio.wait_for`), some moments lose the cancellation, and the loop goes on."""
    settings = RunsSettings(redis_uri=f"unix://{redis_socket}", postgres_dsn="unused")
    async with open_redis(settings) as client:
        log, last = EventLog(client, BOUNDS), 100_000

        async def loop():
            for _ in range(last):
                await write(log, thread_id, 1, batch("a"), 0)

        await write(log, thread_id, 1, batch("a"), 0)  # connected
        task = asyncio.create_task(loop())
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        last, swallowed = 0, not task.done()
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.01)
        assert not swallowed


async def test_concurrent_appends_of_one_batch_enter_once(log, thread_id):
    answers = await asyncio.gather(*(write(log, thread_id, 1, batch("a"), 1) for _ in range(20)))
    assert answers.count(Appended.WRITTEN) == 1
    assert await names(log, thread_id) == ["a"]


async def test_batches_of_a_version_that_did_not_count_are_read(log, redis, thread_id):
    payload = runs_pb2.EventBatch(events=batch("a", "b")).SerializeToString()
    await redis.xadd(LogKeys(thread_id).stream, {"m": b"1790000000000 1 " + payload}, id="1790000000000-2")
    assert await names(log, thread_id) == ["a", "b"]
    await write(log, thread_id, 7, batch("c"), 1)
    assert await names(log, thread_id) == ["a", "b", "c"]
