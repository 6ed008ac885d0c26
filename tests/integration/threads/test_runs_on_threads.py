"""What runs do to the row of their thread: busy while any is active, then at rest as the last one left it."""

import asyncio
from uuid import uuid4

import grpc
import orjson
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.threads.v1 import checkpoints_pb2
from threadmill_protos.threads.v1 import threads_pb2 as pb


async def begin(service, thread_id, run_id=None, **fields) -> str:
    run_id = run_id or str(uuid4())
    await service.threads.BeginRun(
        pb.BeginRunRequest(thread_id=thread_id, run_id=run_id, create_if_missing=True, **fields)
    )
    return run_id


async def end(service, thread_id, run_id, token=0, **fields) -> None:
    fence = {"run_id": run_id, "token": token}
    await service.threads.EndRun(pb.EndRunRequest(thread_id=thread_id, fence=fence, **fields))


async def get(service, thread_id) -> pb.Thread:
    return await service.threads.GetThread(pb.GetThreadRequest(thread_id=thread_id))


async def test_begin_creates_and_stamps(service):
    request = pb.BeginRunRequest(
        thread_id=str(uuid4()),
        run_id=str(uuid4()),
        create_if_missing=True,
        stamp_metadata_json=b'{"graph_id":"g","assistant_id":"a"}',
        new_thread_metadata_json=b'{"owner":"me","graph_id":"other"}',
        config_json=b'{"tags":["t"],"configurable":{}}',
    )
    first = await service.threads.BeginRun(request)
    assert first.created
    assert first.thread.metadata_json == b'{"owner":"me","graph_id":"g","assistant_id":"a"}'
    assert first.thread.config_json == b'{"tags":["t"],"configurable":{}}'
    assert first.thread.state == pb.THREAD_STATE_BUSY
    again = await service.threads.BeginRun(request)
    assert not again.created
    assert again.thread.metadata_json == first.thread.metadata_json, "metadata of new threads only"
    await end(service, request.thread_id, request.run_id)
    assert (await get(service, request.thread_id)).state == pb.THREAD_STATE_IDLE, "registered once"


async def test_the_config_of_a_thread_is_made_of_those_of_its_runs(service):
    thread_id = str(uuid4())
    given = (
        ({}, {}, {"configurable": {}}),
        ({"tags": ["t"], "configurable": {"c": 1}}, {}, {"tags": ["t"], "configurable": {}}),
        ({}, {"tags": ["a"], "limit": 1, "configurable": {"k": "a"}},
         {"tags": ["t"], "limit": 1, "configurable": {"k": "a"}}),
        ({"limit": 2}, {"configurable": {"k": "b", "l": "b"}},
         {"tags": ["t"], "limit": 2, "configurable": {"k": "a", "l": "b"}}),
        ({}, {}, {"tags": ["t"], "limit": 2, "configurable": {"k": "a", "l": "b"}}),
    )  # fmt: skip
    for config, defaults, expected in given:
        documents = {"config_json": orjson.dumps(config), "config_defaults_json": orjson.dumps(defaults)}
        await begin(service, thread_id, **documents)
        assert orjson.loads((await get(service, thread_id)).config_json) == expected


async def test_a_run_leaves_its_resting_state(service):
    thread_id = str(uuid4())
    run_id = await begin(service, thread_id)
    busy = await get(service, thread_id)
    resting = pb.RestingState(
        state=pb.THREAD_STATE_INTERRUPTED,
        values_json=b'{"n": 1}',
        interrupts_json=b'{"t":[{"id":"i"}]}',
        error_json=b"null",
    )
    await end(service, thread_id, run_id, 7, resting=resting)
    read = await get(service, thread_id)
    assert read.state == pb.THREAD_STATE_INTERRUPTED
    assert (read.values_json, read.interrupts_json, read.error_json) == (b'{"n": 1}', b'{"t":[{"id":"i"}]}', b"null")
    assert read.state_update_time.ToNanoseconds() > busy.state_update_time.ToNanoseconds()

    never_started = await begin(service, thread_id)
    assert (await get(service, thread_id)).state == pb.THREAD_STATE_BUSY
    await end(service, thread_id, never_started)
    after = await get(service, thread_id)
    assert after.state == pb.THREAD_STATE_INTERRUPTED, "an unspecified state keeps the one from before"
    assert after.values_json == b'{"n": 1}'


async def test_busy_until_the_last_run_ends(service):
    thread_id = str(uuid4())
    first, second = await begin(service, thread_id), await begin(service, thread_id)
    error = pb.RestingState(state=pb.THREAD_STATE_ERROR, error_json=b'{"error":"E","message":"m"}')
    await end(service, thread_id, first, 1, resting=error)
    assert (await get(service, thread_id)).state == pb.THREAD_STATE_BUSY
    await end(service, thread_id, second, 0)
    assert (await get(service, thread_id)).state == pb.THREAD_STATE_ERROR


async def test_ending_an_inactive_run_changes_nothing(service):
    thread_id = str(uuid4())
    run_id = await begin(service, thread_id)
    await end(service, thread_id, run_id, 3)
    before = await get(service, thread_id)
    idle = pb.RestingState(state=pb.THREAD_STATE_ERROR, values_json=b"{}")
    for token in (0, 1, 3, 9):
        await end(service, thread_id, run_id, token, resting=idle, delete_thread=True)
    assert await get(service, thread_id) == before


async def test_a_stale_token_ends_nothing(service):
    thread_id = str(uuid4())
    old = await begin(service, thread_id)
    new = await begin(service, thread_id)
    await end(service, thread_id, new, 9)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await end(service, thread_id, old, 8, resting=pb.RestingState(state=pb.THREAD_STATE_ERROR))
    assert reason_of(caught.value) == "FENCED"
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert (await get(service, thread_id)).state == pb.THREAD_STATE_BUSY
    await end(service, thread_id, old, 0)
    assert (await get(service, thread_id)).state == pb.THREAD_STATE_IDLE


async def test_end_deletes_a_stateless_thread(service):
    thread_id = str(uuid4())
    run_id = await begin(service, thread_id)
    await end(service, thread_id, run_id, 1, delete_thread=True, resting=pb.RestingState(values_json=b"{}"))
    assert await service.sql.fetchval("SELECT count(*) FROM threads.thread") == 0
    await end(service, thread_id, run_id, 1, delete_thread=True)


async def test_concurrent_runs_on_one_thread_stay_consistent(service):
    thread_id = str(uuid4())
    runs = [str(uuid4()) for _ in range(50)]
    await asyncio.gather(*(begin(service, thread_id, run_id) for run_id in runs))
    assert len(await active(service)) == 50
    await asyncio.gather(
        *(end(service, thread_id, run_id, resting=pb.RestingState(values_json=b"[]")) for run_id in runs)
    )
    assert await active(service) == []
    read = await get(service, thread_id)
    assert (read.state, read.values_json) == (pb.THREAD_STATE_IDLE, b"[]")

    async def live(run_id: str) -> None:
        await begin(service, thread_id, run_id)
        await end(service, thread_id, run_id, resting=pb.RestingState(state=pb.THREAD_STATE_IDLE))

    await asyncio.gather(*(live(str(uuid4())) for _ in range(50)))
    assert (await get(service, thread_id)).state == pb.THREAD_STATE_IDLE


async def test_a_state_is_set_by_hand_only_at_rest(service):
    thread_id = str(uuid4())
    run_id = await begin(service, thread_id)
    request = checkpoints_pb2.WriteCheckpointsRequest(
        thread_id=thread_id,
        resting=pb.RestingState(state=pb.THREAD_STATE_INTERRUPTED, values_json=b'{"a":1}', interrupts_json=b"{}"),
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.checkpoints.WriteCheckpoints(request)
    assert (reason_of(caught.value), caught.value.code()) == ("THREAD_BUSY", grpc.StatusCode.FAILED_PRECONDITION)
    assert (await get(service, thread_id)).values_json == b""
    await end(service, thread_id, run_id)
    await service.checkpoints.WriteCheckpoints(request)
    read = await get(service, thread_id)
    assert (read.state, read.values_json, read.interrupts_json) == (pb.THREAD_STATE_INTERRUPTED, b'{"a":1}', b"{}")


async def active(service, **fields) -> list[tuple[str, str]]:
    found = await service.threads.ListActiveRuns(pb.ListActiveRunsRequest(limit=1000, **fields))
    return [(run.thread_id, run.run_id) for run in found.active_runs]


async def test_active_runs_by_age_and_page(service):
    expected = []
    for thread_id in sorted(str(uuid4()) for _ in range(3)):
        expected += sorted([(thread_id, await begin(service, thread_id)), (thread_id, await begin(service, thread_id))])
    assert await active(service) == expected
    assert await active(service, min_age_seconds=60) == []
    assert await active(service, after_thread_id=expected[1][0]) == expected[2:]
    page = await service.threads.ListActiveRuns(pb.ListActiveRunsRequest(limit=3))
    assert [(run.thread_id, run.run_id) for run in page.active_runs] == expected[:4], "whole threads"
    await service.sql.execute(
        "UPDATE threads.thread SET active_since[1] = now() - interval '2 minutes' WHERE thread_id = $1", expected[0][0]
    )
    assert [thread_id for thread_id, _ in await active(service, min_age_seconds=60)] == [expected[0][0]]
