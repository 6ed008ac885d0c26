"""A graph's protocol stream as clients see it, from LangGraph's own; and how its run stops."""

import asyncio
import operator
import textwrap
from typing import Annotated, TypedDict

import orjson
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolCallTransformer, ToolNode
from langgraph.stream import (
    CheckpointsTransformer,
    CustomTransformer,
    StreamChannel,
    StreamTransformer,
    TasksTransformer,
    UpdatesTransformer,
)
from langgraph.types import Send, interrupt
from threadmill_runs.executor.graphs.config_file import read_config
from threadmill_runs.executor.graphs.errors import GraphFailed
from threadmill_runs.executor.graphs.registry import GraphRegistry
from threadmill_runs.executor.running import outbox
from threadmill_runs.executor.running.failures import MASKED
from threadmill_runs.executor.running.outbox import Outbox
from threadmill_runs.executor.running.protocol_events import ProtocolEncoder
from threadmill_runs.executor.running.protocol_run import ProtocolRun

CONFIG = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    log: Annotated[list[object], operator.add]


class Secret(Exception):
    """Clients may not know what is in it."""


def first(state):
    return {"log": ["first"]}


def second(state):
    return {"log": ["second"]}


def ask(state):
    return {"log": [interrupt({"question": "why"})]}


def fail(state):
    raise ValueError("bad value")


def leak(state):
    raise Secret("password")


def say(state):
    get_stream_writer()({"name": "progress", "done": 1})


def build(schema=State, **nodes):
    builder = StateGraph(schema)
    for name, node in nodes.items():
        builder.add_node(name, node)
    for source, target in zip([START, *nodes], [*nodes, END], strict=True):
        builder.add_edge(source, target)
    return builder


def compiled(schema=State, **nodes):
    return build(schema, **nodes).compile(checkpointer=InMemorySaver())


def protocol_run(graph, *transformers, on_values=lambda values: None):
    return ProtocolRun(graph, transformers, Outbox(asyncio.get_running_loop()), on_values)


def taken(run):
    """(method, nodes of the namespace, data) of all that the run has put into its outbox."""
    frames = []
    while batch := run.outbox.take():
        for each in batch:
            assert each.timestamp_ms > 1_700_000_000_000
            method, *path = each.name.split("|")
            frames.append((method, [level.partition(":")[0] for level in path], orjson.loads(each.data_json)))
    return frames


async def frames_of(graph, *transformers, graph_input=None):
    run = protocol_run(graph, *transformers)
    await run.run({"log": []} if graph_input is None else graph_input, CONFIG, {"output_keys": graph.output_channels})
    return taken(run)


async def frames_of_failure(graph, error, **match):
    run = protocol_run(graph)
    with pytest.raises(error, **match):
        await run.run({"log": []}, CONFIG, {})
    return taken(run)


def only(frames, *methods):
    return [frame for frame in frames if frame[0] in methods]


async def test_a_plain_graph_gives_its_values():
    assert await frames_of(compiled(first=first, second=second)) == [
        ("values", [], {"log": []}),
        ("values", [], {"log": ["first"]}),
        ("values", [], {"log": ["first", "second"]}),
    ]


async def test_the_listener_hears_the_values_of_the_root_with_what_it_asks():
    heard = []
    run = protocol_run(compiled(child=build(first=first).compile(), ask=ask), on_values=heard.append)
    await run.run({"log": []}, CONFIG, {})
    assert [values["log"] for values in heard] == [[], ["first"], ["first"]]
    assert [each.value for each in heard[-1]["__interrupt__"]] == [{"question": "why"}]
    assert not any("__interrupt__" in values for values in heard[:-1])


async def test_a_subgraph_begins_and_ends():
    frames = await frames_of(compiled(mid=build(leaf=build(first=first).compile()).compile(), second=second))
    told = only(frames, "lifecycle")
    assert [(path, data["event"], data["graph_name"]) for _, path, data in told] == [
        (["mid"], "started", "mid"),
        (["mid", "leaf"], "started", "leaf"),
        (["mid", "leaf"], "completed", "leaf"),
        (["mid"], "completed", "mid"),
    ]
    begun, ended = told[1][2], told[2][2]
    assert set(begun) == {"event", "namespace", "graph_name", "trigger_call_id"}
    assert begun["namespace"][-1] == f"leaf:{begun['trigger_call_id']}"
    assert set(ended) == {"event", "graph_name"}
    assert ("values", ["mid", "leaf"], {"log": ["first"]}) in frames


@pytest.mark.parametrize(("node", "error", "message"), [(fail, ValueError, "bad value"), (leak, Secret, MASKED)])
async def test_a_failed_subgraph_tells_no_more_than_its_run(node, error, message):
    frames = await frames_of_failure(compiled(mid=build(leaf=build(node=node).compile()).compile()), error)
    told = [(path, data) for _, path, data in only(frames, "lifecycle") if data["event"] != "started"]
    assert told == [
        (["mid", "leaf"], {"event": "failed", "graph_name": "leaf", "error": message}),
        (["mid"], {"event": "failed", "graph_name": "mid", "error": message}),
    ]


async def test_a_graph_that_a_node_calls_is_told_under_the_nodes_name():
    inner = build(first=first).compile(name="inner")

    async def caller(state):
        return {"log": (await inner.ainvoke({"log": []}))["log"]}

    told = only(await frames_of(compiled(caller=caller)), "lifecycle")
    assert [(path, data["event"], data["graph_name"]) for _, path, data in told] == [
        (["caller"], "started", "caller"),
        (["caller"], "completed", "caller"),
    ]


async def test_tasks_of_one_node_are_told_apart():
    def spread(state):
        return [Send("child", {"log": [n]}) for n in range(2)]

    builder = StateGraph(State).add_node("child", build(first=first).compile())
    graph = builder.add_conditional_edges(START, spread, ["child"]).compile(checkpointer=InMemorySaver())
    run = protocol_run(graph)
    await run.run({"log": []}, CONFIG, {})
    told = [
        (each.name, orjson.loads(each.data_json)["event"]) for each in run.outbox.take() if "lifecycle" in each.name
    ]
    names = {name for name, _ in told}
    assert len(names) == 2
    assert sorted(told) == sorted((name, event) for name in names for event in ("started", "completed"))


async def test_a_failure_that_the_node_survives_is_none():
    inner = build(fail=fail).compile()

    async def careful(state):
        try:
            await inner.ainvoke(state)
        except ValueError:
            return {"log": ["survived"]}

    frames = await frames_of(compiled(careful=careful))
    assert [data["event"] for _, _, data in only(frames, "lifecycle")] == ["started", "completed"]
    assert frames[-1] == ("values", [], {"log": ["survived"]})


def test_what_subgraphs_failed_of_is_told_once_with_the_error_of_the_run():
    def failed(name, error):
        data = {"event": "failed", "namespace": [f"{name}:1"], "error": error}
        return {"method": "lifecycle", "params": {"namespace": [], "data": data, "timestamp": 5}}

    encoder = ProtocolEncoder()
    assert not [*encoder.encode(failed("a", "mine")), *encoder.encode(failed("b", "another's"))]
    told = list(encoder.failed(RuntimeError("mine")))
    assert [orjson.loads(each.data_json)["error"] for each in told] == ["mine", MASKED]
    assert [(each.name, each.timestamp_ms) for each in told] == [("lifecycle|a:1", 5), ("lifecycle|b:1", 5)]
    assert not list(encoder.failed(RuntimeError("mine")))


async def test_an_interrupt_in_a_subgraph_is_told_once_where_it_is():
    graph = compiled(mid=build(leaf=build(ask=ask).compile()).compile())
    frames = await frames_of(graph, UpdatesTransformer)
    ((_, path, request),) = only(frames, "input.requested")
    assert path == ["mid", "leaf"]
    assert request == {"interrupt_id": request["interrupt_id"], "payload": {"question": "why"}}
    (waiting,) = (await graph.aget_state(CONFIG)).interrupts
    assert request["interrupt_id"] == waiting.id
    ends = [(path, data["event"]) for _, path, data in only(frames, "lifecycle") if data["event"] != "started"]
    assert sorted(ends) == [(["mid"], "interrupted"), (["mid", "leaf"], "interrupted")]
    assert not any("__interrupt__" in data for _, _, data in only(frames, "values", "updates"))


async def test_after_a_request_the_values_come_once_more():
    frames = await frames_of(compiled(first=first, ask=ask))
    place = [method for method, _, _ in frames].index("input.requested")
    assert frames[place - 1] == frames[place + 1] == ("values", [], {"log": ["first"]})
    assert len(frames) == place + 2


async def test_interrupts_of_one_step_are_all_told():
    builder = StateGraph(State)
    for name in ("one", "two"):
        builder.add_node(name, ask)
        builder.add_edge(START, name)
    requests = only(await frames_of(builder.compile(checkpointer=InMemorySaver())), "input.requested")
    assert len({data["interrupt_id"] for _, _, data in requests}) == len(requests) == 2


async def test_updates_and_custom_values_flow_if_the_graph_asks_for_them():
    graph = compiled(first=first, say=say)
    assert not only(await frames_of(graph), "updates", "custom")
    frames = await frames_of(graph, UpdatesTransformer, CustomTransformer)
    assert only(frames, "updates") == [
        ("updates", [], {"first": {"log": ["first"]}}),
        ("updates", [], {"say": None}),
    ]
    assert only(frames, "custom") == [("custom", [], {"name": "progress", "done": 1})]


async def test_tasks_stay_within_langgraph():
    assert not only(await frames_of(compiled(first=first), TasksTransformer), "tasks")


async def test_updates_do_not_tell_of_interrupts():
    updates = only(await frames_of(compiled(first=first, ask=ask), UpdatesTransformer), "updates")
    assert updates == [("updates", [], {"first": {"log": ["first"]}}), ("updates", [], {})]


class Counter(StreamTransformer):
    """Streams, under a name of its own, how many values it has seen."""

    def __init__(self, scope=()):
        super().__init__(scope)
        self.channel = StreamChannel("counter")
        self.count = 0

    def init(self):
        return {"counter": self.channel}

    def process(self, event):
        if event["method"] == "values":
            self.count += 1
            self.channel.push({"count": self.count, "last": HumanMessage("hi", id="h")})
        return True


async def test_named_channels_are_custom_events_with_their_name():
    custom = only(await frames_of(compiled(first=first), Counter), "custom")
    last = {"type": "human", "content": "hi", "id": "h"}
    assert custom == [
        ("custom", [], {"name": "counter", "payload": {"count": count, "last": last}}) for count in (1, 2)
    ]


async def test_checkpoints_are_references():
    graph = compiled(first=first, second=second)
    checkpoints = [data for _, _, data in only(await frames_of(graph, CheckpointsTransformer), "checkpoints")]
    assert [(each["step"], each["source"]) for each in checkpoints] == [
        (-1, "input"),
        (0, "loop"),
        (1, "loop"),
        (2, "loop"),
    ]
    assert set(checkpoints[0]) == {"id", "step", "source"}
    assert [each["parent_id"] for each in checkpoints[1:]] == [each["id"] for each in checkpoints[:-1]]
    kept = [each.config["configurable"]["checkpoint_id"] async for each in graph.aget_state_history(CONFIG)]
    assert [each["id"] for each in reversed(checkpoints)] == kept


CALL = {"name": "add", "args": {"x": 1}, "id": "c1", "type": "tool_call"}
BROKEN = {"name": "add", "args": "{x", "id": "c2", "error": "no JSON", "type": "invalid_tool_call"}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (HumanMessage("hi", id="h"), {"type": "human", "content": "hi", "id": "h"}),
        (HumanMessage("hi", id="h", name="Ada"), {"type": "human", "content": "hi", "id": "h", "name": "Ada"}),
        (SystemMessage("be kind", id="s"), {"type": "system", "content": "be kind", "id": "s"}),
        (
            AIMessage(
                "yes",
                id="a",
                additional_kwargs={"x": 1},
                response_metadata={"finish_reason": "stop"},
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            ),
            {"type": "ai", "content": "yes", "id": "a", "response_metadata": {"finish_reason": "stop"}},
        ),
        (
            AIMessage("", id="a", tool_calls=[CALL], invalid_tool_calls=[BROKEN]),
            {"type": "ai", "content": "", "id": "a", "tool_calls": [CALL], "invalid_tool_calls": [BROKEN]},
        ),
        (
            ToolMessage("3", id="t", tool_call_id="c1", name="add"),
            {
                "type": "tool",
                "content": "3",
                "id": "t",
                "name": "add",
                "tool_call_id": "c1",
                "status": "success",
                "artifact": None,
            },
        ),
        (
            ToolMessage("no", id="t", tool_call_id="c1", status="error", artifact={"a": 1}),
            {
                "type": "tool",
                "content": "no",
                "id": "t",
                "tool_call_id": "c1",
                "status": "error",
                "artifact": {"a": 1},
            },
        ),
    ],
)
async def test_messages_in_a_state_are_compact(message, shown):
    def node(state):
        return {"messages": [message]}

    frames = await frames_of(compiled(MessagesState, node=node), UpdatesTransformer, graph_input={"messages": []})
    assert only(frames, "values")[-1] == ("values", [], {"messages": [shown]})
    assert only(frames, "updates") == [("updates", [], {"node": {"messages": [shown]}})]
    assert not only(frames, "messages"), "whole messages are seen in the values"


PICTURE = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}


async def blocks_of(message):
    """Content of a message that is in two frames of values, in each."""

    def node(state):
        return {"messages": [message]}

    def after(state):
        return {"messages": [AIMessage("seen")]}

    frames = await frames_of(compiled(MessagesState, node=node, after=after), graph_input={"messages": []})
    return [data["messages"][0]["content"] for _, _, data in only(frames, "values")[1:]]


async def test_blocks_of_other_messages_than_the_models_are_standard_ones():
    ((text, picture), again) = await blocks_of(HumanMessage([{"type": "text", "text": "look"}, PICTURE]))
    assert text == again[0] == {"type": "text", "text": "look"}
    assert (picture["type"], picture["url"]) == ("image", "https://a.example/b.png")


async def test_blocks_are_given_no_ids():
    once, again = await blocks_of(HumanMessage([PICTURE]))
    assert once == again == [{"type": "image", "url": "https://a.example/b.png"}]


async def test_messages_anywhere_in_a_state_are_compact():
    def node(state):
        return {"log": [{"deep": [HumanMessage("hi", id="h")]}, RemoveMessage("h")]}

    values = only(await frames_of(compiled(node=node)), "values")[-1][2]
    assert values["log"][0] == {"deep": [{"type": "human", "content": "hi", "id": "h"}]}
    assert values["log"][1]["type"] == "remove"
    assert values["log"][1]["id"] == "h"


async def test_messages_in_a_request_are_compact():
    def node(state):
        interrupt({"about": AIMessage("yes", id="a")})

    ((_, _, request),) = only(await frames_of(compiled(node=node)), "input.requested")
    assert request["payload"] == {"about": {"type": "ai", "content": "yes", "id": "a"}}


class Scripted(BaseChatModel):
    """Streams the chunks that it was made with; after a tool's message, `done`."""

    chunks: list[AIMessageChunk]

    @property
    def _llm_type(self):
        return "scripted"

    def _generate(self, messages, stop=None, run_manager=None, **options):
        return ChatResult(generations=[ChatGeneration(message=AIMessage("unstreamed"))])

    async def _astream(self, messages, stop=None, run_manager=None, **options):
        for chunk in [AIMessageChunk("done")] if messages[-1].type == "tool" else self.chunks:
            yield ChatGenerationChunk(message=chunk.model_copy())


USAGE = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
HELLO = [
    AIMessageChunk("Hello "),
    AIMessageChunk("world"),
    AIMessageChunk("", usage_metadata=USAGE, response_metadata={"finish_reason": "stop"}),
]


def call_chunk(args, name=None, call_id=None):
    chunk = {"name": name, "args": args, "id": call_id, "index": 0, "type": "tool_call_chunk"}
    return AIMessageChunk("", tool_call_chunks=[chunk])


def calling(name, *args):
    return [call_chunk("", name, "call_1"), *(call_chunk(each) for each in args)]


def agent(chunks, *tools):
    model = Scripted(chunks=chunks)

    async def call(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node("model", call).add_edge(START, "model")
    if tools:
        builder.add_node("tools", ToolNode(list(tools))).add_edge("tools", "model")
        builder.add_conditional_edges("model", lambda s: "tools" if s["messages"][-1].tool_calls else END)
    return builder.compile(checkpointer=InMemorySaver())


ASKED = {"messages": [HumanMessage("hi", id="h")]}


async def test_a_model_streams_its_message_in_blocks():
    frames = await frames_of(agent(HELLO), graph_input=ASKED)
    told = [data for _, path, data in only(frames, "messages") if path == []]
    assert [each["event"] for each in told] == [
        "message-start",
        "content-block-start",
        "content-block-delta",
        "content-block-delta",
        "content-block-finish",
        "message-finish",
    ]
    assert told[0]["role"] == "ai"
    assert [each["delta"] for each in told[2:4]] == [
        {"type": "text-delta", "text": "Hello "},
        {"type": "text-delta", "text": "world"},
    ]
    assert told[4] == {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "Hello world"}}
    assert told[5]["usage"] == USAGE
    assert told[5]["metadata"]["finish_reason"] == "stop"
    answer = only(frames, "values")[-1][2]["messages"][-1]
    assert (answer["type"], answer["id"]) == ("ai", told[0]["id"])
    assert answer["id"].startswith("lc_run--")
    assert {"usage_metadata", "additional_kwargs"}.isdisjoint(answer)
    assert [(block["type"], block["text"]) for block in answer["content"]] == [("text", "Hello world")]


@tool
def add(x: int, y: int) -> int:
    """Add."""
    return x + y


@tool
def refuse(x: int) -> int:
    """Fail."""
    raise ValueError("tool broke")


@tool(response_format="content_and_artifact")
def blocks(x: int):
    """Give blocks."""
    return [{"type": "text", "text": "blk"}], {"a": 1}


async def test_a_tool_gives_a_message_of_its_own():
    graph = agent(calling("add", '{"x": 2,', ' "y": 3}'), add)
    frames = await frames_of(graph, ToolCallTransformer, graph_input=ASKED)
    started, finished = (data for _, _, data in only(frames, "tools"))
    assert started == {
        "event": "tool-started",
        "tool_call_id": "call_1",
        "tool_name": "add",
        "input": {"x": 2, "y": 3},
    }
    assert (finished["event"], finished["output"]["content"]) == ("tool-finished", "5")
    assert {"additional_kwargs", "response_metadata"} <= set(finished["output"]), "in full here"
    assert [data for _, path, data in only(frames, "messages") if path == ["tools"]] == [
        {"event": "message-start", "role": "tool", "id": "tool-call_1", "tool_call_id": "call_1"},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {"event": "content-block-delta", "index": 0, "content": {"type": "text", "text": "5"}},
        {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "5"}},
        {"event": "message-finish", "metadata": {}},
    ]


def tool_event(output, **fields):
    data = {"event": "tool-finished", "tool_call_id": "c1", "output": output, **fields}
    return {"method": "tools", "params": {"namespace": ["agent:1"], "data": data, "timestamp": 5}}


def mirrored(output):
    frames = list(ProtocolEncoder().encode(tool_event(output)))
    assert [each.name for each in frames] == ["tools|agent:1"] + ["messages|agent:1|tools:c1"] * (len(frames) - 1)
    return [orjson.loads(each.data_json) for each in frames[1:]]


def test_the_message_of_a_tool_is_below_the_tools_own_place():
    told = mirrored(ToolMessage("3", tool_call_id="c1"))
    assert [each["event"] for each in told] == [
        "message-start",
        "content-block-start",
        "content-block-delta",
        "content-block-finish",
        "message-finish",
    ]


@pytest.mark.parametrize("output", [{"command": 1}, None, ["a"]])
def test_what_is_no_text_is_no_message(output):
    assert mirrored(output) == []


def test_the_message_of_a_tool_has_the_messages_id():
    assert mirrored(ToolMessage("3", id="t1", tool_call_id="c1"))[0]["id"] == "t1"


def test_blocks_of_a_tool_are_told_as_json():
    told = mirrored(ToolMessage([{"type": "text", "text": "blk"}], tool_call_id="c1"))
    assert told[2]["content"] == {"type": "text", "text": '[{"type":"text","text":"blk"}]'}


async def test_a_tool_that_fails_gives_no_message():
    run = protocol_run(agent(calling("refuse", '{"x": 1}'), refuse), ToolCallTransformer)
    with pytest.raises(ValueError, match="tool broke"):
        await run.run(ASKED, CONFIG, {})
    frames = taken(run)
    assert [data["event"] for _, _, data in only(frames, "tools")] == ["tool-started", "tool-error"]
    assert not [path for _, path, _ in only(frames, "messages") if path == ["tools"]]


async def test_artifacts_are_in_the_values():
    frames = await frames_of(agent(calling("blocks", '{"x": 1}'), blocks), graph_input=ASKED)
    (given,) = (each for each in only(frames, "values")[-1][2]["messages"] if each["type"] == "tool")
    assert (given["content"], given["artifact"]) == ([{"type": "text", "text": "blk"}], {"a": 1})


class Stopping:
    """A node that waits for ever, and tells when it has begun and when it was cancelled."""

    def __init__(self):
        self.begun = asyncio.Event()
        self.order = []

    async def __call__(self, state):
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.order.append("node cancelled")
            raise


@pytest.mark.parametrize("nested", [False, True])
async def test_a_cancelled_run_returns_after_its_graph_has_stopped(nested):
    node = Stopping()
    graph = compiled(child=build(node=node).compile()) if nested else compiled(node=node)

    async def run():
        try:
            await protocol_run(graph).run({"log": []}, CONFIG, {})
        finally:
            node.order.append("run returned")

    task = asyncio.create_task(run())
    await asyncio.wait_for(node.begun.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert node.order == ["node cancelled", "run returned"]
    others = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
    assert not [each for each in others if "langgraph" in repr(each.get_coro())]


async def test_a_run_that_waits_for_room_stops_with_its_outbox(monkeypatch):
    monkeypatch.setattr(outbox, "MAX_PENDING_EVENTS", 0)
    run = protocol_run(compiled(first=first, second=second))
    task = asyncio.create_task(run.run({"log": []}, CONFIG, {}))
    await asyncio.wait_for(run.outbox.arrival(), 10)
    run.outbox.close()  # as who stops an attempt does
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_what_the_graph_raises_is_raised():
    frames = await frames_of_failure(compiled(first=first, fail=fail), ValueError, match="bad value")
    assert frames == [("values", [], {"log": []}), ("values", [], {"log": ["first"]})]


GRAPH = """
from typing import TypedDict
from langgraph.graph import StateGraph, START, END
from langgraph.stream import CustomTransformer, UpdatesTransformer

class State(TypedDict):
    n: int

graph = StateGraph(State).add_node("a", lambda s: {"n": 1}).add_edge(START, "a").add_edge("a", END).compile()
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """`load(declaration)` → the registry of an application with two graphs; the module of `graph` declares this."""

    def write(declaration):
        for name, code in (("declaring", GRAPH + textwrap.dedent(declaration)), ("plain", GRAPH)):
            (tmp_path / f"{name}.py").write_text(code)
        graphs = {"graph": "./declaring.py:graph", "other": "./plain.py:graph"}
        (tmp_path / "langgraph.json").write_bytes(orjson.dumps({"graphs": graphs, "dependencies": []}))
        return GraphRegistry.load(read_config(tmp_path / "langgraph.json"))

    return write


@pytest.mark.parametrize(
    "declaration",
    [
        "stream_transformers = [UpdatesTransformer, CustomTransformer]",
        "stream_transformers = (UpdatesTransformer, CustomTransformer)",
        "def stream_transformers(): return [UpdatesTransformer, CustomTransformer]",
    ],
)
async def test_a_module_declares_transformers_beside_its_graph(load, declaration):
    registry = load(declaration)
    assert registry.stream_transformers("graph") == [UpdatesTransformer, CustomTransformer]
    assert registry.stream_transformers("other") == []
    graph = compiled(first=first)
    assert only(await frames_of(graph, *registry.stream_transformers("graph")), "updates")


def test_the_function_is_called_for_each_run(load):
    registry = load("""
        calls = []
        def stream_transformers():
            calls.append(1)
            return [UpdatesTransformer] * len(calls)
    """)
    assert [len(registry.stream_transformers("graph")) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("declaration", ["stream_transformers = 7", "stream_transformers = {}"])
def test_a_wrong_declaration_fails_its_graph_alone(load, declaration):
    registry = load(declaration)
    assert ["stream_transformers" in each.error for each in registry.describe()] == [True, False]
    with pytest.raises(GraphFailed, match="neither a list nor a function"):
        registry.stream_transformers("graph")
    registry.require("other")


def test_what_the_function_raises_is_raised(load):
    registry = load("def stream_transformers(): raise ValueError('mine')")
    registry.require("graph")
    with pytest.raises(ValueError, match="mine"):
        registry.stream_transformers("graph")
