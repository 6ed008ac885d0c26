"""A fake model that streams as many tokens as it is asked for, asynchronously."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph


class Tokens(BaseChatModel):
    """Streams `count` tokens with a pause after each."""

    count: int
    pause: float

    @property
    def _llm_type(self) -> str:
        return "tokens"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        text = "".join(f"t{n} " for n in range(self.count))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for n in range(self.count):
            if self.pause:
                await asyncio.sleep(self.pause)
            yield ChatGenerationChunk(message=AIMessageChunk(f"t{n} "))


class State(MessagesState):
    count: int
    pause: float


async def speak(state: State) -> dict[str, object]:
    model = Tokens(count=state.get("count", 200), pause=state.get("pause", 0.0))
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = StateGraph(State).add_node("speak", speak).add_edge(START, "speak").add_edge("speak", END).compile()
