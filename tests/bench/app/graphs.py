"""The graphs of the benchmark: they cost next to nothing, so what is measured is the server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from typing_extensions import TypedDict

TOKENS = 200


class TokenModel(BaseChatModel):
    """Streams TOKENS tokens as fast as it is read, letting others run between two of them."""

    @property
    def _llm_type(self) -> str:
        return "tokens"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("token " * TOKENS))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for _ in range(TOKENS):
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk("token "))


class Notes(TypedDict):
    """What the one-node and the ten-step graph keep."""

    notes: Annotated[list[str], lambda old, new: (old + new)[-20:]]


class Pause(TypedDict):
    """How long the sleeper sleeps."""

    seconds: float


async def note(state: Notes) -> dict[str, list[str]]:
    return {"notes": ["noted"]}


async def answer(state: MessagesState) -> dict[str, list[BaseMessage]]:
    return {"messages": [await TokenModel().ainvoke(state["messages"])]}


async def sleep(state: Pause) -> dict[str, float]:
    await asyncio.sleep(state["seconds"])
    return {"seconds": 0.0}


def _chain(steps: int) -> StateGraph:
    builder = StateGraph(Notes)
    for step in range(steps):
        builder.add_node(f"step{step}", note)
        builder.add_edge(f"step{step - 1}" if step else START, f"step{step}")
    return builder


one = _chain(1).compile()
ten = _chain(10).compile()
tokens = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
sleeper = StateGraph(Pause).add_node("sleep", sleep).add_edge(START, "sleep").compile()
