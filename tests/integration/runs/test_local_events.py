"""Events that reach their watchers without Redis, or before it: each once and in order, wherever they were reported."""

import asyncio

import pytest
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import executors_pb2_grpc, runs_pb2
from threadmill_runs.api import watching
from threadmill_runs.events.hub import Hub
from threadmill_runs.events.log import END_EVENT, Bounds, EventLog, event

BOUNDS = Bounds(max_batches=10_000, max_bytes=10**9, keep_seconds=60, open_seconds=60, timeout_seconds=5.0)


async def subscribed(redis):
    return await redis.execute_command("PUBSUB", "CHANNELS", "threadmill:{*")


async def stream(system, thread_id, **fields):
    call = system.runs.StreamRun(runs_pb2.StreamRunRequest(create=system.request(thread_id, **fields)))
    await call.read()
    return call


def numbers(events):
    return [data["n"] for name, data in events if name == "values"]


async def test_a_short_run_is_followed_without_redis(system, redis, monkeypatch):
    monkeypatch.setattr(watching, "LOCAL_SECONDS", 3600)
    executor = await system.executor().attach()
    await executor_known(system, executor)
    call = await stream(system, await system.thread())
    assignment = await executor.assignment()
    assert await subscribed(redis) == []
    await executor.finish(assignment, *(("values", {"n": n}) for n in range(5)), values_json=b"{}")
    events = await system.collect(call)
    assert events[0][0] == "metadata"
    assert numbers(events) == list(range(5))


async def test_a_longer_run_whose_events_come_here_is_followed_without_redis_too(system, redis, monkeypatch):
    monkeypatch.setattr(watching, "LOCAL_SECONDS", 0.5)
    monkeypatch.setattr(watching, "HOME_SECONDS", 3600)
    executor = await system.executor().attach()
    await executor_known(system, executor)
    call = await stream(system, await system.thread())
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        await report.send(("values", {"n": 0}))
        await asyncio.sleep(0.8)  # past the moment at which Redis would be asked for a run that reports elsewhere
        assert await subscribed(redis) == []
    await executor.finish(assignment, ("values", {"n": 1}), first_seq=2, values_json=b"{}")
    assert numbers(await system.collect(call)) == [0, 1]


async def executor_known(system, executor):
    """The dispatcher has asked the queue for it once."""
    await system.create()
    await executor.finish(await executor.assignment())


@pytest.mark.parametrize("seconds", [0, 0.005, 0.02, 3600])
async def test_events_come_once_and_in_order_whenever_redis_is_asked(system, monkeypatch, seconds):
    monkeypatch.setattr(watching, "LOCAL_SECONDS", seconds)
    executor = await system.executor().attach()
    await executor_known(system, executor)
    thread_id = await system.thread()
    for _ in range(3):  # the later ones on a thread whose log is not empty
        call = await stream(system, thread_id)
        assignment = await executor.assignment()
        async with executor.reporting(assignment) as report:
            for n in range(40):
                await report.send(("values", {"n": n}))
        await executor.finish(assignment, ("values", {"n": 40}), first_seq=41, values_json=b"{}")
        assert numbers(await system.collect(call)) == list(range(41))


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_reports_that_alternate_between_replicas(system, monkeypatch, seconds):
    monkeypatch.setattr(watching, "LOCAL_SECONDS", seconds)
    executor = await system.executor().attach()
    await executor_known(system, executor)
    stubs = (executor.stub, executors_pb2_grpc.ExecutorsStub(await system.start_replica()))
    call = await stream(system, await system.thread())
    assignment = await executor.assignment()
    for n in range(40):
        executor.stub = stubs[n % 2]
        async with executor.reporting(assignment) as report:
            await report.send(("values", {"n": n}), first_seq=n + 1)
    await executor.finish(assignment, ("values", {"n": 40}), first_seq=41, values_json=b"{}")
    assert numbers(await system.collect(call)) == list(range(41))


async def test_an_end_elsewhere_is_not_overtaken_by_the_next_run_here(redis):
    """A batch of another replica is still on its way when this one appends the next."""
    here, elsewhere = EventLog(redis, BOUNDS), EventLog(redis, BOUNDS)
    hub = Hub(redis, here)
    here.on_appended = hub.appended
    task = asyncio.create_task(hub.listen())
    thread_id = new_id()
    async with hub.subscribe(thread_id) as subscription:
        await subscription.start(None)
        for n in range(50):
            await elsewhere.append(thread_id, 2 * n + 1, [event("a", f"a{n}", b"1")], 0, opens=True)
            await elsewhere.close(thread_id, 2 * n + 1, [event("a", END_EVENT, b"{}")])
            await here.append(thread_id, 2 * n + 2, [event("b", f"b{n}", b"1")], 0, opens=True)
        names = []
        async with asyncio.timeout(10):
            while len(names) < 150:
                names += [each.name for each in await subscription.next_events(1)]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert names == [name for n in range(50) for name in (f"a{n}", END_EVENT, f"b{n}")]


async def test_an_unattached_subscription_finds_what_others_appended_in_the_log(redis):
    here, elsewhere = EventLog(redis, BOUNDS), EventLog(redis, BOUNDS)
    hub = Hub(redis, here)  # it listens to nothing
    here.on_appended = hub.appended
    thread_id = new_id()
    await here.append(thread_id, 1, [event("older", "older", b"1")], 0, opens=True)
    async with hub.subscribe(thread_id) as subscription:
        subscription.start_local()
        await here.append(thread_id, 2, [event("a", "first", b"1")], 0, opens=True)
        await elsewhere.append(thread_id, 2, [event("a", "second", b"1")], 1)
        await here.append(thread_id, 2, [event("a", "third", b"1")], 2)
        names = []
        async with asyncio.timeout(5):
            while len(names) < 3:
                names += [each.name for each in await subscription.next_events(1)]
    assert names == ["first", "second", "third"]


async def test_a_stream_of_the_thread_shows_the_runs_of_all_replicas(system):
    executor = await system.executor().attach()
    await executor_known(system, executor)
    thread_id = await system.thread()
    watching = system.runs.StreamThread(runs_pb2.StreamThreadRequest(thread_id=thread_id))
    seen = asyncio.create_task(ends(watching, 6))
    stubs = (executor.stub, executors_pb2_grpc.ExecutorsStub(await system.start_replica()))
    for n in range(6):
        await system.create(thread_id)
        assignment = await executor.assignment()
        executor.stub = stubs[n % 2]
        await executor.finish(assignment, ("values", {"n": n}), values_json=b"{}")
    assert await seen == list(range(6))


async def ends(call, count):
    found = []
    async with asyncio.timeout(10):
        while len(found) < count:
            for each in (await call.read()).batch.events:
                if each.name == "values":
                    found.append(int(each.data_json.decode().strip('{"n:} ')))
    return found
