"""The protocol's documents, from protobuf messages."""

from typing import Any

import orjson
from threadmill_protos.runs.v1 import assistants_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

from threadmill_gateway import encode
from threadmill_gateway.agent_protocol.messages import split
from threadmill_gateway.encode import Document, fragment, time_of

STREAM_MODES = {
    "values": "values",
    "messages": "messages",
    "messages-tuple": "messages",
    "updates": "updates",
    "custom": "custom",
}
# Keys that the server adds to a run's config, which the client did not write.
_INTERNAL = ("__", "langgraph_")


def agent(row: assistants_pb2.Assistant, *, takes_messages: bool) -> Document:
    """An agent."""
    found: Document = {
        "agent_id": row.assistant_id,
        "name": row.name,
        "metadata": fragment(row.metadata_json),
        "capabilities": {"ap.io.messages": takes_messages, "ap.io.streaming": True},
    }
    if row.HasField("description"):
        found["description"] = row.description
    return found


def schemas(agent_id: str, found: Document) -> Document:
    """Schemas of an agent; a schema that could not be made is the one that allows everything."""
    document: Document = {"agent_id": agent_id}
    for name in ("input_schema", "output_schema"):
        document[name] = found.get(name) or {}
    for name in ("state_schema", "config_schema"):
        if found.get(name):
            document[name] = found[name]
    return document


def run(row: runs_pb2.Run) -> Document:
    """A run."""
    kwargs = orjson.loads(row.kwargs_json or b"{}")
    modes = [STREAM_MODES[mode] for mode in kwargs.get("stream_mode") or () if mode in STREAM_MODES]
    running = row.state == runs_pb2.RUN_STATE_RUNNING
    found: Document = {
        "run_id": row.run_id,
        "thread_id": row.thread_id,
        "agent_id": row.assistant_id,
        "status": "pending" if running else encode.RUN_STATES.get(row.state, "pending"),
        "created_at": time_of(row.create_time),
        "updated_at": time_of(row.update_time),
        "metadata": fragment(row.metadata_json),
        "input": kwargs.get("input"),
        "config": _config(kwargs.get("config") or {}),
        "stream_mode": list(dict.fromkeys(modes)),
        "on_completion": "delete" if kwargs.get("temporary") else "keep",
    }
    if kwargs.get("webhook"):
        found["webhook"] = kwargs["webhook"]
    return found


def _config(config: Document) -> Document:
    found = {key: config[key] for key in ("tags", "recursion_limit") if config.get(key)}
    configurable = config.get("configurable") or {}
    found["configurable"] = {key: value for key, value in configurable.items() if not key.startswith(_INTERNAL)}
    return found


def result(row: runs_pb2.Run, outcome_json: bytes) -> Document:
    """What a run came to: `outcome_json` is the LangGraph API's answer to a wait."""
    outcome: Any = orjson.loads(outcome_json or b"null")
    if isinstance(outcome, dict) and "__error__" in outcome:
        return {"run": run(row), "values": {}, "error": outcome["__error__"]}
    return {"run": run(row), **_state(outcome)}


def _state(state: Any) -> Document:
    values, messages = split(state)
    return {"values": values} if messages is None else {"values": values, "messages": messages}


def thread(row: threads_pb2.Thread) -> Document:
    """A thread."""
    return {
        "thread_id": row.thread_id,
        "created_at": time_of(row.create_time),
        "updated_at": time_of(row.update_time),
        "metadata": fragment(row.metadata_json),
        "status": encode.THREAD_STATES.get(row.state, "idle"),
        **_state(orjson.loads(row.values_json or b"null")),
    }
