"""Runs and updates that go on from a checkpoint which is deleted after they have read it."""

import operator
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import pytest
from langchain_core.messages import HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2
from threadmill_runs.executor.checkpoints.errors import CheckpointDeleted
from threadmill_runs.executor.checkpoints.saver import GrpcSaver

IDLE = threads_pb2.RunEnd(resting=threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_IDLE, values_json=b"{}"))
LARGE = [HumanMessage(f"{number} " * 100, id=str(number)) for number in range(100)]


class State(TypedDict):
    log: Annotated[list[str], operator.add]
    kept: list[HumanMessage]
    note: str


class Deleting:
    """A checkpoints stub that keeps the writes on their way to the real one; `before` happens before the next."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.writes: list[checkpoints_pb2.WriteCheckpointsRequest] = []
        self.before: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    async def WriteCheckpoints(self, request: Any, **options: Any) -> Any:  # noqa: N802 - gRPC's name
        before, self.before = self.before, None
        if before is not None:
            await self._stub.PruneCheckpoints(before)
        copy = checkpoints_pb2.WriteCheckpointsRequest()
        copy.CopyFrom(request)
        self.writes.append(copy)
        return await self._stub.WriteCheckpoints(request, **options)


@pytest.fixture
def stub(threads_service: Any) -> Deleting:
    return Deleting(threads_service.checkpoints)


def graph(saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("a", lambda state: {"log": ["a"]})
    builder.add_node("b", lambda state: {"log": ["b"]})
    for edge in ((START, "a"), ("a", "b"), ("b", END)):
        builder.add_edge(*edge)
    return builder.compile(checkpointer=saver)


async def begin(service: Any, thread_id: str) -> common_pb2.Fence:
    run_id = str(uuid4())
    request = threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id, create_if_missing=True)
    await service.threads.BeginRun(request)
    return common_pb2.Fence(run_id=run_id, token=1)


@pytest.fixture
async def thread(threads_service: Any) -> tuple[str, Any]:
    """A thread that a run has been through, with a value that only its input carries, and the config of its step 0."""
    thread_id = str(uuid4())
    await threads_service.threads.CreateThread(threads_pb2.CreateThreadRequest(thread_id=thread_id))
    outside = graph(GrpcSaver(threads_service.checkpoints, threads_service.control_loop))
    config: Any = {"configurable": {"thread_id": thread_id}}
    await outside.ainvoke({"log": ["in"], "kept": LARGE}, config)
    (start,) = [each.config async for each in outside.aget_state_history(config) if each.metadata["step"] == 0]
    return thread_id, start


@pytest.mark.parametrize("delete_all", [False, True])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("graph_input", [None, {"note": "n"}])
async def test_a_run_from_a_deleted_checkpoint_stores_all_of_its_state(
    threads_service: Any, stub: Deleting, thread: Any, durability: str, graph_input: Any, delete_all: bool
) -> None:
    thread_id, start = thread
    fence = await begin(threads_service, thread_id)
    saver = GrpcSaver(stub, threads_service.control_loop, fence=fence, thread_id=thread_id, waits=durability == "sync")
    stub.before = checkpoints_pb2.PruneCheckpointsRequest(thread_ids=[thread_id], delete_all=delete_all)
    result = await graph(saver).ainvoke(graph_input, start, durability=durability)
    assert await saver.end(thread_id, IDLE)
    assert stub.writes[0].chunk_epoch
    fresh = graph(GrpcSaver(threads_service.checkpoints, threads_service.control_loop))
    found = await fresh.aget_state({"configurable": {"thread_id": thread_id}})
    assert found.values == result
    assert (found.values["kept"], found.next) == (LARGE, ())
    whole = [{"log", "kept"} <= each.values.keys() async for each in fresh.aget_state_history(found.config)]
    assert all(whole)


async def test_a_run_from_a_checkpoint_that_stays_is_never_looked_up(
    threads_service: Any, stub: Deleting, thread: Any
) -> None:
    """Every write of it names the epoch, and none is repeated."""
    thread_id, start = thread
    fence = await begin(threads_service, thread_id)
    saver = GrpcSaver(stub, threads_service.control_loop, fence=fence, thread_id=thread_id)
    await graph(saver).ainvoke(None, start, durability="sync")
    puts = [[op.put.metadata_json for op in request.ops if op.HasField("put")] for request in stub.writes]
    assert all(request.chunk_epoch for request, put in zip(stub.writes, puts, strict=True) if put)
    assert sum(map(len, puts)) == len({each for put in puts for each in put}) == 3


async def test_a_run_that_is_pruned_goes_on_from_what_stays(threads_service: Any, stub: Deleting, thread: Any) -> None:
    """It goes on from the newest checkpoint: nothing that it needs is deleted, and one call is repeated."""
    thread_id, _ = thread
    fence = await begin(threads_service, thread_id)
    saver = GrpcSaver(stub, threads_service.control_loop, fence=fence, thread_id=thread_id)
    stub.before = checkpoints_pb2.PruneCheckpointsRequest(thread_ids=[thread_id])
    await graph(saver).ainvoke({"log": ["more"]}, {"configurable": {"thread_id": thread_id}}, durability="sync")
    assert [bool(request.chunk_epoch) for request in stub.writes[:3]] == [True, False, True]
    found = await saver.aget_tuple({"configurable": {"thread_id": thread_id}})
    assert found is not None
    assert found.checkpoint["channel_values"]["log"] == ["in", "a", "b", "more", "a", "b"]


@pytest.mark.parametrize("waits", [True, False])
async def test_what_was_never_read_cannot_be_sent_again(
    threads_service: Any, stub: Deleting, thread: Any, waits: bool
) -> None:
    thread_id, start = thread
    fence = await begin(threads_service, thread_id)
    reader = GrpcSaver(threads_service.checkpoints, threads_service.control_loop)
    base = await reader.aget_tuple(start)
    assert base is not None
    saver = GrpcSaver(stub, threads_service.control_loop, fence=fence, thread_id=thread_id, waits=waits)
    stub.before = checkpoints_pb2.PruneCheckpointsRequest(thread_ids=[thread_id])
    checkpoint: Any = {**base.checkpoint, "id": empty_checkpoint()["id"]}

    async def write() -> None:
        await saver.aput(start, checkpoint, {"source": "fork"}, {})
        await saver.end(thread_id, IDLE)

    with pytest.raises(CheckpointDeleted):
        await write()
    request = threads_pb2.GetThreadRequest(thread_id=thread_id)
    assert (await threads_service.threads.GetThread(request)).state == threads_pb2.THREAD_STATE_BUSY
    latest: Any = {"configurable": {"thread_id": thread_id}}
    found, stored = await saver.aget_tuple(latest), await reader.aget_tuple(latest)
    assert found is not None
    assert found == stored


async def test_a_read_after_the_deletion_does_not_vouch_for_what_was_read_before(
    threads_service: Any, stub: Deleting, thread: Any
) -> None:
    thread_id, start = thread
    fence = await begin(threads_service, thread_id)
    saver = GrpcSaver(stub, threads_service.control_loop, fence=fence, thread_id=thread_id)
    base = await saver.aget_tuple(start)
    assert base is not None
    await threads_service.checkpoints.PruneCheckpoints(checkpoints_pb2.PruneCheckpointsRequest(thread_ids=[thread_id]))
    assert await saver.aget_tuple({"configurable": {"thread_id": thread_id}})
    checkpoint: Any = {**base.checkpoint, "id": empty_checkpoint()["id"]}
    config = await saver.aput(start, checkpoint, {"source": "fork"}, {})
    found = await GrpcSaver(threads_service.checkpoints, threads_service.control_loop).aget_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"].keys() == base.checkpoint["channel_values"].keys()
    assert [request.chunk_epoch for request in stub.writes] == [0, 0]


def extend(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(item for write in writes for item in write)]


class DeltaState(TypedDict):
    log: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=100)]


def delta_graph(saver: Any, node: Any) -> Any:
    builder = StateGraph(DeltaState)
    builder.add_node("a", node)
    builder.add_edge(START, "a")
    return builder.compile(checkpointer=saver)


async def test_delta_channels_are_never_cut_off_from_what_they_are_rebuilt_from(
    threads_service: Any, stub: Deleting
) -> None:
    """A branch begins with a snapshot, so it is whole. A run that loses its own last checkpoint cannot go on."""
    thread_id = str(uuid4())
    config: Any = {"configurable": {"thread_id": thread_id}}
    everything = checkpoints_pb2.PruneCheckpointsRequest(thread_ids=[thread_id], delete_all=True)

    async def deletes(state: DeltaState) -> Any:
        await threads_service.checkpoints.PruneCheckpoints(everything)
        return {"log": ["lost"]}

    outside = delta_graph(
        GrpcSaver(threads_service.checkpoints, threads_service.control_loop), lambda state: {"log": ["a"]}
    )
    for turn in ("one", "two", "three"):
        await outside.ainvoke({"log": [turn]}, config)
    history = [each async for each in outside.aget_state_history(config)]
    start = next(each for each in history if each.values["log"] == ["one", "a"])
    fence = await begin(threads_service, thread_id)
    saver = GrpcSaver(stub, threads_service.control_loop, fence=fence, thread_id=thread_id)
    stub.before = everything
    branch = delta_graph(saver, lambda state: {"log": ["b"]})
    await branch.ainvoke({"log": ["branch"]}, start.config, durability="sync")
    history = [each.values["log"] async for each in outside.aget_state_history(config)]
    assert history == [["one", "a", "branch", "b"], ["one", "a", "branch"], ["one", "a"]]
    with pytest.raises(CheckpointDeleted):
        await delta_graph(saver, deletes).ainvoke({"log": ["more"]}, config, durability="sync")
    assert [each async for each in outside.aget_state_history(config)] == []


async def test_pruning_keeps_what_an_interrupted_subgraph_goes_on_from(threads_service: Any) -> None:
    saver = GrpcSaver(threads_service.checkpoints, threads_service.control_loop)
    inner = StateGraph(State)
    inner.add_node("x", lambda state: {"log": ["x"]})
    inner.add_node("ask", lambda state: {"log": [interrupt("?")]})
    inner.add_edge(START, "x")
    inner.add_edge("x", "ask")
    builder = StateGraph(State)
    builder.add_node("sub", inner.compile())
    builder.add_edge(START, "sub")
    outer = builder.compile(checkpointer=saver)
    thread_id = str(uuid4())
    config: Any = {"configurable": {"thread_id": thread_id}}

    async def pruned() -> list[str]:
        await saver.aprune([thread_id])
        return [each.config["configurable"]["checkpoint_ns"].split(":")[0] async for each in saver.alist(config)]

    for _ in range(2):
        await outer.ainvoke({"log": ["in"]}, config)
        before = await outer.aget_state(config, subgraphs=True)
        assert sorted(await pruned()) == ["", "sub"]
        assert await outer.aget_state(config, subgraphs=True) == before
        result = await outer.ainvoke(Command(resume="yes"), config)
        assert result["log"][-1] == "yes"
        assert await pruned() == [""]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_run_from_a_checkpoint_that_never_was_begins_empty(
    threads_service: Any, stub: Deleting, durability: str
) -> None:
    """As on the reference server; nothing was read, so nothing can be lost."""
    thread_id = str(uuid4())
    fence = await begin(threads_service, thread_id)
    saver = GrpcSaver(stub, threads_service.control_loop, fence=fence, thread_id=thread_id)
    outside = delta_graph(
        GrpcSaver(threads_service.checkpoints, threads_service.control_loop), lambda state: {"log": ["a"]}
    )
    config: Any = {"configurable": {"thread_id": thread_id}}
    unknown: Any = {"configurable": {"thread_id": thread_id, "checkpoint_id": empty_checkpoint()["id"]}}
    await delta_graph(saver, lambda state: {"log": ["b"]}).ainvoke({"log": ["in"]}, unknown, durability=durability)
    assert (await outside.aget_state(config)).values == {"log": ["in", "b"]}
