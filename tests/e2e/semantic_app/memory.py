"""Remembers in a synchronous node and recalls by meaning in an asynchronous one."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore


class State(TypedDict, total=False):
    root: str
    facts: list[str]
    question: str
    recalled: list[str]
    scores: list[float]


def remember(state: State, *, store: BaseStore) -> State:
    for number, fact in enumerate(state["facts"]):
        store.put((state["root"],), str(number), {"text": fact})
    return {}


async def recall(state: State, *, store: BaseStore) -> State:
    found = await store.asearch((state["root"],), query=state["question"], limit=1)
    return {"recalled": [item.value["text"] for item in found], "scores": [item.score or 0.0 for item in found]}


builder = StateGraph(State)
builder.add_node("remember", remember)
builder.add_node("recall", recall)
builder.add_edge(START, "remember")
builder.add_edge("remember", "recall")
builder.add_edge("recall", END)
graph = builder.compile()
