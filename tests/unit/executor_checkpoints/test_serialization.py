"""Checkpoints are msgpack or JSON. Pickle, which can run code when it is read, is neither written nor read."""

import pickle
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from threadmill_protos.threads.v1 import checkpoints_pb2
from threadmill_runs.executor.checkpoints import wire
from threadmill_runs.executor.encoding import decode
from threadmill_runs.executor.settings import ExecutorSettings

CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
ran: list[str] = []


class Opaque:
    """Nothing that msgpack knows; unpickling it leaves a trace."""

    def __reduce__(self) -> Any:
        return (ran.append, ("unpickled",))


def serde(**environment: bool) -> JsonPlusSerializer:
    """As the executor makes it from its settings."""
    return JsonPlusSerializer(pickle_fallback=ExecutorSettings(**environment).checkpoint_pickle)


def put(of: JsonPlusSerializer, value: object) -> checkpoints_pb2.Checkpoint:
    checkpoint: Any = empty_checkpoint() | {"channel_values": {"x": value}, "channel_versions": {"x": "1"}}
    return wire.put_op(of, CONFIG, checkpoint, {}, {"x": "1"}).put


def test_values_are_msgpack() -> None:
    stored = put(serde(), [HumanMessage("hi"), {"n": 1}])
    assert (stored.body.type, stored.channel_blobs[0].value.type) == ("msgpack", "msgpack")


def test_pickle_is_not_written() -> None:
    with pytest.raises(TypeError, match="Opaque"):
        put(serde(), Opaque())


def test_pickle_is_not_read() -> None:
    stored = put(serde(), 1)
    stored.channel_blobs[0].value.type = "pickle"
    stored.channel_blobs[0].value.data = pickle.dumps(Opaque())
    with pytest.raises(NotImplementedError, match="pickle"):
        wire.to_tuple(serde(), stored)
    assert ran == []


def test_who_turns_pickle_on_has_it() -> None:
    stored = put(serde(checkpoint_pickle=True), {1j})
    assert stored.channel_blobs[0].value.type == "pickle"
    found = wire.to_tuple(serde(checkpoint_pickle=True), stored)
    assert found.checkpoint["channel_values"]["x"] == {1j}


def test_metadata_takes_in_what_is_json_of_the_config() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    config: Any = {
        "configurable": {
            "thread_id": "t",
            "checkpoint_ns": "",
            "checkpoint_id": "parent",
            "checkpoint_map": {"": "root"},
            "__private": 1,
            "langgraph_auth_permissions": [],
            "model": {"name": ["m", None]},
            "opened": Opaque(),
            "both": "configurable",
        },
        "metadata": {"langgraph_path": ("__pregel_pull", "n"), "both": "metadata", "cyclic": cyclic, "thread_id": "t"},
    }
    metadata: Any = {"step": 1, "both_and": "own", "writes": {}}
    stored = wire.put_op(serde(), config, empty_checkpoint(), metadata, {}).put
    assert decode(stored.metadata_json) == {
        "checkpoint_map": {"": "root"},
        "model": {"name": ["m", None]},
        "both": "metadata",
        "langgraph_path": ["__pregel_pull", "n"],
        "step": 1,
        "both_and": "own",
    }
