"""What GrpcSaver promises beyond the suite: fence, closing, read-your-writes, blocking calls, deltas."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import threads_pb2
from threadmill_runs.executor.checkpoints.errors import LeaseLost, SaverClosed
from threadmill_runs.executor.checkpoints.saver import GrpcSaver


def config_for(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}, "metadata": {"run_id": "r"}}


def fresh(number: int) -> Any:
    return {**empty_checkpoint(), "channel_values": {"n": number}, "channel_versions": {"n": f"{number:032d}.x"}}


async def put(saver: GrpcSaver, thread_id: str, number: int = 1) -> Any:
    checkpoint = fresh(number)
    metadata: Any = {"source": "loop", "step": number, "parents": {}}
    return await saver.aput(config_for(thread_id), checkpoint, metadata, checkpoint["channel_versions"])


async def begin(service: Any, thread_id: str) -> None:
    request = threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=str(uuid4()), create_if_missing=True)
    await service.threads.BeginRun(request)


def fence(token: int) -> common_pb2.Fence:
    return common_pb2.Fence(run_id=str(uuid4()), token=token)


async def test_a_stale_fence_loses_the_lease_for_good_and_says_so_once(threads_service: Any) -> None:
    thread_id, lost = str(uuid4()), list[str]()
    await begin(threads_service, thread_id)
    loop, stub = threads_service.control_loop, threads_service.checkpoints
    old = GrpcSaver(stub, loop, fence=fence(1), on_fenced=lambda: lost.append("old"))
    new = GrpcSaver(stub, loop, fence=fence(2))
    await put(old, thread_id, 1)
    assert (await new.aget_tuple(config_for(thread_id))) is not None
    with pytest.raises(LeaseLost):
        await put(old, thread_id, 2)
    with pytest.raises(LeaseLost):
        await put(old, thread_id, 3)
    with pytest.raises(LeaseLost):
        await old.aget_tuple(config_for(thread_id))
    await put(new, thread_id, 4)
    assert lost == ["old"]


async def test_a_closed_saver_writes_nothing(threads_service: Any) -> None:
    thread_id = str(uuid4())
    saver = GrpcSaver(threads_service.checkpoints, threads_service.control_loop)
    saver.close()
    with pytest.raises(SaverClosed):
        await put(saver, thread_id)
    assert await saver.aget_tuple(config_for(thread_id)) is None


async def test_reads_see_earlier_writes_that_nobody_awaited(threads_service: Any, user_thread: Any) -> None:
    saver = GrpcSaver(threads_service.checkpoints, threads_service.control_loop)
    thread_id = str(uuid4())

    async def write_then_read() -> list[int]:
        writes = [asyncio.ensure_future(put(saver, thread_id, number)) for number in range(20)]
        await asyncio.sleep(0)  # the tasks have queued their writes, none is answered
        seen = [stored.metadata["step"] async for stored in saver.alist(config_for(thread_id))]
        await asyncio.gather(*writes)
        return sorted(seen)

    assert await user_thread.run(write_then_read()) == list(range(20))


async def test_blocking_methods_work_from_threads_and_refuse_the_control_loop(threads_service: Any) -> None:
    saver = GrpcSaver(threads_service.checkpoints, threads_service.control_loop)
    thread_id, checkpoint = str(uuid4()), fresh(1)
    config, metadata = config_for(thread_id), {"source": "loop", "step": 1, "parents": {}}

    def use() -> Sequence[Any]:
        stored = saver.put(config, checkpoint, metadata, checkpoint["channel_versions"])  # type: ignore[arg-type]
        saver.put_writes(stored, [("n", 5)], "task", "path")
        (listed,) = saver.list(config)
        found = saver.get_tuple(stored)
        assert found is not None
        saver.copy_thread(thread_id, copy := str(uuid4()))
        copied = saver.get_tuple(config_for(copy))
        saver.prune([copy])
        saver.delete_for_runs([])
        saver.delete_thread(thread_id)
        assert saver.get_tuple(config) is None
        return [found.checkpoint, listed.pending_writes, copied.checkpoint if copied else None]

    assert await asyncio.to_thread(use) == [checkpoint, [("task", "n", 5)], checkpoint]
    with pytest.raises(RuntimeError, match="control loop"):
        saver.get_tuple(config)
    with pytest.raises(RuntimeError, match="control loop"):
        saver.put_writes(config, [], "task")


async def test_a_sync_and_an_async_graph_run_and_resume(threads_service: Any, user_thread: Any) -> None:
    class State(TypedDict):
        log: Annotated[list[str], lambda left, right: left + right]

    def ask(state: State) -> dict[str, Any]:
        return {"log": [interrupt("?")]}

    from langgraph.types import Command

    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", END)
    graph = builder.compile(checkpointer=GrpcSaver(threads_service.checkpoints, threads_service.control_loop))
    config: Any = {"configurable": {"thread_id": str(uuid4())}}
    await user_thread.run(graph.ainvoke({"log": ["in"]}, config))
    assert await user_thread.run(graph.ainvoke(Command(resume="yes"), config)) == {"log": ["in", "yes"]}
    config = {"configurable": {"thread_id": str(uuid4())}}
    await asyncio.to_thread(lambda: graph.invoke({"log": ["in"]}, config))
    assert await asyncio.to_thread(lambda: graph.invoke(Command(resume="no"), config)) == {"log": ["in", "no"]}


async def test_delta_channels_rebuild_their_value_over_many_steps(threads_service: Any, user_thread: Any) -> None:
    from langgraph.channels import DeltaChannel

    def extend(state: list[str], writes: Sequence[list[str]]) -> list[str]:
        return [*state, *(item for write in writes for item in write)]

    class State(TypedDict):
        log: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3)]

    builder = StateGraph(State)
    builder.add_node("a", lambda state: {"log": [f"a{len(state['log'])}"]})
    builder.add_edge(START, "a")
    graph = builder.compile(checkpointer=GrpcSaver(threads_service.checkpoints, threads_service.control_loop))
    config: Any = {"configurable": {"thread_id": str(uuid4())}}
    for turn in range(5):
        await user_thread.run(graph.ainvoke({"log": [f"in{turn}"]}, config))
    state = await user_thread.run(graph.aget_state(config))
    assert state.values["log"] == ["in0", "a1", "in1", "a3", "in2", "a5", "in3", "a7", "in4", "a9"]
    assert (await asyncio.to_thread(graph.get_state, config)).values == state.values
