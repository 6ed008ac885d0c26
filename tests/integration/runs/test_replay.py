"""Joining a run late: Last-Event-ID on runs whose events are kept, and on runs whose are not."""

import asyncio

import pytest
from threadmill_runs.events import follow as follow_module
from threadmill_runs.events.log import EventId


@pytest.fixture
async def halfway(system):
    """A resumable run that has sent three events and is to send two more."""
    executor = await system.executor().attach()
    run = await system.create(await system.thread(), stream_resumable=True)
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        await report.send(*(("values", n) for n in (1, 2, 3)))

    async def finish():
        await executor.finish(assignment, ("values", 4), ("values", 5), first_seq=4, values_json=b"{}")

    return run, finish


def shown(events):
    return [each.data_json.decode() if each.name == "values" else each.name for each in events]


async def joined(system, run, last_event_id, finish):
    call = system.stream(run.run_id, last_event_id=last_event_id)
    await call.read()
    await finish()
    return await system.events(call)


@pytest.mark.parametrize("everything", ["-1", "-", "0", "0-0"])
async def test_everything_is_replayed_on_demand_before_it_goes_on(system, halfway, everything):
    run, finish = halfway
    events = await joined(system, run, everything, finish)
    assert shown(events) == ["metadata", "1", "2", "3", "4", "5"]
    ids = [EventId.parse(each.id) for each in events]
    assert ids == sorted(set(ids))

    after_the_end = await system.events(system.stream(run.run_id, last_event_id="-1"))
    assert [each.id for each in after_the_end] == [each.id for each in events]
    for place, each in enumerate(events):
        rest = await system.events(system.stream(run.run_id, last_event_id=each.id))
        assert shown(rest) == shown(events)[place + 1 :]


@pytest.mark.parametrize("last_event_id", ["", "garbage", "7", "99999999999999999999-0"])
async def test_anything_else_starts_now(system, halfway, last_event_id):
    run, finish = halfway
    assert shown(await joined(system, run, last_event_id, finish)) == ["4", "5"]


@pytest.mark.parametrize("last_event_id", ["-1", "0-0", "1-1"])
async def test_runs_that_are_not_resumable_are_not_replayed(system, last_event_id):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        await report.send(("values", 1))

    async def finish():
        await executor.finish(assignment, ("values", 2), first_seq=2, values_json=b"{}")

    assert shown(await joined(system, run, last_event_id, finish)) == ["2"]
    assert await system.events(system.stream(run.run_id, last_event_id=last_event_id)) == []


async def test_other_runs_of_the_thread_are_not_replayed(system):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    runs = [await system.create(thread_id, stream_resumable=True) for _ in range(2)]
    for n in range(2):
        await executor.finish(await executor.assignment(), ("values", n), values_json=b"{}")
    for n, run in enumerate(runs):
        assert shown(await system.events(system.stream(run.run_id, last_event_id="-1"))) == ["metadata", str(n)]


async def test_a_replay_after_events_have_expired_ends(start_system, monkeypatch):
    monkeypatch.setattr(follow_module, "SILENCE_SECONDS", 0.3)
    system = await start_system(event_keep_seconds=1)
    executor = await system.executor().attach()
    run = await system.create(await system.thread(), stream_resumable=True)
    await executor.finish(await executor.assignment(), ("values", 1), values_json=b"{}")
    from eventually import until

    async def expired():
        return not await system.redis.keys("threadmill:*")

    await until(expired)
    assert await system.events(system.stream(run.run_id, last_event_id="-1")) == []


async def test_a_client_that_has_seen_everything_is_told_so_at_once(system, halfway):
    run, finish = halfway
    events = await joined(system, run, "-1", finish)
    after = EventId.parse(events[-1].id)
    async with asyncio.timeout(follow_module.SILENCE_SECONDS - 1):
        assert await system.events(system.stream(run.run_id, last_event_id=f"{after.epoch}-{after.seq + 9}")) == []


async def test_a_replay_of_large_events_comes_in_messages_that_fit(start_system):
    system = await start_system(grpc_max_message_bytes=4 * 1024 * 1024)
    executor = await system.executor().attach()
    run = await system.create(await system.thread(), stream_resumable=True)
    assignment = await executor.assignment()
    large = "x" * 1_500_000
    async with executor.reporting(assignment) as report:
        for number in range(12):
            await report.send(("values", f"{number}{large}"), first_seq=number + 1)
    await executor.finish(assignment, values_json=b"{}")
    events = await system.events(system.stream(run.run_id, last_event_id="-1"))
    assert [each.name for each in events] == ["metadata", *["values"] * 12]
    assert [len(each.data_json) for each in events[1:]] == [1_500_003] * 10 + [1_500_004] * 2
