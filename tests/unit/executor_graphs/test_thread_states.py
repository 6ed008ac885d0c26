"""Thread states: reading, updating and history through a graph give the JSON shapes of the contract."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict, cast

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import InvalidUpdateError
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, StateUpdate, interrupt
from threadmill_runs.executor.encoding import decode, encode
from threadmill_runs.executor.graphs.config_file import AppConfig, GraphSpec
from threadmill_runs.executor.graphs.errors import UserError
from threadmill_runs.executor.graphs.registry import GraphRegistry
from threadmill_runs.executor.graphs.state import Subject, ThreadStates
from threadmill_runs.executor.graphs.state_view import interrupts_by_task, thread_state
from threadmill_runs.executor.graphs.updates import supersteps, to_command

STATE_KEYS = [
    "values", "next", "tasks", "metadata", "created_at", "checkpoint", "parent_checkpoint", "interrupts",
    "checkpoint_id", "parent_checkpoint_id",
]  # fmt: skip
TASK_KEYS = ["id", "name", "path", "error", "interrupts", "checkpoint", "state", "result"]
CONFIG: Any = {"configurable": {"thread_id": "t1"}, "metadata": {"run_id": "r1", "graph_id": "hitl"}}


class State(TypedDict):
    q: str
    log: Annotated[list[str], operator.add]


def ask(state: State) -> dict[str, Any]:
    return {"log": [interrupt({"question": state["q"]})]}


def fail(state: State) -> dict[str, Any]:
    raise ValueError("bad value here")


def make(ask_node: Callable[[Any], Any] | Any = ask) -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(State)
    builder.add_node("prep", lambda state: {"log": ["prep"]})
    builder.add_node("ask", ask_node)
    builder.add_edge(START, "prep")
    builder.add_edge("prep", "ask")
    builder.add_edge("ask", END)
    return builder


hitl = make()
failing = make(fail)


def child() -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(State)
    builder.add_node("inner", ask)
    builder.add_edge(START, "inner")
    return builder


nested = make(child().compile())


class Savers:
    """One in-memory saver for all operations of a test."""

    def __init__(self) -> None:
        self.saver = InMemorySaver()

    def __call__(self) -> BaseCheckpointSaver[str]:
        return self.saver


@pytest.fixture
def savers() -> Savers:
    return Savers()


@pytest.fixture
def states(savers: Savers, tmp_path: Any) -> ThreadStates:
    names = ("hitl", "failing", "nested")
    specs = tuple(GraphSpec(name, __name__, False, name) for name in names)
    return ThreadStates(GraphRegistry.load(AppConfig(tmp_path, specs, {}, ())), savers, None)


def subject(graph_id: str = "hitl") -> Subject:
    return Subject(graph_id, {"configurable": {"model": "m"}}, "t1")


async def read(states: ThreadStates, graph_id: str = "hitl", **options: Any) -> Any:
    return decode(encode(thread_state(await states.snapshot(subject(graph_id), **options))))


async def history(states: ThreadStates, graph_id: str = "hitl", **options: Any) -> list[Any]:
    given = {"checkpoint": None, "before": None, "metadata": None, "limit": 10, **options}
    return [state async for page in states.history(subject(graph_id), **given) for state in page]


async def run(builder: Any, savers: Savers, given: Any, run_id: str = "r1") -> None:
    config = {**CONFIG, "metadata": {**CONFIG["metadata"], "run_id": run_id}}
    await builder.compile(checkpointer=savers.saver).ainvoke(given, config)


async def test_paused_thread(states: ThreadStates, savers: Savers) -> None:
    await run(hitl, savers, {"q": "go?"})
    state = await read(states)
    assert list(state) == STATE_KEYS
    assert (state["values"], state["next"]) == ({"q": "go?", "log": ["prep"]}, ["ask"])
    (task,) = state["tasks"]
    assert list(task) == TASK_KEYS
    assert list(task["interrupts"][0]) == ["id", "value"]
    assert task["interrupts"] == state["interrupts"]
    assert task["interrupts"][0]["value"] == {"question": "go?"}
    assert (task["path"], task["error"], task["checkpoint"], task["state"]) == (
        ["__pregel_pull", "ask"],
        None,
        None,
        None,
    )
    expected = {"source": "loop", "step": 1, "parents": {}, "run_id": "r1", "graph_id": "hitl", "thread_id": "t1"}
    assert {key: state["metadata"][key] for key in expected} == expected
    assert state["checkpoint"] == {"checkpoint_id": state["checkpoint_id"], "thread_id": "t1", "checkpoint_ns": ""}
    assert state["parent_checkpoint"]["checkpoint_id"] == state["parent_checkpoint_id"] != state["checkpoint_id"]


async def test_no_checkpoint_and_unknown_checkpoint(states: ThreadStates) -> None:
    empty = await read(states)
    assert empty == dict.fromkeys(STATE_KEYS) | {"values": {}, "next": [], "tasks": [], "interrupts": []}
    echo = await read(states, checkpoint={"checkpoint_id": "nonsense"})
    reference = {"checkpoint_id": "nonsense", "thread_id": "t1", "checkpoint_ns": ""}
    assert echo == {**empty, "checkpoint": reference, "checkpoint_id": "nonsense"}


async def test_failed_task_has_its_repr(states: ThreadStates, savers: Savers) -> None:
    with pytest.raises(ValueError, match="bad value here"):
        await run(failing, savers, {"q": "x"})
    state = await read(states, "failing")
    assert state["tasks"][0]["error"] == "ValueError('bad value here')"


async def test_pending_subgraph_as_reference_and_nested(states: ThreadStates, savers: Savers) -> None:
    await run(nested, savers, {"q": "deep?"})
    (task,) = (await read(states, "nested"))["tasks"]
    namespace = f"ask:{task['id']}"
    assert task["checkpoint"] == {"thread_id": "t1", "checkpoint_ns": namespace}
    assert task["state"] is None
    root = await read(states, "nested", subgraphs=True)
    (task,) = root["tasks"]
    assert task["checkpoint"] is None
    inner = task["state"]
    assert list(inner) == STATE_KEYS
    assert inner["next"] == ["inner"]
    assert inner["checkpoint"]["checkpoint_ns"] == namespace
    assert inner["checkpoint"]["checkpoint_map"] == {"": root["checkpoint_id"], namespace: inner["checkpoint_id"]}
    assert await read(states, "nested", checkpoint={"checkpoint_ns": namespace}) == inner


async def test_interrupts_by_task(states: ThreadStates, savers: Savers) -> None:
    await run(hitl, savers, {"q": "go?"})
    snapshot = await states.snapshot(subject())
    assert interrupts_by_task(snapshot) == {
        snapshot.tasks[0].id: [{"id": snapshot.interrupts[0].id, "value": {"question": "go?"}}]
    }


async def test_update_as_the_interrupted_node_clears_the_interrupt(states: ThreadStates, savers: Savers) -> None:
    await run(hitl, savers, {"q": "go?"})
    answer, latest = await states.update(
        subject(), [[StateUpdate({"log": ["byhand"], "unknown": 1}, "ask")]], None, savers.saver
    )
    assert list(answer) == ["checkpoint", "configurable", "checkpoint_id"]
    assert list(answer["checkpoint"]) == ["thread_id", "checkpoint_ns", "checkpoint_id"]
    assert answer["configurable"] == answer["checkpoint"]
    assert answer["checkpoint"] == {"thread_id": "t1", "checkpoint_ns": "", "checkpoint_id": answer["checkpoint_id"]}
    assert (latest.values, latest.next, interrupts_by_task(latest)) == ({"q": "go?", "log": ["prep", "byhand"]}, (), {})
    assert latest.metadata is not None
    assert latest.metadata["source"] == "update"


async def test_update_of_an_empty_thread_acts_as_input(states: ThreadStates, savers: Savers) -> None:
    _, latest = await states.update(subject(), [[StateUpdate({"q": "new"})]], None, savers.saver)
    metadata = latest.metadata or {}
    assert (latest.next, metadata["source"], metadata["step"]) == (("prep",), "update", 0)


async def test_end_drops_pending_work_and_copy_forks(states: ThreadStates, savers: Savers) -> None:
    await run(hitl, savers, {"q": "go?"})
    _, copied = await states.update(subject(), [[StateUpdate(None, "__copy__")]], None, savers.saver)
    assert copied.metadata is not None
    assert (copied.metadata["source"], copied.next) == ("fork", ("ask",))
    _, ended = await states.update(subject(), [[StateUpdate(None, "__end__")]], None, savers.saver)
    assert (ended.next, ended.values) == ((), {"q": "go?", "log": ["prep"]})


async def test_branching_from_an_older_checkpoint_gives_the_branch(states: ThreadStates, savers: Savers) -> None:
    await run(hitl, savers, {"q": "go?"})
    before = (await read(states))["parent_checkpoint"]
    answer, latest = await states.update(subject(), [[StateUpdate({"log": ["branch"]}, "prep")]], before, savers.saver)
    assert latest.config["configurable"]["checkpoint_id"] == answer["checkpoint_id"]
    assert latest.values["log"] == ["branch"]


async def test_update_of_a_paused_subgraph(states: ThreadStates, savers: Savers) -> None:
    await run(nested, savers, {"q": "deep?"})
    (task,) = (await read(states, "nested"))["tasks"]
    namespace = f"ask:{task['id']}"
    answer, latest = await states.update(
        subject("nested"), [[StateUpdate({"log": ["inside"]}, "inner")]], {"checkpoint_ns": namespace}, savers.saver
    )
    assert answer["checkpoint"]["checkpoint_ns"] == namespace
    assert set(answer["checkpoint"]["checkpoint_map"]) == {"", namespace}
    assert latest.config["configurable"]["checkpoint_ns"] == ""


@pytest.mark.parametrize(
    ("update", "error", "text"),
    [
        (StateUpdate({}, "nonode"), InvalidUpdateError, "Node nonode does not exist"),
        (StateUpdate({"q": "x"}, "__end__"), InvalidUpdateError, "__end__"),
        (StateUpdate({"log": 5}, "prep"), TypeError, "concatenate"),
    ],
)
async def test_refused_updates(
    states: ThreadStates, savers: Savers, update: StateUpdate, error: type[Exception], text: str
) -> None:
    await states.update(subject(), [[StateUpdate({"q": "new", "log": ["a"]})]], None, savers.saver)
    with pytest.raises(error, match=text):
        await states.update(subject(), [[update]], None, savers.saver)


async def test_bulk_update(states: ThreadStates, savers: Savers) -> None:
    document = [
        {"updates": [{"values": {"q": "x"}, "as_node": "__input__"}]},
        {"updates": [{"values": {"q": "x"}, "as_node": "__start__"}]},
        {"updates": [{"command": {"update": {"log": ["c"]}}, "as_node": "prep"}]},
    ]
    _, latest = await states.update(subject(), supersteps(document), None, savers.saver)
    assert (latest.values, latest.next) == ({"q": "x", "log": ["c"]}, ("ask",))
    past = await history(states)
    assert [(item["metadata"]["source"], item["metadata"]["step"]) for item in past] == [
        ("update", 1),
        ("update", 0),
        ("input", -1),
    ]


@pytest.mark.parametrize("document", [{}, [{}], [{"updates": [1]}], [{"updates": [{"values": {}}]}]])
def test_malformed_supersteps(document: Any) -> None:
    with pytest.raises(UserError):
        supersteps(document)


def test_an_update_of_pairs() -> None:
    assert to_command({"update": [["a", 1], ["b", [2]]]}).update == [("a", 1), ("b", [2])]


def test_commands() -> None:
    command = to_command({"update": {"a": 1}, "resume": "y", "goto": [{"node": "n", "input": 2}, "m"]})
    assert (command.update, command.resume) == ({"a": 1}, "y")
    assert isinstance(command, Command)
    send, name = cast("list[Any]", command.goto)
    assert (send.node, send.arg, name) == ("n", 2, "m")


async def test_history(states: ThreadStates, savers: Savers) -> None:
    await run(hitl, savers, {"q": "go?"})

    async def past(**options: Any) -> list[Any]:
        return await history(states, **options)

    whole = await past()
    assert [item["metadata"]["step"] for item in whole] == [1, 0, -1]
    assert whole[1]["tasks"][0]["result"] == {"log": ["prep"]}
    middle = whole[1]["checkpoint_id"]
    assert [item["metadata"]["step"] for item in await past(before={"checkpoint_id": middle})] == [-1]
    assert [item["checkpoint_id"] for item in await past(checkpoint={"checkpoint_id": middle})] == [middle]
    assert [item["metadata"]["step"] for item in await past(metadata={"source": "input"})] == [-1]
    assert len(await past(limit=2)) == 2


async def test_history_of_a_subgraph(states: ThreadStates, savers: Savers, monkeypatch: pytest.MonkeyPatch) -> None:
    await run(nested, savers, {"q": "deep?"})
    (task,) = (await read(states, "nested"))["tasks"]
    inside = {"checkpoint_ns": f"ask:{task['id']}"}
    whole = await history(states, "nested", checkpoint=inside)
    assert [(item["metadata"]["step"], item["next"]) for item in whole] == [(0, ["inner"]), (-1, ["__start__"])]
    monkeypatch.setattr("threadmill_runs.executor.graphs.state.PAGE_STATES", 1)
    assert await history(states, "nested", checkpoint=inside) == whole
    (last,) = await history(states, "nested", checkpoint=whole[1]["checkpoint"])
    assert last == whole[1]
