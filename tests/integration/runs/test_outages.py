"""How long a create waits for what is down: long enough for a restart, not longer."""

import asyncio

import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_runs.api import watching as watching_module
from threadmill_runs.api import wiring


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()


async def test_threads_is_down(start_system, tmp_path):
    system = await start_system(threads_address=f"unix:{tmp_path}/nobody")
    await system.executor().attach()
    async with asyncio.timeout(10):
        assert await refusal(system.create(await system.thread())) is grpc.StatusCode.UNAVAILABLE


async def test_the_database_has_no_connection_left(start_system, monkeypatch):
    monkeypatch.setattr(wiring, "CLIENT_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(watching_module, "PATIENCE_SECONDS", 0.2)
    system = await start_system(postgres_pool_max=1)
    await system.executor().attach()
    await system.create(await system.thread())  # what assistants need no query for any more
    threads = [await system.thread() for _ in range(3)]
    async with asyncio.timeout(10), system.sql.transaction():
        await system.sql.execute("LOCK TABLE runs.run IN SHARE ROW EXCLUSIVE MODE")
        creates = [asyncio.create_task(outcome(system.create(thread_id))) for thread_id in threads]
        _, waiting = await asyncio.wait(creates, timeout=5)
    codes = [await create for create in creates]
    # One statement has the only connection and waits for the lock: a create's, or one of the background duties'.
    assert len(waiting) <= 1
    assert sorted(codes, key=str) == [None] * len(waiting) + [grpc.StatusCode.UNAVAILABLE] * (3 - len(waiting))


async def outcome(call):
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


async def test_a_redis_that_hangs_keeps_no_new_run_from_beginning(start_system, monkeypatch):
    monkeypatch.setattr(watching_module, "REDIS_SECONDS", 0.2)
    system = await start_system(redis_timeout_seconds=0.3)
    executor = await system.executor().attach()
    await executor.finish(await assignment_of(system, executor))
    thread_id = await system.thread()
    await system.redis.execute_command("CLIENT", "PAUSE", "1500", "ALL")
    call = system.runs.StreamRun(
        runs_pb2.StreamRunRequest(create=system.request(thread_id, after_seconds=0.01))  # not claimed by its insert
    )
    async with asyncio.timeout(1.2):
        await call.read()
        assignment = await executor.assignment()
    await executor.finish(assignment, ("values", {"n": 1}), values_json=b"{}")
    names = [name for name, _ in await system.collect(call)]
    assert names == ["metadata", "values"], "though the dispatcher could not write the first"


async def assignment_of(system, executor):
    await system.create(await system.thread())
    return await executor.assignment()


async def test_a_batch_is_created_whole_or_not_at_all(start_system):
    system = await start_system()
    good = system.request("")
    bad = system.request("", assistant_id="nope")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await system.runs.CreateRuns(runs_pb2.CreateRunsRequest(runs=[good, bad]))
    assert reason_of(refused.value) == "INVALID_ASSISTANT"
    assert await system.sql.fetchval("SELECT count(*) FROM runs.run") == 0
