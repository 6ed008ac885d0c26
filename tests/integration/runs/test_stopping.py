"""A replica that is told to stop sends everybody elsewhere at once, instead of being silent until it is gone."""

import asyncio

import grpc
import pytest
from threadmill_protos.runs.v1 import executors_pb2_grpc, runs_pb2, runs_pb2_grpc


async def stop(system):
    await system.stops[0]()


async def waiting_run(system):
    """A run that nobody executes."""
    await (await system.executor().attach()).detach()
    return await system.create(await system.thread())


async def _last(call):
    """Reads on to the end of the stream."""
    while await call.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("how", ["stream", "wait", "thread"])
async def test_streams_end_as_those_of_a_replica_that_is_gone(system, how):
    run = await waiting_run(system)
    if how == "thread":
        wanted = runs_pb2.StreamThreadRequest(thread_id=run.thread_id, stream_modes=["state_update"])
        call = system.runs.StreamThread(wanted)
        first = asyncio.create_task(call.read())
        update = runs_pb2.PublishStateUpdateRequest(thread_id=run.thread_id, state_json=b"{}")
        while not first.done():
            await system.runs.PublishStateUpdate(update)
    else:
        call = system.wait(run.run_id) if how == "wait" else system.stream(run.run_id)
        await call.read()
    await stop(system)
    reading = asyncio.create_task(_last(call))
    async with asyncio.timeout(2):
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await reading
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await system.run_state(run.run_id) == "pending", "nobody left"


async def test_executors_go_to_another_replica_with_their_runs(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    channel = await system.start_replica()
    await stop(system)
    async with asyncio.timeout(2):
        assert await executor.call.code() is grpc.StatusCode.OK
    again = await system.executor(
        executor_id=executor.executor_id, stub=executors_pb2_grpc.ExecutorsStub(channel)
    ).attach(assignment.fence)
    await again.finish(assignment, ("values", {"n": 1}), values_json=b"{}")
    elsewhere = runs_pb2_grpc.RunsStub(channel)
    ended = await elsewhere.GetRun(runs_pb2.GetRunRequest(run=runs_pb2.RunRef(run_id=run.run_id)))
    assert ended.state == runs_pb2.RUN_STATE_SUCCESS
    assert ended.attempt == 1
