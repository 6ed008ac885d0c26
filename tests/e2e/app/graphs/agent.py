"""An agent that calls one tool: its model is played, and streams a call, then a sentence."""

from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolCallTransformer, ToolNode, tools_condition


@tool
def add(a: int, b: int) -> int:
    """Sum of two numbers."""
    return a + b


class Played(BaseChatModel):
    """Calls `add` until it has seen its result."""

    @property
    def _llm_type(self) -> str:
        return "played"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        whole = [chunk.message for chunk in self._stream(messages)]
        message = whole[0]
        for chunk in whole[1:]:
            message += chunk
        final = AIMessage(message.content, tool_calls=message.tool_calls)
        return ChatResult(generations=[ChatGeneration(message=final)])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        if isinstance(messages[-1], ToolMessage):
            for word in ("The ", "sum is ", messages[-1].text):
                yield ChatGenerationChunk(message=AIMessageChunk(word))
            return
        for name, args_ in (("add", ""), (None, '{"a": 2, '), (None, '"b": 3}')):
            call = {
                "name": name,
                "args": args_,
                "id": "call-1" if name else None,
                "index": 0,
                "type": "tool_call_chunk",
            }
            yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[call]))


def think(state: MessagesState) -> dict[str, object]:
    return {"messages": [Played().invoke(state["messages"])]}


builder = StateGraph(MessagesState).add_node("think", think).add_node("tools", ToolNode([add]))
builder.add_edge(START, "think").add_conditional_edges("think", tools_condition).add_edge("tools", "think")
graph = builder.compile()
calls = builder.compile(transformers=[ToolCallTransformer])
