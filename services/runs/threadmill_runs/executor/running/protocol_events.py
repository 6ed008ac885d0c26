"""From LangGraph's protocol events (`astream_events(version="v3")`) to those of the thread-streaming protocol.

The two differ in little: LangGraph tells of subgraphs in events of the root, has interrupts beside the values, and
knows nothing of the messages that tools give. Root lifecycle events are not made here: they follow from the run itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.types import Interrupt

from threadmill_runs.executor.encoding import encode
from threadmill_runs.executor.running.failures import MASKED, describe

PASSED_ON = frozenset({"values", "updates", "custom", "tools", "tasks"})
# Prefix of LangGraph's names for what a transformer of the user streams.
NAMED = "custom:"
# Prefix of ids that LangChain makes up.
MADE_UP = "lc_"


class Emitted(NamedTuple):
    """One event: its name, `method|node:task|…`, its JSON data, and when it arose."""

    name: str
    data_json: bytes
    timestamp_ms: int


class ProtocolEncoder:
    """Translates the events of one run, keeping what must be remembered between them."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._graphs: dict[tuple[str, ...], str] = {}
        # Ends of failed subgraphs wait for the error, of which clients may know no more than the run's end tells.
        self._failed: list[tuple[tuple[str, ...], str, int]] = []

    def encode(self, event: Mapping[str, Any]) -> Iterator[Emitted]:
        """Events for clients out of one of LangGraph's."""
        method, params = event["method"], event["params"]
        namespace, data, now = tuple(params["namespace"]), params["data"], params["timestamp"]
        if method == "values":
            yield from self._requests(namespace, params.get("interrupts", ()), now)
        if method == "lifecycle":
            yield from self._lifecycle(data, now)
        elif method == "messages":
            payload = data[0]
            if isinstance(payload, Mapping) and "event" in payload:  # whole messages are seen in the values
                yield Emitted(_name(method, namespace), encode(payload), now)
        elif method == "checkpoints":
            yield Emitted(_name(method, namespace), encode(_checkpoint(data)), now)
        elif method.startswith(NAMED):
            named = {"name": method.removeprefix(NAMED), "payload": data}
            yield Emitted(_name("custom", namespace), _shown(named), now)
        elif method in PASSED_ON:
            data_json = encode(data) if method == "tools" else _shown(_without_interrupts(method, data))
            yield Emitted(_name(method, namespace), data_json, now)
        if method == "tools":
            yield from _tool_message(namespace, data, now)

    def _requests(self, namespace: tuple[str, ...], interrupts: Sequence[Interrupt], now: int) -> Iterator[Emitted]:
        """What the graph asks for. A subgraph's interrupt is seen in all graphs around it, and told once."""
        for interrupt in interrupts:
            if interrupt.id not in self._asked:
                self._asked.add(interrupt.id)
                request = {"interrupt_id": interrupt.id, "payload": interrupt.value}
                yield Emitted(_name("input.requested", namespace), _shown(request), now)

    def _lifecycle(self, data: Mapping[str, Any], now: int) -> Iterator[Emitted]:
        namespace, event = tuple(data["namespace"]), data["event"]
        if event == "started":
            self._graphs[namespace] = data.get("graph_name", "")
            yield Emitted(_name("lifecycle", namespace), encode(data), now)
        elif event == "failed":
            self._failed.append((namespace, data.get("error", ""), now))
        else:
            yield self._end(namespace, "interrupted" if event == "drained" else event, now)

    def failed(self, error: Exception | None) -> Iterator[Emitted]:
        """The ends of subgraphs that failed, once the run's own error is known; None: it has none."""
        known = describe(error)["message"] if error is not None else ""
        for namespace, text, at in self._failed:
            shown = known if error is not None and text == str(error) else MASKED
            yield self._end(namespace, "failed", at, shown)
        self._failed.clear()

    def _end(self, namespace: tuple[str, ...], event: str, at: int, error: str | None = None) -> Emitted:
        data = {"event": event, "graph_name": self._graphs.get(namespace, "")}
        return Emitted(_name("lifecycle", namespace), encode(data if error is None else data | {"error": error}), at)


def _name(method: str, namespace: Sequence[str]) -> str:
    return "|".join((method, *namespace))


def _without_interrupts(method: str, data: Any) -> Any:
    """Updates, without the interrupts that are told as `input.requested`."""
    if method == "updates" and isinstance(data, Mapping) and "__interrupt__" in data:
        return {key: value for key, value in data.items() if key != "__interrupt__"}
    return data


def _checkpoint(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A reference to a checkpoint; what is in it, the values tell."""
    metadata = payload.get("metadata") or {}
    reference = {"id": _checkpoint_id(payload.get("config"))}
    if parent := _checkpoint_id(payload.get("parent_config")):
        reference["parent_id"] = parent
    return {**reference, "step": metadata.get("step"), "source": metadata.get("source")}


def _checkpoint_id(config: Mapping[str, Any] | None) -> str | None:
    found: str | None = (config or {}).get("configurable", {}).get("checkpoint_id")
    return found


def _tool_message(namespace: tuple[str, ...], data: Mapping[str, Any], now: int) -> Iterator[Emitted]:
    """What a tool gave, as a message of its own."""
    if data.get("event") != "tool-finished":
        return
    output, call_id = data.get("output"), data["tool_call_id"]
    message_id = output.id if isinstance(output, ToolMessage) else None
    text = output
    if isinstance(output, ToolMessage):
        text = output.content if isinstance(output.content, str) else encode(output.content).decode()
    if not isinstance(text, str):
        return
    block = {"type": "text", "text": text}
    name = _name("messages", (*namespace, f"tools:{call_id}"))
    for event in (
        {"event": "message-start", "role": "tool", "id": message_id or f"tool-{call_id}", "tool_call_id": call_id},
        {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}},
        {"event": "content-block-delta", "index": 0, "content": block},
        {"event": "content-block-finish", "index": 0, "content": block},
        {"event": "message-finish", "metadata": {}},
    ):
        yield Emitted(name, encode(event), now)


def _shown(value: Any) -> bytes:
    """JSON with messages in the protocol's form."""
    return encode(value, lambda unknown: _message(unknown) if isinstance(unknown, BaseMessage) else NotImplemented)


def _message(message: BaseMessage) -> dict[str, Any]:
    """A message without what is empty, its content in LangChain's standard blocks."""
    content: Any = message.content
    if isinstance(content, list) and not isinstance(message, AIMessage):
        content = [_without_made_up_id(block) for block in message.content_blocks]
    shown: dict[str, Any] = {"type": message.type, "content": content}
    for field in ("id", "name", "response_metadata"):
        if value := getattr(message, field, None):
            shown[field] = value
    if isinstance(message, ToolMessage):
        shown |= {"tool_call_id": message.tool_call_id, "status": message.status, "artifact": message.artifact}
    if isinstance(message, AIMessage):
        if message.tool_calls:
            shown["tool_calls"] = [
                {"type": "tool_call", "name": call["name"], "args": call["args"], "id": call["id"]}
                for call in message.tool_calls
            ]
        if message.invalid_tool_calls:
            shown["invalid_tool_calls"] = message.invalid_tool_calls
    return shown


def _without_made_up_id(block: Mapping[str, Any]) -> dict[str, Any]:
    """LangChain gives some blocks an id that is another one every time."""
    made_up = str(block.get("id", "")).startswith(MADE_UP)
    return {key: value for key, value in block.items() if not (made_up and key == "id")}
