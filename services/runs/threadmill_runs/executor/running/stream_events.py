"""From what LangGraph streams to named events with JSON data, as the REST contract shows them."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.messages import (
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    ToolMessage,
    message_chunk_to_message,
)
from langchain_core.runnables import RunnableConfig
from langgraph.graph.message import add_messages

from threadmill_runs.executor.encoding import encode
from threadmill_runs.executor.running.failures import describe

# Modes that LangGraph knows under the same name.
PLAIN_MODES = ("values", "updates", "custom", "debug", "tasks", "checkpoints")
Named = tuple[str, bytes]


def langgraph_modes(requested: Sequence[str]) -> list[str]:
    """What to ask of LangGraph for the requested REST modes; `events` is no mode of its stream."""
    wanted = [mode for mode in requested if mode in PLAIN_MODES]
    if "messages" in requested or "messages-tuple" in requested:
        wanted.append("messages")
    return wanted or ["values"]


class EventEncoder:
    """Turns stream chunks of one run into (event name, JSON data), keeping what must be remembered between chunks."""

    def __init__(self, requested: Sequence[str], *, subgraphs: bool, message_channels: Collection[str] = ()) -> None:
        self._requested = set(requested)
        self._message_channels = frozenset(message_channels)
        self._subgraphs = subgraphs
        # With both, only the tuple form is sent.
        self._tuples = "messages-tuple" in requested
        self._partial: dict[str, BaseMessageChunk] = {}
        self._announced: set[str] = set()

    def encode(self, namespace: Sequence[str], mode: str, data: Any) -> Iterator[Named]:
        """Events of one chunk of LangGraph's stream."""
        if mode == "messages":
            yield from self._messages(namespace, *data)
        elif mode in self._requested:
            for written in _written(mode, data):
                self._identify(written)
            if mode == "events" and self._message_channels and isinstance(data["data"].get("output"), ToolMessage):
                _identify(data["data"]["output"])  # which its node is about to put into the state
            yield self._name(mode, namespace), encode(_without_internals(mode, data))

    def _identify(self, written: dict[str, Any]) -> None:
        """Gives ids to new messages, as their reducer would in a moment to the same objects: in an update, or an
        event, a message has the id by which clients find it in the values that follow."""
        for channel in self._message_channels & written.keys():
            values = written[channel]
            for message in values if isinstance(values, list) else [values]:
                _identify(message)

    def _name(self, mode: str, namespace: Sequence[str]) -> str:
        # Without subgraphs LangGraph streams nothing of theirs, and what has a namespace all the same is the root's.
        return "|".join((mode, *namespace)) if self._subgraphs else mode

    def _messages(self, namespace: Sequence[str], message: BaseMessage, metadata: dict[str, Any]) -> Iterator[Named]:
        if self._tuples:
            yield self._name("messages", namespace), encode((message, metadata))
        elif "messages" in self._requested:
            yield from self._accumulated(message, metadata)

    def _accumulated(self, message: BaseMessage, metadata: dict[str, Any]) -> Iterator[Named]:
        message_id = message.id or ""
        if message_id not in self._announced:
            self._announced.add(message_id)
            yield "messages/metadata", encode({message_id: {"metadata": metadata}})
        if isinstance(message, BaseMessageChunk):
            known = self._partial.get(message_id)
            merged = message if known is None else known + message
            self._partial[message_id] = merged if isinstance(merged, BaseMessageChunk) else message
            yield "messages/partial", encode([message_chunk_to_message(self._partial[message_id])])
            if isinstance(message, AIMessageChunk) and message.chunk_position == "last":
                del self._partial[message_id]
        else:
            yield "messages/complete", encode([message])


def message_channels(channels: dict[str, Any]) -> set[str]:
    """Names of the channels of a graph that are reduced by `add_messages`."""
    return {name for name, channel in channels.items() if getattr(channel, "operator", None) is add_messages}


def _identify(message: Any) -> None:
    if isinstance(message, BaseMessage) and message.id is None:
        message.id = str(uuid4())


def _written(mode: str, data: Any) -> Iterator[dict[str, Any]]:
    """What the chunk says that nodes have written, by channel."""
    if mode == "events":
        yield from (each for each in (data["data"].get("output"), data["data"].get("chunk")) if isinstance(each, dict))
    if mode == "updates" and isinstance(data, dict):
        for update in data.values():
            yield from (each for each in (update if isinstance(update, list) else [update]) if isinstance(each, dict))
    result = data.get("result") if mode == "tasks" else data["payload"].get("result") if mode == "debug" else None
    if isinstance(result, dict):
        yield result


def _without_internals(mode: str, data: Any) -> Any:
    """Configs are shown as `configurable` without private keys, and exceptions as clients may know them."""
    if mode == "checkpoints":
        return _shown_checkpoint(data)
    if mode == "tasks":
        return _shown_error(data)
    if mode == "events":
        return {**data, "data": _shown_error(data["data"])}
    if mode == "debug" and data["type"] == "checkpoint":
        return {**data, "payload": _debug_checkpoint(data["payload"])}
    if mode == "debug":
        return {**data, "payload": _shown_error(data["payload"])}
    return data


def _debug_checkpoint(payload: dict[str, Any]) -> dict[str, Any]:
    shown = _shown_checkpoint(payload)
    shown["checkpoint"] = _reference(payload.get("config"))
    shown["parent_checkpoint"] = _reference(payload.get("parent_config"))
    for task in shown["tasks"]:
        if isinstance(task.get("state"), dict) and "configurable" in task["state"]:
            task["checkpoint"] = task.pop("state")["configurable"]
    return shown


def _shown_error(task: dict[str, Any]) -> dict[str, Any]:
    error = task.get("error")
    return {**task, "error": describe(error)} if isinstance(error, BaseException) else task


def _shown_checkpoint(payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "config": _shown_config(payload.get("config")),
        "parent_config": _shown_config(payload.get("parent_config")),
        "values": payload.get("values"),
        "metadata": _shown_metadata(payload),
        "next": payload.get("next"),
        "tasks": [_shown_task(task) for task in payload.get("tasks", ())],
    }


def _shown_metadata(payload: dict[str, Any]) -> dict[str, Any] | None:
    """Stored metadata does not repeat where the checkpoint lies; clients see the thread in it."""
    metadata: dict[str, Any] | None = payload.get("metadata")
    if not metadata or "run_id" not in metadata:
        return metadata
    return {**metadata, "thread_id": payload["config"]["configurable"]["thread_id"]}


def _shown_task(task: dict[str, Any]) -> dict[str, Any]:
    state = task.get("state")
    if isinstance(state, dict) and "configurable" in state:
        task = {**task, "state": _shown_config(state)}
    return _shown_error(dict(task))


def _shown_config(config: RunnableConfig | dict[str, Any] | None) -> dict[str, Any] | None:
    if not config:
        return None
    configurable = {key: value for key, value in config.get("configurable", {}).items() if not key.startswith("__")}
    return {"configurable": configurable}


def _reference(config: dict[str, Any] | None) -> dict[str, Any] | None:
    if not config:
        return None
    configurable = config.get("configurable", {})
    keys = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
    return {key: configurable[key] for key in keys if key in configurable}
