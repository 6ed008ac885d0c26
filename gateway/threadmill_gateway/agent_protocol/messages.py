"""Messages in the protocol's shape (`role`) and in LangChain's (`type`)."""

from collections.abc import Iterable
from typing import Any

from threadmill_gateway.agent_protocol.models import AgentMessage
from threadmill_gateway.models.base import JsonObject

TYPES = {"user": "human", "assistant": "ai"}
ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
# What LangChain keeps about a message that the protocol has no key for.
_METADATA = ("response_metadata", "usage_metadata")
_EXTRAS = ("name", "tool_calls", "tool_call_id", "status")


def to_langchain(messages: Iterable[AgentMessage]) -> list[JsonObject]:
    """Messages as graphs take them. Metadata goes into `additional_kwargs`, which LangChain keeps as it is."""
    return [_to_langchain(message) for message in messages]


def _to_langchain(message: AgentMessage) -> JsonObject:
    found: JsonObject = {
        **(message.model_extra or {}),
        "type": TYPES.get(message.role, message.role),
        "content": message.content,
    }
    if message.id is not None:
        found["id"] = message.id
    if message.metadata:
        found["additional_kwargs"] = message.metadata
    return found


def from_langchain(messages: Iterable[JsonObject]) -> list[JsonObject]:
    """Messages as the protocol shows them."""
    return [_from_langchain(message) for message in messages]


def _from_langchain(message: JsonObject) -> JsonObject:
    kind = str(message.get("type") or message.get("role"))
    found: JsonObject = {"role": ROLES.get(kind, kind), "content": _content(message.get("content"))}
    if message.get("id"):
        found["id"] = str(message["id"])
    metadata = {**(message.get("additional_kwargs") or {})}
    metadata |= {key: message[key] for key in _METADATA if message.get(key)}
    if metadata:
        found["metadata"] = metadata
    return found | {key: message[key] for key in _EXTRAS if message.get(key)}


def _content(content: Any) -> str | list[JsonObject]:
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    blocks = [{"type": "text", "text": block} if isinstance(block, str) else block for block in content]
    return [{"type": "unknown", **block} for block in blocks if isinstance(block, dict)]


def split(state: Any) -> tuple[JsonObject, list[JsonObject] | None]:
    """A state's values and its messages; None where it has none. A state that is no object becomes `output`."""
    if not isinstance(state, dict):
        return ({} if state is None else {"output": state}), None
    messages = state.get("messages")
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        return state, None
    return {key: value for key, value in state.items() if key != "messages"}, from_langchain(messages)


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and "content" in message and bool(message.get("type") or message.get("role"))


def joined(values: Any, messages: list[AgentMessage] | None) -> Any:
    """The protocol's two ways to give a state, as one; the values are an object or None where messages are given."""
    if messages is None:
        return values
    return {**(values or {}), "messages": to_langchain(messages)}
