"""How a watcher learns of the end, with the log and without it, and what that costs."""

import asyncio

import pytest
from threadmill_chassis.ids import new_id
from threadmill_runs.events import follow as follow_module
from threadmill_runs.events import log as log_module
from threadmill_runs.events import subscription as subscription_module
from threadmill_runs.events.follow import follow
from threadmill_runs.events.hub import Hub
from threadmill_runs.events.log import END_EVENT, START, Bounds, EventLog, event


@pytest.fixture
def log(redis):
    return EventLog(
        redis, Bounds(max_batches=10_000, max_bytes=10**9, keep_seconds=60, open_seconds=60, timeout_seconds=5.0)
    )


@pytest.fixture
async def hub(redis, log):
    listening = Hub(redis, log)
    task = asyncio.create_task(listening.listen())
    yield listening
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Database:
    """Answers whether a run is active, and counts the questions."""

    def __init__(self):
        self.active = True
        self.questions = 0

    async def __call__(self, run_id):
        self.questions += 1
        return self.active


async def names(subscription, run_id, database):
    return [each.name async for batch in follow(subscription, run_id, database) for each in batch]


async def test_events_of_other_runs_cost_no_question(hub, log):
    thread_id, database = new_id(), Database()
    async with hub.subscribe(thread_id) as subscription:
        await subscription.start(None)
        watching = asyncio.create_task(names(subscription, "mine", database))
        for n in range(20):
            await log.append(thread_id, 1, [event("other", "values", b"1")], n, opens=True)
            await asyncio.sleep(0.005)
        await log.append(thread_id, 2, [event("mine", "values", b"1"), event("mine", END_EVENT, b"{}")], 0, opens=True)
        assert await watching == ["values", END_EVENT]
    assert database.questions == 0


async def test_a_lost_end_is_noticed_however_busy_the_thread_is(hub, log, monkeypatch):
    monkeypatch.setattr(follow_module, "SILENCE_SECONDS", 0.2)
    thread_id, database = new_id(), Database()
    database.active = False
    async with hub.subscribe(thread_id) as subscription:
        await subscription.start(None)
        watching = asyncio.create_task(names(subscription, "mine", database))
        seq = 0
        async with asyncio.timeout(5):
            while database.questions == 0:
                await log.append(thread_id, 1, [event("other", "values", b"1")], seq, opens=True)
                seq += 1
                await asyncio.sleep(0.02)
            assert await watching == []


async def test_the_last_look_into_the_log_goes_to_its_end(hub, log, monkeypatch):
    """Many pages of other runs' events lie before the end that was missed."""
    monkeypatch.setattr(follow_module, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(log_module, "PAGE_BATCHES_MAX", 3)
    thread_id, database = new_id(), Database()
    database.active = False
    async with hub.subscribe(thread_id) as subscription:
        await subscription.start(START)
        for n in range(20):
            await log.append(thread_id, 1, [event("other", "values", b"1")], n, opens=True)
        await log.append(thread_id, 2, [event("mine", END_EVENT, b"{}")], 0, closes=True)
        subscription._forget()
        assert await names(subscription, "mine", database) == [END_EVENT]


async def test_a_slow_reader_holds_no_more_than_its_share_and_misses_nothing(hub, log, monkeypatch):
    monkeypatch.setattr(subscription_module, "MAX_BUFFERED_BYTES", 1000)
    thread_id = new_id()
    async with hub.subscribe(thread_id) as subscription:
        await subscription.start(None)
        for n in range(100):
            await log.append(thread_id, 1, [event("mine", "values", b"1" * 300)], n, opens=True)
        await log.append(thread_id, 1, [event("mine", END_EVENT, b"{}")], 100, closes=True)
        assert subscription._live_bytes <= 2000
        assert await names(subscription, "mine", Database()) == ["values"] * 100 + [END_EVENT]
