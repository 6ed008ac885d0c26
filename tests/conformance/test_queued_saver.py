"""GrpcSaver for runs that do not wait for their checkpoints: what they see of them, and how they end."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import grpc
import pytest
from langgraph.graph import END, START, StateGraph
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2
from threadmill_runs.executor.checkpoints import write_queue
from threadmill_runs.executor.checkpoints.errors import LeaseLost
from threadmill_runs.executor.checkpoints.saver import GrpcSaver

IDLE = threads_pb2.RunEnd(resting=threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_IDLE, values_json=b"{}"))


class State(TypedDict):
    log: Annotated[list[str], operator.add]


class Recording:
    """A checkpoints stub that keeps what passes it on its way to the real one."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        def call(request: Any, **options: Any) -> Any:
            self.calls.append((name, request))
            return getattr(self._stub, name)(request, **options)

        return call

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@pytest.fixture(autouse=True)
def _linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent but for a reason."""
    monkeypatch.setattr(write_queue, "LINGER_SECONDS", 60)


@pytest.fixture
def stub(threads_service: Any) -> Recording:
    return Recording(threads_service.checkpoints)


@pytest.fixture
async def run(threads_service: Any) -> tuple[str, str]:
    """A run that is active on an empty thread, as (thread id, run id)."""
    thread_id, run_id = str(uuid4()), str(uuid4())
    request = threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id, create_if_missing=True)
    assert (await threads_service.threads.BeginRun(request)).is_empty
    return thread_id, run_id


def saver_of(service: Any, stub: Any, run: tuple[str, str], token: int = 1, **options: Any) -> GrpcSaver:
    fence = common_pb2.Fence(run_id=run[1], token=token)
    options = {"waits": False, "thread_is_empty": True, **options}
    return GrpcSaver(stub, service.control_loop, fence=fence, thread_id=run[0], **options)


def three_steps(saver: GrpcSaver, second: Any = None) -> Any:
    builder = StateGraph(State)
    builder.add_node("a", lambda state: {"log": ["a"]})
    builder.add_node("b", second or (lambda state: {"log": ["b"]}))
    builder.add_node("c", lambda state: {"log": ["c"]})
    for edge in ((START, "a"), ("a", "b"), ("b", "c"), ("c", END)):
        builder.add_edge(*edge)
    return builder.compile(checkpointer=saver)


def config(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id}}


async def stored(service: Any, thread_id: str) -> list[Any]:
    request = checkpoints_pb2.ListCheckpointsRequest(thread_id=thread_id)
    return [each async for each in service.checkpoints.ListCheckpoints(request)]


async def test_a_run_on_an_empty_thread_is_one_call(threads_service: Any, stub: Recording, run: Any) -> None:
    saver = saver_of(threads_service, stub, run)
    graph = three_steps(saver)
    await graph.ainvoke({"log": []}, config(run[0]), durability="async")
    assert stub.calls == []
    saver.graph_ended()
    state = await graph.aget_state(config(run[0]))
    assert (state.values, state.next) == ({"log": ["a", "b", "c"]}, ())
    assert await saver.end(run[0], IDLE)
    assert stub.names() == ["WriteCheckpoints"]
    fresh = three_steps(GrpcSaver(threads_service.checkpoints, threads_service.control_loop))
    assert (await fresh.aget_state(config(run[0]))).values == state.values
    assert [each.metadata["step"] async for each in fresh.aget_state_history(config(run[0]))] == [3, 2, 1, 0, -1]
    thread = await threads_service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=run[0]))
    assert thread.state == threads_pb2.THREAD_STATE_IDLE


async def test_a_node_that_reads_its_threads_state_sees_what_is_queued_and_makes_it_durable(
    threads_service: Any, stub: Recording, run: Any
) -> None:
    seen: list[Any] = []

    async def looks(state: State) -> Any:
        found = await graph.aget_state(config(run[0]))
        listed = [each.values async for each in graph.aget_state_history(config(run[0]))]
        seen.append((found.values, listed[0], len(await stored(threads_service, run[0]))))
        return {"log": ["b"]}

    graph = three_steps(saver_of(threads_service, stub, run), looks)
    await graph.ainvoke({"log": []}, config(run[0]), durability="async")
    assert seen == [({"log": ["a"]}, {"log": ["a"]}, 3)]


async def test_a_subgraph_with_state_of_its_own(threads_service: Any, stub: Recording, run: Any) -> None:
    saver = saver_of(threads_service, stub, run)
    inner = StateGraph(State)
    inner.add_node("x", lambda state: {"log": ["x"]})
    inner.add_edge(START, "x")
    graph = three_steps(saver, inner.compile(checkpointer=True))
    for turn in (1, 2):
        result = await graph.ainvoke({"log": []}, config(run[0]), durability="async")
        assert result["log"].count("x") >= turn
    await saver.settled()
    spaces = {each.checkpoint_ns for each in await stored(threads_service, run[0])}
    assert spaces == {"", "b"}


async def test_other_threads_are_not_taken_for_empty_nor_for_the_own(
    threads_service: Any, stub: Recording, run: Any
) -> None:
    other = str(uuid4())
    outside = three_steps(GrpcSaver(threads_service.checkpoints, threads_service.control_loop))
    await outside.ainvoke({"log": ["other"]}, config(other))
    graph = three_steps(saver_of(threads_service, stub, run))
    assert (await graph.aget_state(config(other))).values == {"log": ["other", "a", "b", "c"]}
    await graph.ainvoke({"log": []}, config(run[0]), durability="async")
    assert (await graph.aget_state(config(other))).values == {"log": ["other", "a", "b", "c"]}
    assert (await graph.aget_state(config(run[0]))).values == {"log": ["a", "b", "c"]}


async def test_a_lost_fence_shows_when_the_writes_settle(threads_service: Any, stub: Recording, run: Any) -> None:
    lost: list[bool] = []
    saver = saver_of(threads_service, stub, run, on_fenced=lambda: lost.append(True))
    graph = three_steps(saver)
    await graph.ainvoke({"log": []}, config(run[0]), durability="async")
    newer = GrpcSaver(
        threads_service.checkpoints, threads_service.control_loop, fence=common_pb2.Fence(run_id=run[1], token=2)
    )
    assert await newer.aget_tuple(config(run[0])) is None
    with pytest.raises(LeaseLost):
        await saver.end(run[0], IDLE)
    with pytest.raises(LeaseLost):
        await saver.settled()
    assert (lost, await stored(threads_service, run[0])) == ([True], [])


async def test_a_refused_write_shows_when_the_writes_settle_and_reads_tell_the_truth(
    threads_service: Any, stub: Recording, run: Any
) -> None:
    saver = saver_of(threads_service, stub, run)
    graph = three_steps(saver)
    await graph.ainvoke({"log": ["fine"]}, config(run[0]), durability="async")
    await saver.settled()
    refused: Any = {**(await saver.aget_tuple(config(run[0]))).checkpoint, "id": ""}  # threads wants an id
    await saver.aput({"configurable": {"thread_id": run[0], "checkpoint_ns": ""}}, refused, {}, {})
    with pytest.raises(grpc.aio.AioRpcError):
        await saver.settled()
    with pytest.raises(grpc.aio.AioRpcError):
        await graph.ainvoke({"log": ["more"]}, config(run[0]), durability="async")
    assert (await graph.aget_state(config(run[0]))).values == {"log": ["fine", "a", "b", "c"]}


async def test_the_next_attempt_learns_that_the_run_has_ended(threads_service: Any, stub: Recording, run: Any) -> None:
    saver = saver_of(threads_service, stub, run)
    await three_steps(saver).ainvoke({"log": []}, config(run[0]), durability="async")
    assert await saver.end(run[0], IDLE)
    again = saver_of(threads_service, stub, run, token=2, thread_is_empty=False)
    found = await again.aget_tuple(config(run[0]))
    assert (again.run_settled, found and found.metadata["step"]) == (True, 3)
    assert not saver.run_settled


async def test_sync_runs_wait_for_each_step(threads_service: Any, stub: Recording, run: Any) -> None:
    before: list[int] = []

    async def counts(state: State) -> Any:
        before.append(len(await stored(threads_service, run[0])))
        return {"log": ["b"]}

    saver = saver_of(threads_service, stub, run, waits=True)
    await three_steps(saver, counts).ainvoke({"log": []}, config(run[0]), durability="sync")
    assert before == [3]
    assert len(await stored(threads_service, run[0])) == 5


async def test_blocking_writes_do_not_wait_either(threads_service: Any, stub: Recording, run: Any) -> None:
    saver = saver_of(threads_service, stub, run)
    graph = three_steps(saver)
    await asyncio.to_thread(graph.invoke, {"log": []}, config(run[0]), durability="async")
    await saver.settled()
    assert len(await stored(threads_service, run[0])) == 5
