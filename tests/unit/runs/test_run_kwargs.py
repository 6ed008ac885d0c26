"""From an assignment's JSON to LangGraph's arguments."""

import dataclasses
from typing import TypedDict

import orjson
import pytest
from langgraph.types import Command, Send
from pydantic import BaseModel
from threadmill_protos.runs.v1 import executors_pb2
from threadmill_runs.executor.running.kwargs import RunKwargs


def decoded(api_url="", **kwargs):
    document = {"config": {"configurable": {}}, "stream_mode": ["values"], **kwargs}
    return RunKwargs.of(
        executors_pb2.AttachResponse.Assignment(
            fence={"run_id": "run-1", "token": 1},
            thread_id="thread-1",
            graph_id="graph-1",
            assistant_id="assistant-1",
            attempt=2,
            kwargs_json=orjson.dumps(document),
        ),
        api_url,
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"resume": "yes"}, Command(resume="yes")),
        ({"resume": False}, Command(resume=False)),
        ({"resume": {"id": 1}}, Command(resume={"id": 1})),
        ({"goto": "node"}, Command(goto=["node"])),
        ({"goto": ["a", "b"]}, Command(goto=["a", "b"])),
        ({"goto": {"node": "a", "input": {"x": 1}}}, Command(goto=[Send("a", {"x": 1})])),
        ({"goto": ["a", {"node": "b"}]}, Command(goto=["a", Send("b", None)])),
        ({"update": {"k": 1}}, Command(update={"k": 1}, goto=[])),
        ({"update": [["k", 1], ["l", 2]]}, Command(update=[("k", 1), ("l", 2)], goto=[])),
    ],
)
def test_commands(command, expected):
    made = decoded(command=command, input={"ignored": True}).input
    assert (made.resume, list(made.goto or ()), made.update) == (expected.resume, list(expected.goto), expected.update)
    assert made.graph is None


def test_an_empty_command_leaves_the_input():
    assert decoded(command={}, input={"n": 1}).input == {"n": 1}


def test_the_address_of_the_server_is_in_the_metadata_if_it_is_known():
    assert decoded(api_url="http://server").config["metadata"]["langgraph_api_url"] == "http://server"
    assert "langgraph_api_url" not in decoded().config["metadata"]


@pytest.mark.parametrize("command", [{"goto": []}, {"goto": None, "update": None, "resume": None}])
def test_a_command_that_says_nothing_is_no_input(command):
    assert decoded(command=command, input={"ignored": True}).input is None


@pytest.mark.parametrize("value", [None, 0, "", [], {"n": 1}])
def test_input_without_a_command(value):
    assert decoded(input=value).input == value


def test_config_gets_the_ids_of_the_attempt():
    config = decoded(config={"configurable": {"a": 1}, "metadata": {"run_id": "forged", "m": 1}, "tags": ["t"]}).config
    assert config["run_id"] == "run-1"
    assert config["tags"] == ["t"]
    assert config["configurable"] == {"a": 1}
    metadata = config["metadata"]
    assert (metadata["run_id"], metadata["thread_id"], metadata["m"]) == ("run-1", "thread-1", 1)
    assert metadata["run_attempt"] == 2
    assert metadata["langgraph_version"]


class Typed(TypedDict):
    model: str


class Pydantic(BaseModel):
    model: str = ""


@dataclasses.dataclass
class Data:
    model: str = ""


@pytest.mark.parametrize("schema", [Typed, Pydantic, Data])
def test_undeclared_context_leaves_its_mirror_too_but_configurable_is_the_callers(schema):
    mirrored = {"model": "m", "other": 1, "thread_id": "t"}
    given = {"config": {"configurable": {**mirrored, "__context_provided__": True}}}
    by_context = decoded(context={"model": "m", "other": 1}, **given)
    assert by_context.config_for(schema)["configurable"] == {
        "model": "m",
        "thread_id": "t",
        "__context_provided__": True,
    }
    assert by_context.config_for(None) == by_context.config
    by_configurable = decoded(context={"model": "m", "other": 1}, config={"configurable": mirrored})
    assert by_configurable.config_for(schema)["configurable"] == mirrored


@pytest.mark.parametrize("schema", [Typed, Pydantic, Data])
def test_context_keeps_what_the_schema_declares(schema):
    assert decoded(context={"model": "m", "other": 1}).context_for(schema) == {"model": "m"}
    # What the server adds to `configurable` under the same name is not the client's context.
    anonymous = decoded(config={"configurable": {"model": "", "thread_id": "t"}})
    assert anonymous.context_for(schema) == {}
    assert anonymous.context_for(None) is None
