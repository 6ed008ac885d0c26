"""What the model is asked, free of any wire format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
# Some patterns take time that grows with the square of a text: 100,000 characters took 50 seconds, and the server
# answers one request at a time. What a user writes beyond the limit is not read.
READ_LIMIT_CHARS = 6000
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool by the model."""

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `tool_call_id` is set on tool results only."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Json = field(default_factory=dict)

    @property
    def properties(self) -> Json:
        """The schemas of the parameters by name."""
        properties: Json = self.parameters.get("properties", {})
        return properties

    @property
    def required(self) -> list[str]:
        """The names of the parameters that a call has to have."""
        return list(self.parameters.get("required", []))


@dataclass(frozen=True, slots=True)
class Call:
    """What the model decides to call; ids are given by the edge."""

    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer: a text, or calls."""

    text: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything a model sees of one request.

    `tool_choice` is `none`, `auto`, `required` or the name of a tool. `response_schema` is set when the answer has
    to be a JSON text of that schema.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_calls: bool = True
    response_schema: Json | None = None

    @property
    def system_text(self) -> str:
        """All system messages as one text."""
        return "\n\n".join(m.text for m in self.messages if m.role == "system")

    @property
    def user_texts(self) -> list[str]:
        """What the user has said, message by message."""
        return [m.text[:READ_LIMIT_CHARS] for m in self.messages if m.role == "user"]

    @property
    def last_user_text(self) -> str:
        """What the user said last; empty if nothing."""
        return self.user_texts[-1] if self.user_texts else ""

    @property
    def turn(self) -> tuple[Message, ...]:
        """The messages since the assistant last answered in words."""
        start = 0
        for index, message in enumerate(self.messages):
            if message.role == "assistant" and message.text and not message.tool_calls:
                start = index + 1
        return self.messages[start:]

    @property
    def turn_text(self) -> str:
        """What the user said in this turn; the last thing said, if the turn holds nothing."""
        texts = [m.text[:READ_LIMIT_CHARS] for m in self.turn if m.role == "user"]
        return "\n".join(texts)[-READ_LIMIT_CHARS:] or self.last_user_text

    @property
    def turn_calls(self) -> list[ToolCall]:
        """The calls that the assistant has made in this turn."""
        return [call for message in self.turn for call in message.tool_calls]

    @property
    def turn_results(self) -> list[tuple[ToolCall | None, str]]:
        """The tool results of this turn with the calls that they answer."""
        calls = {call.id: call for call in self.turn_calls}
        return [(calls.get(m.tool_call_id), m.text) for m in self.turn if m.role == "tool"]
