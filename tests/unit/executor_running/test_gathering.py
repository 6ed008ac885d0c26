"""Outbox: events are gathered for company, but not while somebody waits until they are durable."""

import asyncio

import pytest
from threadmill_runs.executor.running.outbox import Outbox

LONG = 60.0


@pytest.fixture
async def outbox() -> Outbox:
    return Outbox(asyncio.get_running_loop())


async def gathering(outbox: Outbox) -> "asyncio.Task[None]":
    task = asyncio.create_task(outbox.gather(LONG))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_checkpoint_that_waits_for_its_events_ends_the_gathering(outbox: Outbox) -> None:
    outbox.put("values", b"{}")
    batch = outbox.take()
    task = await gathering(outbox)
    delivered = asyncio.create_task(outbox.delivered())
    await asyncio.wait_for(task, 5)
    await asyncio.wait_for(outbox.gather(LONG), 5)
    outbox.acknowledge(batch)
    await asyncio.wait_for(delivered, 5)
    (await gathering(outbox)).cancel()


async def test_the_outcome_ends_all_waiting(outbox: Outbox) -> None:
    task = await gathering(outbox)
    arrival = asyncio.create_task(outbox.arrival())
    outbox.hurry()
    await asyncio.wait_for(asyncio.gather(task, arrival), 5)
    assert outbox.take() == []


async def test_gathering_ends_in_time(outbox: Outbox) -> None:
    await asyncio.wait_for(outbox.gather(0.001), 5)


async def test_gathering_goes_on_until_what_was_sent_is_acknowledged(outbox: Outbox) -> None:
    outbox.put("values", b"{}")
    batch = outbox.take()
    task = asyncio.create_task(outbox.gather(0))
    timer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.001, timer.set_result, None)  # due after the gathering's own
    await timer
    assert not task.done()
    outbox.acknowledge(batch)
    await asyncio.wait_for(task, 5)
