"""Deleting runs in every state: nothing executes on, nobody waits in vain, no thread stays busy."""

import asyncio

import grpc
import pytest
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import runs_pb2


def delete(system, run):
    ref = runs_pb2.RunRef(run_id=run.run_id, thread_id=run.thread_id)
    return system.runs.DeleteRun(runs_pb2.DeleteRunRequest(run=ref))


async def test_a_running_run_is_stopped(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    stream, waiting = system.stream(run.run_id), system.wait(run.run_id)
    await stream.read()
    await waiting.read()
    async with executor.reporting(assignment) as report:
        await report.send(("values", {"in": "time"}))
        await delete(system, run)
        assert await executor.expect("lease_lost") == assignment.fence
        assert await system.graph_events(stream) == [("values", {"in": "time"})]
        assert (await waiting.read()).outcome.state == runs_pb2.RUN_STATE_INTERRUPTED
        assert await system.thread_state(run.thread_id) == "idle"
        with pytest.raises(grpc.aio.AioRpcError) as fenced:
            await report.send(("values", {"too": "late"}))
        assert reason_of(fenced.value) == "FENCED"
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await delete(system, run)
    assert reason_of(gone.value) == "RUN_NOT_FOUND"


async def test_deleting_a_pending_run_does_not_touch_the_one_that_runs(system):
    executor = await system.executor().attach()
    running = await system.create(await system.thread())
    assignment = await executor.assignment()
    pending = await system.create(running.thread_id)
    waiting = system.wait(pending.run_id)
    await waiting.read()
    async with executor.reporting(assignment) as report:
        await report.send(("values", {"n": 1}))
        await delete(system, pending)
        async with asyncio.timeout(3):
            await waiting.read()
        await report.send(("values", {"n": 2}))
    fence = await system.threads_sql.fetchval("SELECT fence FROM threads.thread")
    assert fence <= assignment.fence.token, "its checkpoints are still accepted"
    await executor.finish(assignment, values_json=b"{}")
    assert await system.run_state(running.run_id) == "success"
    assert await system.thread_state(running.thread_id) == "idle"


async def test_a_delayed_run_frees_its_thread(system):
    await system.executor().attach()
    run = await system.create(await system.thread(), after_seconds=60)
    assert await system.thread_state(run.thread_id) == "busy"
    await delete(system, run)
    assert await system.thread_state(run.thread_id) == "idle"


async def test_an_ended_run_can_be_deleted(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    await executor.finish(await executor.assignment(), values_json=b'{"a":1}')
    await delete(system, run)
    assert await system.thread_state(run.thread_id) == "idle"


async def test_a_run_of_another_thread_is_not_found(system):
    await system.executor().attach()
    run = await system.create(await system.thread())
    wrong = runs_pb2.RunRef(run_id=run.run_id, thread_id=await system.thread())
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await system.runs.DeleteRun(runs_pb2.DeleteRunRequest(run=wrong))
    assert reason_of(missing.value) == "RUN_NOT_FOUND"


async def test_delete_thread_runs(system):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    runs = [await system.create(thread_id) for _ in range(3)]
    kept = await system.create(await system.thread())
    assignments = {each.fence.run_id: each for each in [await executor.assignment(), await executor.assignment()]}
    streams = [system.stream(run.run_id) for run in runs]
    for stream in streams:
        await stream.read()
    await system.runs.DeleteThreadRuns(runs_pb2.DeleteThreadRunsRequest(thread_id=thread_id))
    assert await executor.expect("lease_lost") == assignments[runs[0].run_id].fence
    async with asyncio.timeout(9):
        for stream in streams:
            assert all(name == "metadata" for name, _ in await system.collect(stream))
    assert await system.sql.fetch("SELECT run_id::text FROM runs.run") == [(kept.run_id,)]
    assert await system.thread_state(thread_id) == "idle"
    await executor.finish(assignments[kept.run_id], values_json=b"{}")
