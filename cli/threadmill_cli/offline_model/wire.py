"""The OpenAI wire format: requests into conversations, replies into responses and stream chunks."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from threadmill_cli.offline_model.conversation import Conversation, Json, Message, Reply, Role, Tool, ToolCall

ROLES: dict[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "function": "tool",
}  # fmt: skip
ARGUMENT_PIECE_CHARS = 16


class BadRequest(Exception):
    """A request that OpenAI would refuse, too; `status` is the HTTP status."""

    def __init__(self, message: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.param, self.status = message, param, status


def error_body(message: str, param: str | None = None, kind: str = "invalid_request_error") -> Json:
    """An error as OpenAI's clients expect it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A decoded `POST /v1/chat/completions`."""

    model: str
    conversation: Conversation
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """A decoded `POST /v1/embeddings`; `dimensions` is None when the client leaves it open."""

    model: str
    inputs: list[str | list[int]]
    dimensions: int | None = None
    as_base64: bool = False


# --- requests ---


def _field(body: Json, name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise BadRequest(f"Invalid type for '{name}'.", name)
    return value


def parse_chat(body: Json) -> ChatRequest:
    """Decode a chat request. Raises BadRequest."""
    if _field(body, "n", int, 1) != 1:
        raise BadRequest("This model supports n=1 only.", "n")
    stop = _field(body, "stop", (str, list), [])
    max_tokens = _field(body, "max_completion_tokens", int) or _field(body, "max_tokens", int)
    if max_tokens is not None and max_tokens < 1:
        raise BadRequest("'max_tokens' must be at least 1.", "max_tokens")
    return ChatRequest(
        model=_model(body),
        conversation=_conversation(body),
        stream=_field(body, "stream", bool, False),
        include_usage=bool(_field(body, "stream_options", dict, {}).get("include_usage")),
        max_tokens=max_tokens,
        stop=tuple([stop] if isinstance(stop, str) else stop),
    )


def _model(body: Json) -> str:
    model = _field(body, "model", str)
    if not model:
        raise BadRequest("You must provide a model parameter.", "model")
    return str(model)


def _conversation(body: Json) -> Conversation:
    messages = _field(body, "messages", list)
    if not messages:
        raise BadRequest("'messages' must hold at least one message.", "messages")
    tools = tuple(_tool(tool, i) for i, tool in enumerate(_field(body, "tools", list, [])))
    return Conversation(
        messages=_answered(tuple(_message(message, i) for i, message in enumerate(messages))),
        tools=tools,
        tool_choice=_tool_choice(_field(body, "tool_choice", (str, dict), "auto"), tools),
        parallel_calls=_field(body, "parallel_tool_calls", bool, True),
        response_schema=_response_schema(_field(body, "response_format", dict, {})),
    )


def _message(message: Any, index: int) -> Message:
    where = f"messages[{index}]"
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise BadRequest(f"Invalid value for '{where}.role'.", f"{where}.role")
    calls = tuple(_call(call, where) for call in message.get("tool_calls") or [])
    role = ROLES[message["role"]]
    if role == "tool" and not message.get("tool_call_id"):
        raise BadRequest("A tool message needs a 'tool_call_id'.", f"{where}.tool_call_id")
    return Message(role, _text(message.get("content"), where), calls, str(message.get("tool_call_id") or ""))


def _text(content: Any, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise BadRequest(f"Invalid type for '{where}.content'.", f"{where}.content")
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in content)


def _call(call: Any, where: str) -> ToolCall:
    try:
        arguments = json.loads(call["function"]["arguments"] or "{}")
        return ToolCall(call["id"], call["function"]["name"], arguments if isinstance(arguments, dict) else {})
    except (KeyError, TypeError, ValueError):
        raise BadRequest(f"Invalid tool call in '{where}'.", f"{where}.tool_calls") from None


def _answered(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Every tool call has to be answered, and every tool message has to answer a call: OpenAI insists on it."""
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                raise BadRequest("A tool message must follow a message with its tool call.", f"messages[{index}]")
            open_calls.discard(message.tool_call_id)
        elif open_calls:
            break
        else:
            open_calls = {call.id for call in message.tool_calls}
    if open_calls:
        raise BadRequest(f"Tool calls without a tool message: {', '.join(sorted(open_calls))}.", "messages")
    return messages


def _tool(tool: Any, index: int) -> Tool:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not re.fullmatch(r"[\w-]{1,64}", str(function.get("name") or "")):
        raise BadRequest(f"Invalid function in 'tools[{index}]'.", f"tools[{index}].function.name")
    return Tool(function["name"], function.get("description") or "", function.get("parameters") or {})


def _tool_choice(choice: str | Json, tools: tuple[Tool, ...]) -> str:
    name = choice if isinstance(choice, str) else str(cast("Json", choice.get("function") or {}).get("name"))
    if isinstance(choice, dict):
        if name not in {tool.name for tool in tools}:
            raise BadRequest(f"Tool choice '{name}' is not among the tools.", "tool_choice")
        return name
    if choice not in {"none", "auto", "required"}:
        raise BadRequest("'tool_choice' must be none, auto, required or a function.", "tool_choice")
    if choice == "required" and not tools:
        raise BadRequest("'tool_choice' needs 'tools'.", "tool_choice")
    return choice


def _response_schema(response_format: Json) -> Json | None:
    kind = response_format.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {}
    schema = (response_format.get("json_schema") or {}).get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadRequest("Invalid 'response_format'.", "response_format")
    return schema


def parse_embeddings(body: Json) -> EmbeddingsRequest:
    """Decode an embeddings request: a text, texts, token ids or lists of token ids. Raises BadRequest."""
    given = _field(body, "input", (str, list))
    if not given:
        raise BadRequest("'input' must not be empty.", "input")
    inputs = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    if not all(_is_embeddable(item) for item in inputs):
        raise BadRequest("'input' must be text, or a list of texts or of token ids.", "input")
    dimensions = _field(body, "dimensions", int)
    if dimensions is not None and not 1 <= dimensions <= 4096:
        raise BadRequest("'dimensions' must be between 1 and 4096.", "dimensions")
    encoding = _field(body, "encoding_format", str, "float")
    if encoding not in {"float", "base64"}:
        raise BadRequest("'encoding_format' must be float or base64.", "encoding_format")
    return EmbeddingsRequest(_model(body), inputs, dimensions, encoding == "base64")


def _is_embeddable(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, list) and all(isinstance(token, int) for token in item))


# --- responses ---


def tokens(text: str) -> list[str]:
    """Word-sized pieces which add up to the text."""
    return re.findall(r"\s*\S+|\s+$", text)


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply as it goes over the wire, whole or in chunks."""

    id: str
    created: int
    model: str
    text: str
    calls: tuple[Json, ...]
    finish_reason: str
    usage: Json

    def body(self) -> Json:
        """The answer to a plain request."""
        message: Json = {"role": "assistant", "content": self.text or None, "refusal": None}
        if self.calls:
            message["tool_calls"] = list(self.calls)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage}

    def chunks(self, include_usage: bool) -> Iterator[Json]:
        """The answer to a streaming request; the usage comes last, in a chunk without choices."""
        yield self._chunk({"role": "assistant", "content": None if self.calls else "", "refusal": None})
        for token in tokens(self.text):
            yield self._chunk({"content": token})
        for index, call in enumerate(self.calls):
            yield from self._call_chunks(index, call)
        yield self._chunk({}, self.finish_reason)
        if include_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage}

    def _call_chunks(self, index: int, call: Json) -> Iterator[Json]:
        function = call["function"]
        opening = {"index": index, **call, "function": {"name": function["name"], "arguments": ""}}
        yield self._chunk({"tool_calls": [opening]})
        arguments = function["arguments"]
        for start in range(0, len(arguments), ARGUMENT_PIECE_CHARS):
            piece = {"arguments": arguments[start : start + ARGUMENT_PIECE_CHARS]}
            yield self._chunk({"tool_calls": [{"index": index, "function": piece}]})

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def complete(request: ChatRequest, reply: Reply) -> Completion:
    """Give a reply its ids, its limits and its usage."""
    text, finish_reason = _limited(reply.text, request)
    calls = tuple(_call_body(call.name, call.arguments) for call in reply.calls)
    spoken = text + "".join(call["function"]["arguments"] for call in calls)
    return Completion(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=request.model,
        text=text,
        calls=calls,
        finish_reason="tool_calls" if calls else finish_reason,
        usage=_usage(sum(len(tokens(m.text)) for m in request.conversation.messages), len(tokens(spoken))),
    )


def _limited(text: str, request: ChatRequest) -> tuple[str, str]:
    for stop in request.stop:
        text = text.split(stop, maxsplit=1)[0]
    pieces = tokens(text)
    if request.max_tokens is not None and len(pieces) > request.max_tokens:
        return "".join(pieces[: request.max_tokens]), "length"
    return text, "stop"


def _call_body(name: str, arguments: Json) -> Json:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def _usage(prompt: int, completion: int) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def embeddings_body(request: EmbeddingsRequest, vectors: list[Any], token_count: int) -> Json:
    """The answer to an embeddings request; a vector is a list of floats or base64."""
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": token_count, "total_tokens": token_count}
    return {"object": "list", "model": request.model, "data": data, "usage": usage}
