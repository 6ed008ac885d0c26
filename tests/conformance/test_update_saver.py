"""UpdateSaver: what an update has written, and nobody else can see yet, reads back as if it were stored."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import uuid4

import pytest
from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import StateUpdate
from threadmill_protos.threads.v1 import threads_pb2
from threadmill_runs.executor.checkpoints.saver import GrpcSaver
from threadmill_runs.executor.checkpoints.update_saver import UpdateSaver
from typing_extensions import TypedDict

RESTING = threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_IDLE)


def extend(state: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*state, *(item for write in writes for item in write)]


class State(TypedDict):
    log: Annotated[list[str], DeltaChannel(extend, snapshot_frequency=3)]
    plain: str


def graph(saver: GrpcSaver) -> Any:
    builder = StateGraph(State)
    builder.add_node("a", lambda state: {"log": [f"a{len(state['log'])}"]})
    builder.add_edge(START, "a")
    return builder.compile(checkpointer=saver)


@pytest.fixture
async def config(threads_service: Any) -> Any:
    created = await threads_service.threads.CreateThread(threads_pb2.CreateThreadRequest())
    return {"configurable": {"thread_id": created.thread_id, "checkpoint_ns": ""}}


async def test_staged_and_stored_states_are_the_same(threads_service: Any, user_thread: Any, config: Any) -> None:
    stub, loop = threads_service.checkpoints, threads_service.control_loop
    stored = graph(GrpcSaver(stub, loop))
    await user_thread.run(stored.ainvoke({"log": ["in"], "plain": "p"}, config))
    saver = UpdateSaver(stub, loop)
    updating = graph(saver)
    supersteps = [[StateUpdate({"log": [str(n)]}, "a")] for n in range(7)]
    last = await user_thread.run(updating.abulk_update_state(config, supersteps))
    staged = await user_thread.run(updating.aget_state(config))
    assert staged.values == {"log": ["in", "a1", *"0123456"], "plain": "p"}
    assert staged.config["configurable"]["checkpoint_id"] == last["configurable"]["checkpoint_id"]
    assert len((await user_thread.run(stored.aget_state(config))).values["log"]) == 2, "nobody else sees it yet"
    by_id = await user_thread.run(updating.aget_state(last))
    await user_thread.run(saver.commit(config["configurable"]["thread_id"], RESTING))
    assert await user_thread.run(stored.aget_state(config)) == staged == by_id


async def test_a_commit_on_a_thread_that_is_gone_is_refused(
    threads_service: Any, user_thread: Any, config: Any
) -> None:
    saver = UpdateSaver(threads_service.checkpoints, threads_service.control_loop)
    missing = {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ""}}
    await user_thread.run(graph(saver).aupdate_state(missing, {"plain": "x"}, "a"))
    with pytest.raises(Exception, match="not found"):
        await user_thread.run(saver.commit(missing["configurable"]["thread_id"], RESTING))
