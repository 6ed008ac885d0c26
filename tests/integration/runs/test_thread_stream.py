"""The stream of a thread: all its runs one after the other, ends of runs, and manual state updates."""

import asyncio

import grpc
import orjson
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_runs.events.log import EventId


def follow(system, thread_id, *modes, last_event_id=""):
    return system.runs.StreamThread(
        runs_pb2.StreamThreadRequest(thread_id=thread_id, stream_modes=modes, last_event_id=last_event_id)
    )


async def subscribed(system, thread_id):
    """Waits until the server watches the thread's channel."""
    from eventually import until

    channel = f"threadmill:{{{thread_id}}}"

    async def watching():
        return (await system.redis.pubsub_numsub(channel))[0][1] == 1

    await until(watching)
    # The position is taken right after; an event that is published before would be skipped, by design.
    await asyncio.sleep(0.1)


async def take(call, count):
    events = []
    async with asyncio.timeout(10):
        while len(events) < count:
            events += (await call.read()).batch.events
    return events


def shown(events):
    return [(each.name, orjson.loads(each.data_json)) for each in events]


async def run_once(system, executor, thread_id, value, **fields):
    run = await system.create(thread_id, **fields)
    await executor.finish(await executor.assignment(), ("values", value), values_json=b"{}")
    return run.run_id


def life(run_id, value):
    return [
        ("metadata", {"run_id": run_id, "attempt": 1}),
        ("values", value),
        ("metadata", {"status": "run_done", "run_id": run_id}),
    ]


def update(system, thread_id):
    return system.runs.PublishStateUpdate(
        runs_pb2.PublishStateUpdateRequest(thread_id=thread_id, state_json=b'{"values":{"a":"run_done"}}')
    )


async def test_runs_follow_each_other(system):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    call = follow(system, thread_id)
    await subscribed(system, thread_id)
    first = await run_once(system, executor, thread_id, 1)
    await update(system, thread_id)
    second = await run_once(system, executor, thread_id, 2)
    events = await take(call, 6)
    assert shown(events) == life(first, 1) + life(second, 2), "state updates only on demand"
    ids = [EventId.parse(each.id) for each in events]
    assert ids == sorted(set(ids))
    call.cancel()


async def test_modes(system):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    lifecycle, states = follow(system, thread_id, "lifecycle"), follow(system, thread_id, "state_update")
    both = follow(system, thread_id, "run_modes", "state_update")
    await subscribed(system, thread_id)
    run_id = await run_once(system, executor, thread_id, 1)
    await update(system, thread_id)
    state = ("state_update", {"state": {"values": {"a": "run_done"}}, "thread_id": thread_id})
    started, ended = life(run_id, 1)[0], life(run_id, 1)[2]
    assert shown(await take(lifecycle, 2)) == [started, ended]
    assert shown(await take(states, 1)) == [state]
    assert shown(await take(both, 4)) == [*life(run_id, 1), state]
    for call in (lifecycle, states, both):
        call.cancel()


@pytest.mark.parametrize("start", ["-", "0", "0-0"])
async def test_replay_shows_resumable_runs_and_ends(system, start):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    plain = await run_once(system, executor, thread_id, 1)
    await update(system, thread_id)
    kept = await run_once(system, executor, thread_id, 2, stream_resumable=True)
    call = follow(system, thread_id, "run_modes", "state_update", last_event_id=start)
    past = await take(call, 4)
    assert shown(past) == [life(plain, 1)[2], *life(kept, 2)]
    live = await run_once(system, executor, thread_id, 3)
    assert shown(await take(call, 3)) == life(live, 3)
    call.cancel()
    after = follow(system, thread_id, last_event_id=past[1].id)
    assert shown(await take(after, 2))[:2] == life(kept, 2)[1:]
    after.cancel()


async def test_a_cancelled_pending_run_is_done_too(system):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    await system.create(thread_id)
    await executor.assignment()
    pending = await system.create(thread_id)
    call = follow(system, thread_id, "lifecycle")
    await subscribed(system, thread_id)
    await system.runs.CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[pending.run_id]))
    assert shown(await take(call, 1)) == [("metadata", {"status": "run_done", "run_id": pending.run_id})]
    call.cancel()


@pytest.mark.parametrize(
    ("modes", "last_event_id"), [(["bogus"], ""), ([], "-1"), ([], "garbage"), ([], "99999999999999999999-1")]
)
async def test_bad_requests(system, modes, last_event_id):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await follow(system, new_id(), *modes, last_event_id=last_event_id).read()
    assert reason_of(refused.value) == "INVALID_ARGUMENT"
