"""The Graphs service over gRPC, its states kept by the real threads service."""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.grpc_server import Registration, serving
from threadmill_chassis.settings import ProcessSettings
from threadmill_protos.runs.v1 import graphs_pb2, graphs_pb2_grpc
from threadmill_protos.threads.v1 import checkpoints_pb2, threads_pb2
from threadmill_runs.executor.checkpoints.saver import GrpcSaver
from threadmill_runs.executor.checkpoints.update_saver import UpdateSaver
from threadmill_runs.executor.encoding import decode, encode
from threadmill_runs.executor.graphs import views
from threadmill_runs.executor.graphs.config_file import read_config
from threadmill_runs.executor.graphs.introspection import schemas
from threadmill_runs.executor.graphs.registry import GraphRegistry
from threadmill_runs.executor.graphs.views import GraphsServicer

APP = """
import operator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict
from langgraph.graph import StateGraph, START, END
from langgraph.types import interrupt

accesses = []

class State(TypedDict):
    q: str
    log: Annotated[list[str], operator.add]

opened = []

@asynccontextmanager
async def hitl(runtime):
    accesses.append(runtime.access_context)
    opened.append("entered")
    try:
        yield build()
    finally:
        opened.append("left")

def build():
    builder = StateGraph(State)
    builder.add_node("prep", lambda state: {"log": ["prep"]})
    builder.add_node("ask", lambda state: {"log": [interrupt("?")]})
    builder.add_edge(START, "prep")
    builder.add_edge("prep", "ask")
    return builder

fixed = build().compile(name="fixed")

def refuses(config):
    raise LookupError("no key for " + config["configurable"]["user"])
"""


# Small, so that a few states are several pages.
PAGE_BYTES = 2000


class Counting:
    """A checkpoints stub that counts calls on their way to the real one."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._stub, name)


@pytest.fixture
def checkpoints(threads_service: Any) -> Counting:
    return Counting(threads_service.checkpoints)


@pytest.fixture
async def graphs(
    threads_service: Any, checkpoints: Any, user_thread: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """Stub of a Graphs service with the sample application."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "sample_views", raising=False)
    (tmp_path / "sample_views.py").write_text(APP)
    config = {
        "dependencies": ["."],
        "graphs": {name: f"./sample_views.py:{name}" for name in ("hitl", "refuses", "absent", "fixed")},
    }
    (tmp_path / "langgraph.json").write_text(json.dumps(config))

    def saver() -> GrpcSaver:
        return GrpcSaver(checkpoints, threads_service.control_loop, list_bytes=PAGE_BYTES)

    def update_saver() -> UpdateSaver:
        return UpdateSaver(checkpoints, threads_service.control_loop)

    registry = GraphRegistry.load(read_config(tmp_path / "langgraph.json"))
    servicer = GraphsServicer(registry, user_thread, saver, None, update_saver)
    settings = ProcessSettings(shutdown_grace_seconds=0.1)
    registration = Registration(
        graphs_pb2.DESCRIPTOR.services_by_name["Graphs"].full_name,
        lambda server: graphs_pb2_grpc.add_GraphsServicer_to_server(servicer, server),
    )
    address = f"unix:{tmp_path}/executor"
    async with serving(settings, address, [registration]), open_channel(settings, address) as channel:
        yield graphs_pb2_grpc.GraphsStub(channel)


@pytest.fixture
async def thread_id(threads_service: Any) -> str:
    """An idle thread."""
    return str((await threads_service.threads.CreateThread(threads_pb2.CreateThreadRequest())).thread_id)


HITL = graphs_pb2.GraphRequest(graph_id="hitl", config_json=b'{"configurable":{"k":1}}')


async def update(graphs: Any, thread_id: str, values: object, as_node: str = "", graph: Any = HITL) -> Any:
    request = graphs_pb2.UpdateStateRequest(
        graph=graph, thread_id=thread_id, values_json=encode(values), as_node=as_node
    )
    return decode((await graphs.UpdateState(request)).json)


async def state(graphs: Any, thread_id: str) -> Any:
    return decode((await graphs.GetState(graphs_pb2.GetStateRequest(graph=HITL, thread_id=thread_id))).json)


async def history(graphs: Any, thread_id: str, **options: Any) -> list[Any]:
    request = graphs_pb2.GetHistoryRequest(**{"graph": HITL, "thread_id": thread_id, "limit": 10, **options})
    return [decode(item) async for part in graphs.GetHistory(request) for item in part.states_json]


async def test_an_update_is_written_and_the_thread_rests_in_it(
    graphs: Any, threads_service: Any, thread_id: str
) -> None:
    answer = await update(graphs, thread_id, {"q": "x", "log": ["hand"]}, "prep")
    found = await state(graphs, thread_id)
    assert found["checkpoint"]["checkpoint_id"] == answer["checkpoint_id"]
    assert found["metadata"] | {"graph_id": "hitl", "thread_id": thread_id} == found["metadata"]
    assert (found["metadata"]["source"], found["next"]) == ("update", ["ask"])
    thread = await threads_service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert thread.state == threads_pb2.THREAD_STATE_INTERRUPTED
    assert (decode(thread.values_json), thread.interrupts_json, thread.error_json) == (found["values"], b"{}", b"null")
    await update(graphs, thread_id, None, "__end__")
    thread = await threads_service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert thread.state == threads_pb2.THREAD_STATE_IDLE


async def test_the_latest_state_takes_one_call(graphs: Any, checkpoints: Counting, thread_id: str) -> None:
    await update(graphs, thread_id, {"q": "x"})
    checkpoints.calls.clear()
    await state(graphs, thread_id)
    assert checkpoints.calls == ["GetCheckpoint"]


async def named_thread(threads_service: Any, metadata: object, config: object = None) -> str:
    """A thread that says how it is to be read: a run has left the config of its assistant there."""
    made = await threads_service.threads.CreateThread(threads_pb2.CreateThreadRequest(metadata_json=encode(metadata)))
    run = {"thread_id": made.thread_id, "run_id": str(uuid4())}
    await threads_service.threads.BeginRun(
        threads_pb2.BeginRunRequest(**run, config_defaults_json=encode(config or {}))
    )
    ended = {"run_id": run["run_id"], "token": 1}
    await threads_service.threads.EndRun(threads_pb2.EndRunRequest(thread_id=made.thread_id, fence=ended))
    return str(made.thread_id)


async def read(graphs: Any, thread_id: str, **fields: Any) -> bytes:
    """What GetState answers when the thread is to name the graph."""
    found: bytes = (await graphs.GetState(graphs_pb2.GetStateRequest(thread_id=thread_id, **fields))).json
    return found


async def test_a_thread_names_its_graph_in_the_call_that_reads_its_state(
    graphs: Any, checkpoints: Counting, threads_service: Any
) -> None:
    thread_id = await named_thread(threads_service, {"graph_id": "hitl"})
    await update(graphs, thread_id, {"q": "x", "log": ["hand"]}, "prep")
    checkpoints.calls.clear()
    found = decode(await read(graphs, thread_id))
    assert checkpoints.calls == ["GetCheckpoint"]
    assert found == await state(graphs, thread_id)
    past = await history(graphs, thread_id)
    reference = {"checkpoint_id": past[-1]["checkpoint"]["checkpoint_id"]}
    checkpoints.calls.clear()
    assert decode(await read(graphs, thread_id, checkpoint_json=encode(reference))) == past[-1]
    assert checkpoints.calls == ["GetCheckpoint"]


async def test_a_thread_without_a_graph_has_no_state_and_a_missing_one_is_none(
    graphs: Any, threads_service: Any
) -> None:
    for metadata in ({}, {"graph_id": ""}, {"graph_id": 5}):
        assert await read(graphs, await named_thread(threads_service, metadata)) == b""
    gone = await named_thread(threads_service, {"graph_id": "gone"})
    assert (await refusal(read(graphs, gone)))[:2] == (grpc.StatusCode.NOT_FOUND, "GRAPH_NOT_FOUND")
    missing = await refusal(read(graphs, str(uuid4())))
    assert missing[:2] == (grpc.StatusCode.NOT_FOUND, "THREAD_NOT_FOUND")


async def test_the_config_of_a_threads_runs_reaches_its_factory_without_their_checkpoint(
    graphs: Any, threads_service: Any
) -> None:
    configurable = {"user": "ada", "checkpoint_id": "1f0a9d9e-0000-6000-8000-000000000000", "checkpoint_ns": "x:1"}
    thread_id = await named_thread(threads_service, {"graph_id": "refuses"}, {"configurable": configurable})
    assert "no key for ada" in str(await refusal(read(graphs, thread_id)))
    plain = await named_thread(threads_service, {"graph_id": "hitl"}, {"configurable": configurable})
    await update(graphs, plain, {"q": "x"})
    assert decode(await read(graphs, plain))["values"]["q"] == "x", "the state is the latest"


async def test_factories_learn_what_they_are_called_for(graphs: Any, thread_id: str) -> None:
    await update(graphs, thread_id, {"q": "x"})
    await state(graphs, thread_id)
    await graphs.GetGraphSchemas(HITL)
    assert sys.modules["sample_views"].accesses == ["threads.update", "threads.read", "threads.read", "assistants.read"]


async def test_history_and_bulk_update(graphs: Any, thread_id: str) -> None:
    document = [
        {"updates": [{"values": {"q": "x"}, "as_node": "__input__"}]},
        {"updates": [{"values": {"q": "x"}, "as_node": "__start__"}]},
        {"updates": [{"values": {"log": ["a"]}, "as_node": "prep"}]},
    ]
    request = graphs_pb2.BulkUpdateStateRequest(graph=HITL, thread_id=thread_id, supersteps_json=encode(document))
    latest = decode((await graphs.BulkUpdateState(request)).json)["checkpoint_id"]

    async def steps(**options: Any) -> list[int]:
        return [item["metadata"]["step"] for item in await history(graphs, thread_id, **options)]

    assert await steps() == [1, 0, -1]
    assert await steps(limit=1) == [1]
    assert await steps(before_json=encode({"checkpoint_id": latest})) == [0, -1]
    assert await steps(metadata_json=b'{"source":"input"}') == [-1]
    assert await steps(checkpoint_json=encode({"checkpoint_id": latest})) == [1]


async def many_states(graphs: Any, thread_id: str, count: int, size: int) -> None:
    document = [{"updates": [{"values": {"q": "x" * size, "log": [str(n)]}, "as_node": "prep"}]} for n in range(count)]
    request = graphs_pb2.BulkUpdateStateRequest(graph=HITL, thread_id=thread_id, supersteps_json=encode(document))
    await graphs.BulkUpdateState(request)


async def test_a_history_is_read_as_far_as_it_is_asked_for(graphs: Any, checkpoints: Counting, thread_id: str) -> None:
    await many_states(graphs, thread_id, 30, PAGE_BYTES)
    checkpoints.calls.clear()
    assert len(await history(graphs, thread_id, limit=3)) == 3
    assert checkpoints.calls == ["ListCheckpoints"] * 3  # each state fills a page
    whole = await history(graphs, thread_id, limit=1000)
    assert [len(state["values"]["log"]) for state in whole] == list(range(30, 0, -1))
    checkpoints.calls.clear()
    latest = encode({"checkpoint_id": whole[4]["checkpoint_id"]})
    assert await history(graphs, thread_id, limit=1000, checkpoint_json=latest) == [whole[4]]
    assert await history(graphs, thread_id, before_json=latest, limit=2) == whole[5:7]
    assert checkpoints.calls == ["ListCheckpoints"] * 3


async def test_small_states_share_a_page(graphs: Any, checkpoints: Counting, thread_id: str) -> None:
    await many_states(graphs, thread_id, 4, 1)
    checkpoints.calls.clear()
    request = graphs_pb2.GetHistoryRequest(graph=HITL, thread_id=thread_id, limit=3)
    parts = [len(part.states_json) async for part in graphs.GetHistory(request)]
    assert (sum(parts), len(parts)) == (3, len(checkpoints.calls))
    assert len(parts) < 3


async def test_who_stops_reading_a_history_ends_it(graphs: Any, checkpoints: Counting, thread_id: str) -> None:
    await many_states(graphs, thread_id, 30, PAGE_BYTES * 50)
    opened = sys.modules["sample_views"].opened
    checkpoints.calls.clear()
    call = graphs.GetHistory(graphs_pb2.GetHistoryRequest(graph=HITL, thread_id=thread_id, limit=1000))
    await call.read()
    assert opened.count("entered") - opened.count("left") == 1
    call.cancel()
    async with asyncio.timeout(10):
        while opened.count("entered") > opened.count("left"):  # noqa: ASYNC110 - on another loop
            await asyncio.sleep(0)
    assert len(checkpoints.calls) < 30


async def test_a_history_that_cannot_begin_says_why(graphs: Any, thread_id: str) -> None:
    gone = graphs_pb2.GraphRequest(graph_id="gone")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await history(graphs, thread_id, graph=gone)
    assert reason_of(caught.value) == "GRAPH_NOT_FOUND"
    refuses = graphs_pb2.GraphRequest(graph_id="refuses", config_json=b'{"configurable":{"user":"u"}}')
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await history(graphs, thread_id, graph=refuses)
    assert (reason_of(caught.value), caught.value.details()) == ("USER_ERROR", "no key for u")
    assert await history(graphs, thread_id) == []


async def test_an_update_is_one_read_and_one_write(graphs: Any, checkpoints: Counting, thread_id: str) -> None:
    await update(graphs, thread_id, {"q": "x", "log": ["a"]})
    document = [{"updates": [{"values": {"log": [str(n)]}, "as_node": "prep"}]} for n in range(5)]
    request = graphs_pb2.BulkUpdateStateRequest(graph=HITL, thread_id=thread_id, supersteps_json=encode(document))
    checkpoints.calls.clear()
    await graphs.BulkUpdateState(request)
    assert checkpoints.calls == ["GetCheckpoint", "WriteCheckpoints"]
    assert (await state(graphs, thread_id))["values"]["log"] == ["a", "0", "1", "2", "3", "4"]


async def test_of_supersteps_that_fail_halfway_nothing_stays(graphs: Any, threads_service: Any, thread_id: str) -> None:
    await update(graphs, thread_id, {"q": "x", "log": ["a"]})
    before = await state(graphs, thread_id)
    document = [
        {"updates": [{"values": {"log": ["b"]}, "as_node": "prep"}]},
        {"updates": [{"values": {"log": 5}, "as_node": "prep"}]},
    ]
    request = graphs_pb2.BulkUpdateStateRequest(graph=HITL, thread_id=thread_id, supersteps_json=encode(document))
    assert (await refusal(graphs.BulkUpdateState(request)))[1] == "USER_ERROR"
    assert await state(graphs, thread_id) == before
    thread = await threads_service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert decode(thread.values_json) == before["values"]


async def test_updates_at_once_come_one_after_the_other(graphs: Any, threads_service: Any, thread_id: str) -> None:
    await update(graphs, thread_id, {"q": "x", "log": []})
    await asyncio.gather(*(update(graphs, thread_id, {"log": [str(n)]}, "prep") for n in range(60)))
    found = await state(graphs, thread_id)
    assert sorted(found["values"]["log"]) == sorted(str(n) for n in range(60))
    thread = await threads_service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert decode(thread.values_json) == found["values"]


class RunBetween(Counting):
    """A run begins on the thread after the update has read its state and before it writes."""

    def __init__(self, stub: Any, threads: Any, *, ends: bool) -> None:
        super().__init__(stub)
        self._threads, self._ends = threads, ends
        self._done = False

    async def WriteCheckpoints(self, request: Any, **options: Any) -> Any:  # noqa: N802 - gRPC's name
        if not self._done:
            self._done = True
            run_id = str(uuid4())
            await self._threads.BeginRun(threads_pb2.BeginRunRequest(thread_id=request.thread_id, run_id=run_id))
            if self._ends:
                fence = {"run_id": run_id, "token": 1}
                await self._threads.EndRun(threads_pb2.EndRunRequest(thread_id=request.thread_id, fence=fence))
        return await self._stub.WriteCheckpoints(request, **options)


class TestRaces:
    """An update and a run: one after the other, never interleaved."""

    @pytest.fixture
    def ends(self) -> bool:
        return False

    @pytest.fixture
    def checkpoints(self, threads_service: Any, ends: bool) -> Counting:
        return RunBetween(threads_service.checkpoints, threads_service.threads, ends=ends)

    async def test_a_run_that_began_refuses_the_update(self, graphs: Any, thread_id: str) -> None:
        assert (await refusal(update(graphs, thread_id, {"q": "x"})))[1] == "THREAD_BUSY"
        assert (await state(graphs, thread_id))["checkpoint"] is None

    @pytest.mark.parametrize("ends", [True])
    async def test_after_a_run_the_update_starts_again(
        self, graphs: Any, checkpoints: Counting, thread_id: str
    ) -> None:
        await update(graphs, thread_id, {"q": "x"})
        assert checkpoints.calls == ["GetCheckpoint", "GetCheckpoint"]
        assert (await state(graphs, thread_id))["values"]["q"] == "x"


class PruneBetween(Counting):
    """The thread is pruned after the first update that has read its state, and before it writes, once armed."""

    armed = False

    async def WriteCheckpoints(self, request: Any, **options: Any) -> Any:  # noqa: N802 - gRPC's name
        if self.armed:
            self.armed = False
            pruning = checkpoints_pb2.PruneCheckpointsRequest(thread_ids=[request.thread_id])
            await self._stub.PruneCheckpoints(pruning)
        return await self._stub.WriteCheckpoints(request, **options)


class TestPruning:
    """An update and a deletion of checkpoints: what it was to be made on is gone, or still there."""

    @pytest.fixture
    def checkpoints(self, threads_service: Any) -> PruneBetween:
        return PruneBetween(threads_service.checkpoints)

    async def test_an_update_of_a_checkpoint_that_was_pruned_meanwhile_is_refused(
        self, graphs: Any, checkpoints: PruneBetween, thread_id: str
    ) -> None:
        old = await update(graphs, thread_id, {"q": "old", "log": ["1"]})
        await update(graphs, thread_id, {"q": "new"})
        before = await state(graphs, thread_id)
        request = graphs_pb2.UpdateStateRequest(
            graph=HITL,
            thread_id=thread_id,
            values_json=b'{"log":["x"]}',
            checkpoint_json=encode(old["checkpoint"]),
        )
        checkpoints.armed = True
        code, reason, _ = await refusal(graphs.UpdateState(request))
        assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "CHECKPOINT_NOT_FOUND")
        assert (await state(graphs, thread_id))["checkpoint"] == before["checkpoint"]

    async def test_an_update_of_the_latest_state_is_made_though_older_ones_are_pruned(
        self, graphs: Any, checkpoints: PruneBetween, thread_id: str
    ) -> None:
        await update(graphs, thread_id, {"q": "old", "log": ["1"]})
        await update(graphs, thread_id, {"q": "new"})
        checkpoints.armed = True
        await update(graphs, thread_id, {"log": ["2"]})
        assert (await state(graphs, thread_id))["values"] == {"q": "new", "log": ["1", "2"]}


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    error = refused.value
    return error.code(), reason_of(error), error.details() or ""


async def test_a_busy_thread_is_not_updated(graphs: Any, threads_service: Any, thread_id: str) -> None:
    await threads_service.threads.BeginRun(threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=str(uuid4())))
    code, reason, _ = await refusal(update(graphs, thread_id, {"q": "x"}))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "THREAD_BUSY")
    assert (await state(graphs, thread_id))["checkpoint"] is None


async def test_refusals(graphs: Any, thread_id: str) -> None:
    def other(graph_id: str) -> Any:
        return graphs_pb2.GraphRequest(graph_id=graph_id, config_json=b'{"configurable":{"user":"u"}}')

    not_found = (grpc.StatusCode.NOT_FOUND, "GRAPH_NOT_FOUND")
    failed = (grpc.StatusCode.FAILED_PRECONDITION, "GRAPH_FAILED")
    user_error = (grpc.StatusCode.INVALID_ARGUMENT, "USER_ERROR")
    expected = "Graph 'gone' not found. Expected one of: ['absent', 'fixed', 'hitl', 'refuses']"
    assert await refusal(graphs.GetGraphSchemas(other("gone"))) == (*not_found, expected)
    assert (await refusal(graphs.GetGraphSchemas(other("absent"))))[:2] == failed
    assert await refusal(graphs.GetGraphSchemas(other("refuses"))) == (*user_error, "no key for u")
    assert await refusal(update(graphs, thread_id, {}, "nonode")) == (*user_error, "Node nonode does not exist")
    assert (await refusal(update(graphs, thread_id, {"q": "x"}, "__end__")))[:2] == user_error
    await update(graphs, thread_id, {"log": ["a"]})
    assert (await refusal(update(graphs, thread_id, {"log": 5}, "prep")))[:2] == user_error
    bad = graphs_pb2.GetStateRequest(graph=HITL, thread_id=thread_id, checkpoint_json=b"[1]")
    assert (await refusal(graphs.GetState(bad)))[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


async def test_an_update_of_another_threads_checkpoint_is_refused(
    graphs: Any, threads_service: Any, thread_id: str
) -> None:
    other = (await threads_service.threads.CreateThread(threads_pb2.CreateThreadRequest())).thread_id
    theirs = await update(graphs, other, {"q": "theirs"})
    await update(graphs, thread_id, {"q": "mine"})
    before = await state(graphs, thread_id)
    request = graphs_pb2.UpdateStateRequest(
        graph=HITL,
        thread_id=thread_id,
        values_json=b'{"log":["x"]}',
        checkpoint_json=encode({"checkpoint_id": theirs["checkpoint_id"]}),
    )
    assert (await refusal(graphs.UpdateState(request)))[:2] == (grpc.StatusCode.NOT_FOUND, "CHECKPOINT_NOT_FOUND")
    assert await state(graphs, thread_id) == before


async def test_schemas_are_built_once_unless_a_factory_makes_the_graph(
    graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(views, "schemas", lambda graph: built.append(graph.name) or schemas(graph))
    answers = [
        await graphs.GetGraphSchemas(graphs_pb2.GraphRequest(graph_id=graph_id, config_json=config))
        for graph_id in ("fixed", "hitl")
        for config in (b'{"configurable":{"k":1}}', b'{"configurable":{"k":2}}')
    ]
    assert built == ["fixed", "hitl", "hitl"]
    assert [answer.any_config for answer in answers] == [True, True, False, False]
    assert answers[0].json == answers[1].json
    assert decode(answers[0].json)["graph_id"] == "fixed"


async def test_schemas_of_many_configs_leave_the_user_loop_alone(
    graphs: Any, user_thread: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(_: Any) -> dict[str, None]:
        begun.set()
        assert may_end.wait(10)
        return {}

    monkeypatch.setattr(views, "schemas", slow)
    answer = asyncio.ensure_future(graphs.GetGraphSchemas(HITL))
    await asyncio.to_thread(begun.wait, 10)
    assert await user_thread.run(asyncio.sleep(0, "free")) == "free"
    may_end.set()
    await answer


async def test_graphs_are_described_and_drawn(graphs: Any) -> None:
    described = await graphs.DescribeGraphs(graphs_pb2.DescribeGraphsRequest())
    assert [(graph.graph_id, bool(graph.error)) for graph in described.graphs] == [
        ("hitl", False),
        ("refuses", False),
        ("absent", True),
        ("fixed", False),
    ]
    described_schemas = decode((await graphs.GetGraphSchemas(HITL)).json)
    assert list(described_schemas) == [
        "graph_id",
        "input_schema",
        "output_schema",
        "state_schema",
        "config_schema",
        "context_schema",
    ]
    drawn = decode((await graphs.DrawGraph(graphs_pb2.DrawGraphRequest(graph=HITL))).json)
    assert [node["id"] for node in drawn["nodes"]] == ["__start__", "prep", "ask", "__end__"]
    assert decode((await graphs.ListSubgraphs(graphs_pb2.ListSubgraphsRequest(graph=HITL))).json) == {}
