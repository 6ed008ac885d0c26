"""From chunks of LangGraph's stream to named events with JSON data."""

import orjson
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from threadmill_runs.executor.running.stream_events import EventEncoder, langgraph_modes


def encoded(encoder, *chunks):
    return [(name, orjson.loads(data)) for chunk in chunks for name, data in encoder.encode(*chunk)]


def token(text, **fields):
    return AIMessageChunk(content=text, id="m1", **fields)


@pytest.mark.parametrize(
    ("requested", "asked"),
    [
        (["values"], ["values"]),
        ([], ["values"]),
        (["events"], ["values"]),
        (["messages"], ["messages"]),
        (["messages-tuple", "updates"], ["updates", "messages"]),
        (["messages", "messages-tuple"], ["messages"]),
        (["debug", "tasks", "checkpoints", "custom"], ["debug", "tasks", "checkpoints", "custom"]),
    ],
)
def test_modes_to_ask_of_langgraph(requested, asked):
    assert langgraph_modes(requested) == asked


def test_only_requested_modes_are_sent():
    encoder = EventEncoder(["updates"], subgraphs=False)
    assert encoded(encoder, ((), "values", {"a": 1}), ((), "updates", {"n": None})) == [("updates", {"n": None})]


def test_new_messages_have_the_id_that_the_state_will_have():
    message, other = ToolMessage("done", tool_call_id="c1"), AIMessage("kept apart")
    encoder = EventEncoder(["updates", "tasks"], subgraphs=False, message_channels={"messages"})
    update = {"tools": {"messages": [message], "drafts": [other]}, "quiet": None}
    result = {"id": "t1", "name": "tools", "error": None, "result": {"messages": [message]}, "interrupts": []}
    events = encoded(encoder, ((), "updates", update), ((), "tasks", result))
    seen = [events[0][1]["tools"]["messages"][0]["id"], events[1][1]["result"]["messages"][0]["id"]]
    assert seen == [message.id, message.id]
    assert message.id is not None
    assert other.id is None


def test_new_messages_have_that_id_in_events_too():
    message = ToolMessage("done", tool_call_id="c1")
    encoder = EventEncoder(["events"], subgraphs=False, message_channels={"messages"})
    ended = {"event": "on_tool_end", "data": {"output": message}}
    streamed = {"event": "on_chain_stream", "data": {"chunk": {"messages": [message]}}}
    events = encoded(encoder, ((), "events", ended), ((), "events", streamed))
    seen = [events[0][1]["data"]["output"]["id"], events[1][1]["data"]["chunk"]["messages"][0]["id"]]
    assert seen == [message.id, message.id]
    assert message.id is not None


def test_results_of_tools_of_a_graph_without_messages_get_no_id():
    ended = {"event": "on_tool_end", "data": {"output": ToolMessage("done", tool_call_id="c1")}}
    [(_, shown)] = encoded(EventEncoder(["events"], subgraphs=False), ((), "events", ended))
    assert shown["data"]["output"]["id"] is None


def test_errors_inside_events_are_masked():
    encoder = EventEncoder(["events"], subgraphs=False)
    event = {"event": "on_tool_error", "data": {"error": OSError("secret"), "input": {}}}
    [(_, shown)] = encoded(encoder, ((), "events", event))
    assert shown["data"]["error"] == {"error": "OSError", "message": "An internal error occurred"}


def test_tokens_accumulate():
    encoder = EventEncoder(["messages"], subgraphs=False)
    meta = {"langgraph_node": "n"}
    events = encoded(
        encoder,
        ((), "messages", (token("Hel"), meta)),
        ((), "messages", (token("lo"), meta)),
        ((), "messages", (token("", chunk_position="last"), meta)),
    )
    assert [name for name, _ in events] == ["messages/metadata"] + ["messages/partial"] * 3
    assert events[0][1] == {"m1": {"metadata": meta}}
    assert [data[0]["content"] for _, data in events[1:]] == ["Hel", "Hello", "Hello"]
    assert {data[0]["type"] for _, data in events[1:]} == {"ai"}


def test_messages_that_interleave_are_kept_apart():
    encoder = EventEncoder(["messages"], subgraphs=False)
    other = AIMessageChunk(content="X", id="m2")
    events = encoded(
        encoder,
        ((), "messages", (token("a"), {})),
        ((), "messages", (other, {})),
        ((), "messages", (token("b"), {})),
    )
    partial = [data[0]["content"] for name, data in events if name == "messages/partial"]
    assert partial == ["a", "X", "ab"]


def test_whole_messages_are_complete():
    encoder = EventEncoder(["messages"], subgraphs=False)
    events = encoded(
        encoder,
        ((), "messages", (AIMessage(content="hi", id="m1"), {})),
        ((), "messages", (ToolMessage(content="42", tool_call_id="c1", id="m2"), {})),
    )
    assert [name for name, _ in events] == ["messages/metadata", "messages/complete"] * 2
    assert [data[0]["type"] for name, data in events if name == "messages/complete"] == ["ai", "tool"]


@pytest.mark.parametrize("requested", [["messages-tuple"], ["messages", "messages-tuple"]])
def test_tuples(requested):
    encoder = EventEncoder(requested, subgraphs=True)
    meta = {"langgraph_node": "n"}
    [(name, data), (inner, _)] = encoded(
        encoder, ((), "messages", (token("a"), meta)), (("child:1",), "messages", (token("b"), meta))
    )
    assert (name, inner) == ("messages", "messages|child:1")
    assert (data[0]["type"], data[0]["content"], data[1]) == ("AIMessageChunk", "a", meta)


def test_names_of_subgraphs():
    encoder = EventEncoder(["values", "updates", "custom"], subgraphs=True)
    path = ("mid:de86", "child:9c12")
    names = [name for name, _ in encoded(encoder, (path, "updates", 1), ((), "values", 2), (path[:1], "custom", 3))]
    assert names == ["updates|mid:de86|child:9c12", "values", "custom|mid:de86"]


def test_partial_messages_of_subgraphs_have_plain_names():
    encoder = EventEncoder(["messages"], subgraphs=True)
    names = [name for name, _ in encoded(encoder, (("child:1",), "messages", (token("a"), {})))]
    assert names == ["messages/metadata", "messages/partial"]


PAYLOAD = {
    "config": {
        "configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c2", "__private": object()},
        "callbacks": object(),
    },
    "parent_config": {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c1", "user": 1}},
    "values": {"a": 1},
    "metadata": {"source": "loop", "step": 1, "parents": {}},
    "next": ["n"],
    "tasks": [
        {"id": "1", "name": "n", "interrupts": (), "state": None},
        {"id": "2", "name": "sub", "interrupts": (), "state": {"configurable": {"checkpoint_ns": "sub:2", "__x": 1}}},
    ],
}
SHOWN = {
    "config": {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c2"}},
    "parent_config": {
        "configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c1", "user": 1},
    },
    "values": {"a": 1},
    "metadata": {"source": "loop", "step": 1, "parents": {}},
    "next": ["n"],
    "tasks": [
        {"id": "1", "name": "n", "interrupts": [], "state": None},
        {"id": "2", "name": "sub", "interrupts": [], "state": {"configurable": {"checkpoint_ns": "sub:2"}}},
    ],
}


def test_checkpoints_show_no_private_configuration():
    encoder = EventEncoder(["checkpoints"], subgraphs=False)
    assert encoded(encoder, ((), "checkpoints", PAYLOAD)) == [("checkpoints", SHOWN)]


def test_debug_checkpoints_carry_references_too():
    encoder = EventEncoder(["debug"], subgraphs=False)
    [(_, data)] = encoded(encoder, ((), "debug", {"step": 1, "type": "checkpoint", "payload": PAYLOAD}))
    reference = {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c2"}
    tasks = [
        {"id": "1", "name": "n", "interrupts": [], "state": None},
        {"id": "2", "name": "sub", "interrupts": [], "checkpoint": {"checkpoint_ns": "sub:2"}},
    ]
    assert data["payload"] == {
        **SHOWN,
        "tasks": tasks,
        "checkpoint": reference,
        "parent_checkpoint": {**reference, "checkpoint_id": "c1"},
    }


def test_debug_tasks_pass_unchanged():
    task = {"step": 1, "timestamp": "now", "type": "task", "payload": {"id": "1", "name": "n"}}
    assert encoded(EventEncoder(["debug"], subgraphs=False), ((), "debug", task)) == [("debug", task)]


def test_the_first_checkpoint_has_no_parent():
    encoder = EventEncoder(["debug"], subgraphs=False)
    first = {**PAYLOAD, "parent_config": None}
    [(_, data)] = encoded(encoder, ((), "debug", {"type": "checkpoint", "payload": first}))
    assert data["payload"]["parent_config"] is None
    assert data["payload"]["parent_checkpoint"] is None


@pytest.mark.parametrize("mode", ["tasks", "debug"])
def test_errors_of_tasks_are_masked_as_those_of_runs(mode):
    task = {"id": "1", "name": "n", "error": OSError("secret"), "result": [], "interrupts": []}
    chunk = task if mode == "tasks" else {"step": 1, "type": "task_result", "payload": task}
    [(_, data)] = encoded(EventEncoder([mode], subgraphs=False), ((), mode, chunk))
    shown = data if mode == "tasks" else data["payload"]
    assert shown["error"] == {"error": "OSError", "message": "An internal error occurred"}
