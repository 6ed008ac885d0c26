"""The event log itself: what append.lua accepts, in which order ids come out, and what is forgotten when."""

import asyncio

import pytest
from threadmill_chassis.ids import new_id
from threadmill_runs.events.log import END_EVENT, START, Appended, EventId, EventLog, LogKeys, event

KEEP_SECONDS = 60


@pytest.fixture
def log(redis):
    return EventLog(redis, max_length=1000, keep_seconds=KEEP_SECONDS)


@pytest.fixture
def thread_id():
    return new_id()


def batch(*names):
    return [event("run", name, b"{}") for name in names]


async def stored(log, thread_id):
    return [(each.name, each.id) for each in await log.read(thread_id, START)]


async def names(log, thread_id):
    return [name for name, _ in await stored(log, thread_id)]


async def assert_increasing(log, thread_id):
    ids = [EventId.parse(each) for _, each in await stored(log, thread_id)]
    assert ids == sorted(set(ids))


async def test_repeated_batches_enter_once(log, thread_id):
    for _ in range(3):
        await log.append(thread_id, 5, batch("a", "b"), 1)
    assert await log.append(thread_id, 5, batch("c"), 3) is Appended.WRITTEN
    assert await log.append(thread_id, 5, batch("a", "b"), 1) is Appended.DUPLICATE
    assert await log.append(thread_id, 5, batch("c"), 3) is Appended.DUPLICATE
    assert await names(log, thread_id) == ["a", "b", "c"]
    await assert_increasing(log, thread_id)


async def test_older_tokens_are_fenced(log, thread_id):
    await log.append(thread_id, 5, batch("old"), 1)
    await log.append(thread_id, 7, batch("new"), 1)
    assert await log.append(thread_id, 5, batch("late"), 2) is Appended.FENCED
    assert await log.append(thread_id, 6, batch("never started"), 1) is Appended.FENCED
    assert await names(log, thread_id) == ["old", "new"]
    await assert_increasing(log, thread_id)


async def test_a_closed_attempt_writes_no_more_but_may_repeat(log, thread_id):
    await log.append(thread_id, 5, batch("a"), 1)
    assert await log.close(thread_id, 5, batch(END_EVENT)) is Appended.WRITTEN
    assert await log.append(thread_id, 5, batch("a"), 1) is Appended.DUPLICATE
    assert await log.append(thread_id, 5, batch("late"), 3) is Appended.FENCED
    assert await names(log, thread_id) == ["a", END_EVENT]


async def test_closing_needs_no_events_before(log, thread_id):
    await log.close(thread_id, 5, batch(END_EVENT))
    assert await names(log, thread_id) == [END_EVENT]


async def test_a_run_without_a_token_ends_between_the_events_of_another(log, thread_id):
    await log.append(thread_id, 5, batch("a"), 1)
    await log.close(thread_id, 0, [event("other", END_EVENT, b"{}")])
    assert await log.append(thread_id, 5, batch("b"), 2) is Appended.WRITTEN
    assert await names(log, thread_id) == ["a", END_EVENT, "b"]
    await assert_increasing(log, thread_id)


async def test_ids_increase_when_the_clock_of_redis_goes_back(log, redis, thread_id):
    await log.append(thread_id, 1, batch("a"), 1)
    ahead = 9_000_000_000_000  # as if the events before had been written by a server whose clock was far ahead
    keys = LogKeys(thread_id)
    entries = await redis.xrange(keys.stream)
    await redis.xadd(keys.stream, {"m": b"%d 1 " % ahead + entries[0][1][b"m"].split(b" ", 2)[2]}, id=f"{ahead}-1")
    await log.append(thread_id, 2, batch("b", "c"), 1)
    await log.publish(thread_id, batch("state_update"))
    await log.append(thread_id, 2, batch("d"), 3)
    assert await names(log, thread_id) == ["a", "a", "b", "c", "state_update", "d"]
    await assert_increasing(log, thread_id)


async def test_runs_within_one_millisecond_have_different_ids(log, thread_id):
    for token in range(1, 60):
        await log.append(thread_id, token, batch("a", "b"), 0)
    await assert_increasing(log, thread_id)


async def test_reading_begins_inside_a_batch(log, thread_id):
    await log.append(thread_id, 5, batch("a", "b", "c"), 1)
    ids = [EventId.parse(each) for _, each in await stored(log, thread_id)]
    assert [each.name for each in await log.read(thread_id, ids[0])] == ["b", "c"]
    assert [each.name for each in await log.read(thread_id, ids[2])] == []
    assert await log.newest(thread_id) == ids[2]
    assert await log.newest(new_id()) == START


async def test_the_log_is_bounded(redis, thread_id):
    log = EventLog(redis, max_length=100, keep_seconds=KEEP_SECONDS)
    for seq in range(1, 500):
        await log.append(thread_id, 1, batch("a"), seq)
    assert await redis.xlen(LogKeys(thread_id).stream) < 350  # Redis trims whole nodes


async def test_events_expire_after_the_end_only(log, redis, thread_id):
    keys = LogKeys(thread_id)

    async def expiry():
        return {await redis.ttl(keys.stream), await redis.ttl(keys.fence)}

    await log.append(thread_id, 1, batch("a"), 1)
    assert await expiry() == {-1}
    await log.publish(thread_id, batch("state_update"))
    assert await expiry() == {-1}, "an attempt is writing"
    await log.close(thread_id, 1, batch(END_EVENT))
    assert max(await expiry()) in range(KEEP_SECONDS - 1, KEEP_SECONDS + 1)
    await log.append(thread_id, 2, batch("b"), 1)
    assert await expiry() == {-1}, "the next run of the thread is writing"

    await log.publish(new_thread := new_id(), batch("state_update"))
    assert await redis.ttl(LogKeys(new_thread).stream) > 0, "a state update of a thread at rest"


async def test_concurrent_appends_of_one_batch_enter_once(log, thread_id):
    answers = await asyncio.gather(*(log.append(thread_id, 1, batch("a"), 1) for _ in range(20)))
    assert answers.count(Appended.WRITTEN) == 1
    assert await names(log, thread_id) == ["a"]
