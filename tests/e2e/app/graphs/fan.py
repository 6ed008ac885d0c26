"""Branches side by side: as many as the input names, each of which may ask a person."""

import operator
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt


class State(TypedDict, total=False):
    items: list[str]
    ask: bool
    done: Annotated[list[str], operator.add]


def split(state: State) -> None:
    return None


def branches(state: State) -> list[Send]:
    return [Send("work", {"item": item, "ask": state.get("ask", False)}) for item in state.get("items", [])]


def work(task: dict[str, Any]) -> State:
    answer = interrupt({"item": task["item"]}) if task["ask"] else "unasked"
    return {"done": [f"{task['item']} {answer}"]}


def join(state: State) -> State:
    return {"done": [f"joined {len(state['done'])}"]}


builder = StateGraph(State).add_node("split", split).add_node("work", work).add_node("join", join)
builder.add_edge(START, "split").add_conditional_edges("split", branches, ["work"])
builder.add_edge("work", "join").add_edge("join", END)
graph = builder.compile()
