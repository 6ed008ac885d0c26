"""What clients see of a run while Redis connections break, data is lost, and readers are slow."""

import asyncio

import pytest
from eventually import until
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_runs.events import follow as follow_module
from threadmill_runs.events import subscription as subscription_module


async def started(system, **fields):
    """A run, its attempt, and the executor that has it."""
    executor = await system.executor().attach()
    run = await system.create(await system.thread(), **fields)
    return run, await executor.assignment(), executor


async def kill_connections(redis, *kinds):
    for kind in kinds:
        await redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


async def watched(system, run, count=1, **fields):
    """So many streams that see everything from now on."""
    calls = [system.stream(run.run_id, **fields) for _ in range(count)]
    for call in calls:
        await call.read()
    return [asyncio.create_task(system.graph_events(call)) for call in calls]


def expected(count):
    return [("values", {"n": n}) for n in range(count)]


async def test_hundreds_of_watchers_may_come_at_the_same_moment(system):
    """More than Redis connections that there may be: they wait for one, and none is refused."""
    run, assignment, executor = await started(system)
    calls = [system.stream(run.run_id) for _ in range(300)]
    await asyncio.gather(*(call.read() for call in calls))
    streams = [asyncio.create_task(system.graph_events(call)) for call in calls]
    await executor.finish(assignment, *expected(3), values_json=b"{}")
    for stream in streams:
        assert await stream == expected(3)


async def test_several_watchers_see_the_same(system):
    run, assignment, executor = await started(system)
    streams = await watched(system, run, 20)
    await executor.finish(assignment, *expected(100), values_json=b"{}")
    for stream in streams:
        assert await stream == expected(100)


async def test_a_watcher_that_leaves_does_not_silence_the_others(system):
    run, assignment, executor = await started(system)
    for _ in range(5):
        leaver = system.stream(run.run_id)
        await leaver.read()
        leaver.cancel()
        (stayer,) = await watched(system, run)
    async with asyncio.timeout(4), executor.reporting(assignment) as report:
        await report.send(*expected(3))
    await executor.finish(assignment, first_seq=4, values_json=b"{}")
    assert await stayer == expected(3)


async def test_cut_connections_lose_and_repeat_nothing(system, redis):
    run, assignment, executor = await started(system)
    streams = await watched(system, run, 3)
    async with executor.reporting(assignment) as report:
        for n in range(60):
            if n % 10 == 5:
                await kill_connections(redis, "pubsub", "normal")
            await report.send(("values", {"n": n}))
    await executor.finish(assignment, values_json=b"{}")
    for stream in streams:
        assert await stream == expected(60)
    assert not [name for name, duty in system.duties.items() if duty.done()]


async def test_a_cut_right_before_the_end_does_not_hide_it(system, redis):
    run, assignment, executor = await started(system)
    (stream,) = await watched(system, run)
    async with executor.reporting(assignment) as report:
        await report.send(*expected(2))
    await kill_connections(redis, "pubsub")
    await executor.finish(assignment, values_json=b"{}")
    async with asyncio.timeout(4):
        assert await stream == expected(2)


async def test_a_stream_ends_though_redis_lost_everything(system, redis):
    run, assignment, executor = await started(system)
    (stream,) = await watched(system, run)
    async with executor.reporting(assignment) as report:
        await report.send(*expected(2))
        await redis.flushall()
        await report.send(("values", {"n": 2}))
    await executor.finish(assignment, values_json=b"{}")
    assert await stream == expected(3)


async def test_a_stream_ends_though_its_end_was_lost(system, monkeypatch):
    monkeypatch.setattr(follow_module, "SILENCE_SECONDS", 0.3)
    run, _, _ = await started(system)
    stream = system.stream(run.run_id)
    await stream.read()
    await system.sql.execute(
        "UPDATE runs.run SET status = 'success', lease_expires_at = NULL, executor_id = NULL WHERE run_id = $1",
        run.run_id,
    )
    assert await system.collect(stream) == []


async def test_a_slow_watcher_catches_up_from_the_log(system, monkeypatch):
    monkeypatch.setattr(subscription_module, "MAX_BUFFERED_BATCHES", 3)
    run, assignment, executor = await started(system)
    calls = [system.stream(run.run_id) for _ in range(2)]
    for call in calls:
        await call.read()
    # Nobody reads while big events arrive: flow control stops the server's side of these streams.
    big = "x" * 300_000
    async with executor.reporting(assignment) as report:
        for n in range(60):
            await report.send(("values", {"n": n, "pad": big}))
    await executor.finish(assignment, values_json=b"{}")
    for call in calls:
        assert [data["n"] for _, data in await system.graph_events(call)] == list(range(60))


async def test_events_that_were_sent_again_arrive_once(system):
    run, assignment, executor = await started(system)
    (stream,) = await watched(system, run)
    async with executor.reporting(assignment) as report:
        assert await report.send(*expected(3)) == 3
    async with executor.reporting(assignment) as again:  # its acknowledgement was lost with the connection
        assert await again.send(*expected(3), first_seq=1) == 3
        assert await again.send(("values", {"n": 3}), first_seq=4) == 4
    await executor.finish(assignment, values_json=b"{}")
    assert await stream == expected(4)


async def test_reports_wait_for_a_redis_that_is_down(system, redis):
    run, assignment, executor = await started(system)
    (stream,) = await watched(system, run)
    async with executor.reporting(assignment) as report:
        await redis.execute_command("CLIENT", "PAUSE", "700")
        assert await report.send(*expected(2)) == 2
    await executor.finish(assignment, values_json=b"{}")
    assert await stream == expected(2)


async def test_a_run_that_ended_before_it_was_joined_closes_at_once(system, redis):
    run, assignment, executor = await started(system)
    await executor.finish(assignment, *expected(2), values_json=b"{}")
    for last_event_id in ("", "garbage", "99999999999999999999999-1", "1-99999999999999999999999"):
        async with asyncio.timeout(3):
            assert await system.collect(system.stream(run.run_id, last_event_id=last_event_id)) == []
    await redis.flushall()
    async with asyncio.timeout(3):
        assert await system.collect(system.stream(run.run_id)) == []


@pytest.mark.parametrize(
    ("modes", "kept"),
    [
        ([], ["values", "values|a:1", "updates", "messages", "messages/partial", "messages/metadata", "error"]),
        (["values"], ["values", "values|a:1", "error"]),
        (["updates", "values"], ["values", "values|a:1", "updates", "error"]),
        (["messages"], ["messages", "messages/partial", "messages/metadata", "error"]),
        (["messages-tuple"], ["messages", "error"]),
        (["bogus"], ["error"]),
    ],
)
async def test_stream_modes_filter(system, modes, kept):
    executor = await system.executor().attach()
    request = system.request(await system.thread())
    call = system.runs.StreamRun(runs_pb2.StreamRunRequest(create=request, stream_modes=modes))
    await call.read()
    sent = ["values", "values|a:1", "updates", "messages", "messages/partial", "messages/metadata", "error"]
    await executor.finish(await executor.assignment(), *((name, 1) for name in sent), values_json=b"{}")
    names = [name for name, _ in await system.collect(call)]
    assert names == ([] if modes else ["metadata"]) + kept


async def test_watchers_leave_no_subscription_behind(system, redis):
    run, _, _ = await started(system)
    calls = [system.stream(run.run_id) for _ in range(5)]
    for call in calls:
        await call.read()
    channel = f"threadmill:{{{run.thread_id}}}"
    assert await redis.pubsub_numsub(channel) == [(channel.encode(), 1)], "one connection serves all"
    for call in calls:
        call.cancel()

    async def unsubscribed():
        return await redis.pubsub_numsub(channel) == [(channel.encode(), 0)]

    await until(unsubscribed)
