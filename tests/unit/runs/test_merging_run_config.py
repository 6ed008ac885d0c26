"""What a run's kwargs are made of: the assistant's defaults, the request, and what the server adds."""

from datetime import UTC, datetime

import orjson
import pytest
from threadmill_chassis.errors import InvalidArgument
from threadmill_protos.runs.v1 import runs_pb2
from threadmill_protos.threads.v1 import threads_pb2
from threadmill_runs.assistants.domain import Assistant, mirrored, replaced
from threadmill_runs.queue import new_run
from threadmill_runs.queue.run import Strategy

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def kwargs(config=None, context=None, of_assistant=None, context_of_assistant=None, metadata=None, **fields):
    own_config, own_context = mirrored(orjson.dumps(of_assistant or {}), orjson.dumps(context_of_assistant or {}))
    assistant = Assistant("assistant-1", "graph-1", own_config, own_context, b"{}", "name", None, 1, NOW, NOW)
    request = runs_pb2.CreateRunRequest(
        config_json=orjson.dumps(config or {}), context_json=orjson.dumps(context or {}), **fields
    )
    merged = new_run.merged_config(request, assistant)
    document = new_run._kwargs(request, assistant, merged, "thread-1", "run-1", metadata or {}, stateless=False)
    return orjson.loads(document)


def test_defaults():
    made = kwargs()
    assert made["config"]["configurable"] == {
        "thread_id": "thread-1",
        "run_id": "run-1",
        "graph_id": "graph-1",
        "assistant_id": "assistant-1",
        "user_id": "",
        "langgraph_request_id": None,
        "langgraph_auth_user": None,
        "langgraph_auth_user_id": "",
        "langgraph_auth_permissions": [],
    }
    del made["config"]
    assert made == {
        "input": None,
        "command": None,
        "context": {},
        "stream_mode": ["values"],
        "interrupt_before": None,
        "interrupt_after": None,
        "webhook": None,
        "feedback_keys": None,
        "temporary": False,
        "subgraphs": False,
        "resumable": False,
        "checkpoint_during": True,
        "durability": "async",
    }


def test_request_replaces_tags_and_limits_and_merges_configurable_by_key():
    made = kwargs(
        config={"tags": ["mine"], "configurable": {"b": 2, "c": 3}},
        of_assistant={"tags": ["theirs"], "recursion_limit": 5, "configurable": {"a": 1, "b": 1}},
    )
    assert made["config"]["tags"] == ["mine"]
    assert made["config"]["recursion_limit"] == 5
    configurable = made["config"]["configurable"]
    assert [configurable[key] for key in "abc"] == [1, 2, 3]


def test_what_the_request_configures_wins_over_the_assistants_context_too():
    made = kwargs(
        config={"configurable": {"model": "mine"}}, of_assistant={"configurable": {"model": "theirs", "x": 1}}
    )
    assert made["context"] == {"model": "mine", "x": 1}


def test_context_is_merged_and_mirrored():
    made = kwargs(context={"b": 2}, context_of_assistant={"a": 1, "b": 1})
    assert made["context"] == {"a": 1, "b": 2}
    assert made["config"]["configurable"]["a"] == 1
    assert made["config"]["configurable"]["b"] == 2


def test_context_and_configurable_exclude_each_other():
    with pytest.raises(InvalidArgument, match="Prefer setting context alone"):
        kwargs(config={"configurable": {"a": 1}}, context={"b": 1})
    kwargs(config={"configurable": {}}, context={"b": 1})
    kwargs(config={"configurable": None}, context={"b": 1})


def test_server_keys_win_over_checkpoint_over_client_over_headers():
    made = kwargs(
        config={"configurable": {"x-header": "client", "thread_id": "forged", "checkpoint_id": "client"}},
        header_configurable_json=b'{"x-header":"header","y-header":"header"}',
        checkpoint_json=b'{"checkpoint_id":"c1","checkpoint_ns":"ns"}',
        request_id="request-1",
    )["config"]["configurable"]
    assert (made["x-header"], made["y-header"]) == ("client", "header")
    assert (made["checkpoint_id"], made["checkpoint_ns"]) == ("c1", "ns")
    assert (made["thread_id"], made["langgraph_request_id"]) == ("thread-1", "request-1")


@pytest.mark.parametrize("own", [None, {}, {"k": "config", "extra": 1}])
def test_the_run_has_the_metadata_of_its_config_too_and_its_own_wins(own):
    assistant = Assistant("assistant-1", "graph-1", b"{}", b"{}", b"{}", "name", None, 1, NOW, NOW)
    request = runs_pb2.CreateRunRequest(
        config_json=orjson.dumps({"metadata": own}), metadata_json=b'{"k":"run"}', thread_id="thread-1"
    )
    thread = threads_pb2.Thread(thread_id="thread-1")
    merged = new_run.merged_config(request, assistant)
    new = new_run.new_run(request, assistant, merged, thread, "run-1", Strategy.ENQUEUE, stateless=False)
    expected = {**(own or {}), "k": "run", "assistant_id": "assistant-1", "graph_id": "graph-1"}
    assert orjson.loads(new.metadata_json) == expected
    assert orjson.loads(new.kwargs_json)["config"]["metadata"] == expected


@pytest.mark.parametrize(
    ("fields", "durability", "during"),
    [
        ({}, "async", True),
        ({"checkpoint_during": True}, "async", True),
        ({"checkpoint_during": False}, "exit", False),
        ({"checkpoint_during": False, "durability": "sync"}, "sync", False),
        ({"durability": "exit"}, "exit", True),
    ],
)
def test_durability(fields, durability, during):
    made = kwargs(**fields)
    assert (made["durability"], made["checkpoint_during"]) == (durability, during)


def test_input_passes_through_undecoded():
    assert kwargs(input_json=b'{"n":12345678901234567890}')["input"] == {"n": 12345678901234567890}
    assert kwargs(input_json=b"0")["input"] == 0
    assert kwargs(command_json=b'{"resume":false}')["command"] == {"resume": False}


@pytest.mark.parametrize(
    ("config", "context", "expected"),
    [
        ({}, {}, ({}, {})),
        ({"configurable": {"a": 1}, "tags": ["t"]}, {}, ({"configurable": {"a": 1}, "tags": ["t"]}, {"a": 1})),
        ({"tags": ["t"]}, {"a": 1}, ({"configurable": {"a": 1}, "tags": ["t"]}, {"a": 1})),
        ({"configurable": {"a": 1}}, {"b": 2}, ({"configurable": {"b": 2}}, {"b": 2})),
    ],
)
def test_config_and_context_of_an_assistant_mirror_each_other(config, context, expected):
    made = mirrored(orjson.dumps(config), orjson.dumps(context))
    assert tuple(map(orjson.loads, made)) == expected


@pytest.mark.parametrize(
    ("config", "context", "expected"),
    [
        (None, None, ({"tags": ["t"], "configurable": {"a": 1}}, {"a": 1})),
        (None, {}, ({"tags": ["t"], "configurable": {"a": 1}}, {})),
        ({}, {}, ({"tags": ["t"], "configurable": {"a": 1}}, {})),
        ({"tags": ["u"]}, None, ({"tags": ["u"]}, {"a": 1})),
        ({"tags": ["u"]}, {}, ({"tags": ["u"]}, {})),
        ({"configurable": {}}, None, ({"configurable": {}}, {"a": 1})),
        ({"configurable": {"b": 2}}, {}, ({"configurable": {"b": 2}}, {"b": 2})),
        (None, {"b": 2}, ({"configurable": {"b": 2}}, {"b": 2})),
    ],
)
def test_an_update_of_an_assistant_clears_its_context_but_not_its_config(config, context, expected):
    old = Assistant("a", "g", b'{"tags":["t"],"configurable":{"a":1}}', b'{"a":1}', b"{}", "name", None, 1, NOW, NOW)
    given = (b"" if document is None else orjson.dumps(document) for document in (config, context))
    assert tuple(map(orjson.loads, replaced(old, *given))) == expected


def test_a_new_thread_takes_over_the_metadata_of_the_runs_config():
    request = runs_pb2.CreateRunRequest(metadata_json=b'{"k":"run"}', config_json=b'{"metadata":{"k":"config","l":1}}')
    assert orjson.loads(new_run.new_thread_metadata(request)) == {"k": "run", "l": 1}
    request.config_json = b'{"tags":[]}'
    assert new_run.new_thread_metadata(request) == b'{"k":"run"}'
